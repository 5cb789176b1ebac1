"""A matrix is refused with every mistake at once, or becomes cells that tables share."""

import re
from datetime import date

import pytest
from pydantic import ValidationError

from mtlbench.harness.matrix.cell import BenchmarkConfig, TrainConfig
from mtlbench.harness.matrix.expand import expand, manifest, plan
from mtlbench.harness.matrix.file import check, read
from mtlbench.harness.matrix.text import strict_yaml
from mtlbench.harness.matrix.text.written import MatrixError, embedded

BASE = {
    "name": "m",
    "benchmark": "rooms",
    "tasks": [["semseg", "depth"]],
    "methods": ["single_task", "multi_task"],
    "train": {"epochs": 2},
}


def matrix(**changes):
    return check({key: value for key, value in {**BASE, **changes}.items() if value is not None}, "m.yaml")


def problems(**changes):
    with pytest.raises(MatrixError) as caught:
        matrix(**changes)
    return caught.value.problems


def test_every_mistake_is_reported_at_once_with_its_path_and_what_is_allowed():
    found = problems(
        benchmark={"name": "rooms", "size": [100, 128]},
        methods=["single_task", {"name": "padnet"}, {"name": "multi_task", "options": {"heads": 1}}],
        train={"epochs": 2, "lr": "fast", "epochss": 3},
        seeds=[-1],
        colour="red",
    )
    text = "\n".join(found)
    for expected in (
        "benchmarks.0.size", "multiples of 32", "methods.1.name: unknown method 'padnet'; known: single_task",
        "methods.2: multi_task has no option 'heads'; it has: head", "train.lr",
        "train.epochss: unknown key, perhaps epochs is meant; allowed:", "seeds.0", "colour: unknown key",
    ):  # fmt: skip
        assert expected in text, f"{expected!r} is not in\n{text}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tasks": [["semseg", "flow"]]}, "rooms has no task 'flow'; it has: semseg"),
        ({"benchmark": "kitti"}, "unknown benchmark 'kitti'; known: rooms"),
        ({"benchmark": {"name": "rooms", "options": {"trane": 3}}}, "rooms has no option 'trane'"),
        ({"benchmark": {"name": "rooms", "options": {"train": -3}}}, "-3"),
        ({"seeds": [0, 1, 0]}, "seeds: 0 is there more than once"),
        ({"tasks": [["semseg", "depth"], ["depth", "semseg"]]}, "tasks: semseg+depth is there more than once"),
        ({"benchmark": None, "benchmarks": ["rooms", "rooms"]}, "benchmarks: rooms is there more than once"),
        ({"baseline": "PAD"}, "baseline: no row is called 'PAD'; rows: single_task, multi_task"),
        ({"methods": ["multi_task"]}, "baseline: name the row"),
        ({"methods": ["single_task", "single_task"]}, "two rows are called 'single_task'"),
        (
            {"methods": ["single_task", "multi_task", {"name": "multi_task", "label": "Again"}]},
            "methods: multi_task and Again are the same cells; keep one of them",
        ),
        (
            {"methods": ["single_task", "sca_mtl", {"name": "sca_mtl", "label": "With", "options": {"csam": True}}]},
            "methods: sca_mtl and With are the same cells",  # an option that says its default
        ),
        ({"methods": ["single_task", {"name": "multi_task", "train": {"lr": -1}}]}, "methods.1.train.lr"),
        ({"train": {"epochs": 1, "weights": {"flow": 1}}}, "train.weights.flow"),
        ({"train": {}}, "one of epochs and steps"),
        ({"backbone": "resnet_9000"}, "resnet_9000"),
        (
            {"backbone": {"output_stride": 8}},
            "backbone: backbone 'hrnet_w18_small_v2' with output_stride 8: HRNet has no",
        ),
        (
            {"backbone": {"name": "resnet18", "output_stride": 4}},
            "backbone.output_stride: 4 is not possible; write 8, 16 or 32",
        ),
        (
            {"backbone": {"name": "resnet18", "output_stride": 8}, "methods": ["single_task", "mti_net"]},
            "backbone.output_stride: row mti_net: each of its scales is half as large as the one before, and the",
        ),
        (
            {"backbone": "mobilevitv2_050", "size": [64, 96]},
            "backbone: backbone 'mobilevitv2_050' gives maps of [[16, 24]",
        ),
        ({"tasks": [["depth", "depth"]]}, "each of its tasks once"),
        ({"tasks": []}, "benchmarks.0.tasks: [] has too few entries; give 1 or more"),
        ({"tasks": [["depth", "depth"]]}, "benchmarks.0: [depth, depth]: a task set names each of its tasks once"),
        ({"size": 64}, "benchmarks.0.size: 64 is no list; write one in brackets, such as [64, 96]"),
        ({"size": [64, 96, 3]}, "benchmarks.0.size: [64, 96, 3] has too many entries; give 2 at most"),
        ({"caption": 3}, "caption: 3 is no text; write it in quotes"),
        ({"resources": 3}, "resources: 3 is no mapping; write keys with values in braces"),
        ({"seedz": [0]}, "seedz: unknown key, perhaps seeds is meant; allowed: backbone, baseline"),
        (
            {"methods": ["single_task", {"name": "multi_task", "label": "single_task"}]},
            "methods: two rows are called 'single_task'; give one another label",
        ),
        ({"seeds": [2**32]}, "seeds.0: 4294967296 is too large; give a number below 4294967296"),
        ({"train": {"epochs": 1, "lr": float("inf")}}, "train.lr: inf is not finite"),
        (
            {"train": {"epochs": 1, "weights": {"depth": float("inf")}}},
            "train.weights.depth: inf is not finite; write a number",
        ),
        (
            {"benchmark": {"name": "rooms", "options": {"tie": float("nan")}}},
            "benchmarks.0.options: tie is nan; give finite numbers",
        ),
        ({"methods": ["single_task", {"name": "sca_mtl", "options": {"csam": date(2001, 1, 1)}}]}, "csam is datetime"),
        (
            {"methods": ["single_task", "single_task", {"name": "multi_task", "label": 3}]},
            "methods.2.label: 3 is no text",
        ),
        (
            {
                "train": {"epochs": 1, "lr": 1.0},
                "methods": ["single_task", {"name": "multi_task", "train": {"lr": -1}}],
            },
            "methods.1.train.lr: -1 is too small; give a number above 0",
        ),
        (
            {"methods": ["single_task", {"name": "multi_task", "train": {"lrr": 1}}]},
            "methods.1.train.lrr: unknown key, perhaps lr is meant; allowed: accumulate, batch",
        ),
        ({"benchmarks": ["rooms"]}, "benchmark: give it or benchmarks, not both"),
        *(
            ({"name": name}, f"name: {name!r}: records")
            for name in ("../evil", "a/b", "a\\b", "", ".x", "a\n", "é" * 81)
        ),
    ],
)
def test_a_mistake_is_one_clear_line(changes, expected):
    assert any(expected in line for line in problems(**changes)), problems(**changes)


def test_a_tab_is_named_in_words(tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(f"{MINIMAL}resources:\n\tcpus: 1\n")
    line = MINIMAL.count("\n") + 2
    with pytest.raises(MatrixError, match=f"not YAML: line {line}, column 1: a tab stands where only spaces may stand"):
        read(str(file))


def test_a_mistake_at_the_top_hides_none_between_parts():
    found = problems(
        seedz=[0],
        methods=["single_task", {"name": "multi_task", "train": {"lr": -1}}],
        train={"epochs": 1, "lr": 1.0, "weights": {"edgez": 1}},
    )
    assert [line.partition(":")[0] for line in found] == ["seedz", "methods.1.train.lr", "train.weights.edgez"]


@pytest.mark.parametrize(
    ("slip", "changes", "mistake"),
    [
        ("seedz", {"seedz": [0], "seeds": [0, 0]}, "seeds: 0 is there more than once"),
        (
            "methods.1.optionz", {"methods": ["single_task", {"name": "pad_net", "optionz": {}}], "seeds": [1, 1]},
            "seeds: 1 is there",
        ),
        ("resources.worker", {"resources": {"worker": 2}, "tasks": [["depth"], ["depth"]]}, "tasks: depth is there"),
        (
            "benchmarks.0.size", {"benchmark": {"name": "rooms", "size": [9], "options": {}}, "tasks": [["flow"]]},
            "benchmarks.0: rooms has no task 'flow'",
        ),
        (
            "methods.1.label",
            {"methods": ["single_task", {"name": "multi_task", "label": 3, "options": {"heads": 1}}]},
            "methods.1: multi_task has no option 'heads'",
        ),
        ("train.lr", {"train": {"lr": -1}}, "train: give the length of training"),
        (
            "colour",
            {"colour": 1, "methods": ["single_task", "jtrl"], "tasks": [["depth"]], "baseline": "single_task",
             "skip_unsupported": False},
            "methods: jtrl takes",
        ),
    ],
)  # fmt: skip
def test_a_slip_hides_no_other_mistake(slip, changes, mistake):
    found = problems(**changes)
    assert any(line.startswith(slip) for line in found) and any(line.startswith(mistake) for line in found), found


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": ["multi_task"], "basline": "multi_task"},  # the baseline is there, under another name
        {"methods": ["single_task", {"name": "padnet", "starts": "single_task"}]},
        {"train": {"epoch": 2}},
        {"train": {"epochs": "two"}},
        {"train": {"epochs": 1, "accumulate": 3, "batsh": 9}},
        {
            "controls": {"row": "padnet", "other_seeds": [5]},
            "methods": ["single_task", {"name": "pad_net", "lable": "padnet"}],
        },
        {
            "benchmark": {"name": "kitti"}, "tasks": [["flow"]],
            "tune": {"trials": 2, "space": {"lr": [0.1, 1]}, "holdout": 0},
        },
    ],
)  # fmt: skip
def test_what_comes_of_a_slip_is_no_mistake_of_its_own(changes):
    assert len(problems(**changes)) == 1, problems(**changes)


def test_single_task_baselines_are_one_cell_a_task_and_shared_between_task_sets():
    sets = [["semseg", "depth"], ["semseg", "depth", "normals"]]
    planned = expand(matrix(tasks=sets, seeds=[0, 1]))
    single = [item for item in planned if item.cell.method == "single_task"]
    assert len(single) == 2 * (2 + 3)
    assert len({item.cell.id for item in single}) == 2 * 3
    assert {item.cell.tasks for item in single} == {("semseg",), ("depth",), ("normals",)}
    assert len({item.cell.id for item in planned}) == 2 * (3 + 2)


def test_the_order_in_which_tasks_are_written_is_not_part_of_a_cell():
    one, other = matrix(tasks=[["semseg", "depth"]]), matrix(tasks=[["depth", "semseg"]])
    assert [i.cell.id for i in expand(one)] == [i.cell.id for i in expand(other)]


def test_an_option_that_says_its_default_is_the_same_cell():
    said = matrix(methods=["single_task", {"name": "multi_task", "options": {"head": "hrnet"}}])
    assert [i.cell.id for i in expand(said)] == [i.cell.id for i in expand(matrix())]


def test_a_label_and_the_resources_are_not_part_of_a_cell():
    labelled = matrix(
        methods=[{"name": "single_task", "label": "Single"}, "multi_task"], resources={"cpus": 4, "workers": 2}
    )
    assert [i.cell.id for i in expand(labelled)] == [i.cell.id for i in expand(matrix())]


def test_task_weights_reach_only_the_cells_that_train_the_task():
    planned = expand(matrix(train={"epochs": 2, "weights": {"depth": 2.0}}))
    by_tasks = {item.cell.tasks: item.cell.train.weights for item in planned}
    assert by_tasks[("semseg",)] == {}
    assert by_tasks[("semseg", "depth")] == {"depth": 2.0}


def test_a_methods_recipe_replaces_the_length_whichever_way_it_is_given():
    planned = expand(matrix(methods=["single_task", {"name": "multi_task", "train": {"steps": 7, "lr": 0.01}}]))
    train = planned[-1].cell.train
    assert (train.epochs, train.steps, train.lr) == (None, 7, 0.01)


def test_plan_gives_each_cell_once_and_none_that_has_a_record():
    m = matrix(tasks=[["semseg", "depth"], ["semseg", "normals"]])
    cells, waiting = plan(m, {})
    assert len(cells) == len({cell.id for cell in cells}) == 5
    assert waiting == []
    rest, _ = plan(m, {cells[0].id: None, cells[3].id: None})
    assert [cell.id for cell in rest] == [cells[i].id for i in (1, 2, 4)]


def test_the_manifest_says_what_the_table_expects():
    contents = manifest(matrix(seeds=[0, 1]), {"rooms": "c"})
    assert contents.baseline == "single_task"
    assert len(contents.entries) == 6
    assert {entry.task_set for entry in contents.entries} == {("semseg", "depth")}


def test_overrides_reach_into_short_forms_and_lists(tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text("benchmark: rooms\nmethods: [single_task, multi_task]\ntrain: {epochs: 1}\n")
    changed = read(
        str(file),
        [
            "benchmark.size=[64, 96]",
            "train.lr=1e-3",
            "backbone.weights=imagenet",
            "methods.1=pad_net",
            "methods.0.label=Single",
        ],
    )
    assert changed.benchmarks[0].size == (64, 96)
    assert changed.train.lr == 1e-3  # PyYAML reads it as a string
    assert changed.backbone.weights == "imagenet"
    assert changed.methods[1].name == "pad_net"
    assert changed.methods[0].label == "Single"
    assert changed.name == "m"


@pytest.mark.parametrize(
    "override",
    [
        "epochs",
        "=3",
        "train.epochs.x=3",
        "train.epochs.x.y=3",
        "train.lr={",
        "train={epochs: 1, epochs: 2}",
        "methods.9.label=x",
        "methods.x=y",
        "methods.single_task.label=x",
    ],
)
def test_an_override_that_cannot_be_applied_is_named(override, tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text("benchmark: rooms\nmethods: [single_task]\ntrain: {epochs: 1}\n")
    with pytest.raises(MatrixError, match="--set"):
        read(str(file), [override])


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "", "3"])
def test_a_file_that_is_no_mapping_is_refused(text, tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(text)
    with pytest.raises(MatrixError, match=r"m\.yaml"):
        read(str(file))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seeds: [1]\ntrain: {lr: 1.0}\nseeds: [2]\n", ["seeds: written 2 times, in lines 1 and 3; keep one"]),
        ("a:\n- b: 1\n  c: 2\n  b: 3\n", ["a.0.b: written 2 times, in lines 2 and 4; keep one"]),
        ("a: {b: 1, b: 2}", ["a.b: written 2 times, in line 1; keep one"]),
        ("x: &x {lr: 1, batch: 2}\ny: {<<: *x, lr: 3}\nz: *x\n", []),  # what is merged in may be replaced
        ("x: &x [*x]", []),
    ],
)
def test_a_key_that_is_written_twice_is_a_mistake(text, expected, tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(text)
    with pytest.raises(MatrixError) as caught:
        read(str(file))
    assert [line for line in caught.value.problems if "written" in line] == expected


MINIMAL = "benchmark: rooms\nmethods: [single_task]\ntrain: {epochs: 1}\n"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "seeds: [010, 011]",
            ["seeds.0: 010 begins with a zero, which makes it octal in YAML; write 10", "seeds.1: 011"],
        ),
        ("seeds: [08]", ["seeds.0: 08 begins with a zero"]),  # a word for PyYAML, and 8 for what reads the word
        ("seeds: [-01]", ["seeds.0: -01 begins with a zero"]),
        ("size: 32:48", ["size: 32:48 is a number to the base of 60 in YAML"]),
        ("resources: {gpus: 1:30.5}", ["resources.gpus: 1:30.5 is a number to the base of 60"]),
        ("seeds: [true]", ["seeds.0: true is no whole number; write one"]),
        (
            "resources: {cpus: true, loaders: no}",
            ["resources.cpus: true is no whole number", "resources.loaders: false is no whole number"],
        ),
        ("backbone: {bn_momentum: on}", ["backbone.bn_momentum: true is no number"]),
        ("tune: {trials: 2, space: {lr: [yes, 2]}}", ["tune.space.lr.0: true is no number"]),
        ("size: [32, true]", ["benchmarks.0.size.1: true is no whole number"]),
    ],
)
def test_a_number_that_is_read_otherwise_than_written_is_a_mistake(written, expected, tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(MINIMAL + written + "\n")
    with pytest.raises(MatrixError) as caught:
        read(str(file))
    for line in expected:
        assert any(problem.startswith(line) for problem in caught.value.problems), caught.value.problems
    key, _, value = written.partition(": ")
    if not value.startswith("{"):
        with pytest.raises(MatrixError, match=re.escape(expected[0].partition(": ")[2])):
            read("smoke", [f"{key}={value}"])


@pytest.mark.parametrize("written", ["1e-3", "1.0e-3", "0.001", "1.E-3", "+1e-03"])
def test_a_number_with_an_exponent_is_a_number_wherever_it_stands(written, tmp_path):
    content, unclear = strict_yaml.load(f"{{a: {written}, b: '010', c: '1:30', d: 0, e: 0.5, f: -0, g: 00:x}}")
    assert content == {"a": 1e-3, "b": "010", "c": "1:30", "d": 0, "e": 0.5, "f": 0, "g": "00:x"} and unclear == []
    file = tmp_path / "m.yaml"
    file.write_text(f"{MINIMAL.replace('rooms', f'{{name: rooms, options: {{tie: {written}}}}}')}")
    assert read(str(file)).benchmarks[0].options == {"tie": 1e-3}


def test_true_for_a_word_is_told_with_the_words_that_are_allowed():
    with pytest.raises(ValidationError, match="Input should be 'drop' or 'keep'"):
        BenchmarkConfig(name="nyud", unlabelled=False)
    with pytest.raises(ValidationError, match="Input should be a valid string"):
        BenchmarkConfig(name="nyud", protocol=True)


@pytest.mark.parametrize("value", [True, False, [True], {"depth": True}])
def test_true_is_no_number_in_any_field_of_a_cell(value):
    for field in TrainConfig.model_fields:
        if field in ("optimizer", "schedule", "per", "precision"):
            continue
        with pytest.raises(ValidationError, match="Input should be"):
            TrainConfig.model_validate({"epochs": 1, field: value})


def test_true_is_taken_where_it_is_meant():
    assert matrix(demonstration=True, resources={"save_predictions": True}).resources.save_predictions


def test_a_name_that_is_no_file_lists_the_embedded_ones():
    with pytest.raises(FileNotFoundError, match="smoke"):
        read("nowhere")


@pytest.mark.parametrize("name", embedded())
def test_every_embedded_matrix_is_valid_and_opens_with_what_it_is_for(name):
    found = read(name)
    assert expand(found)
    from mtlbench.harness.matrix.text.written import find

    assert find(name).read_text().startswith("# ")


def test_a_method_of_two_tasks_is_refused_for_other_task_sets_or_has_no_row_there():
    sets = [["semseg", "depth"], ["semseg", "depth", "normals"]]
    raw = {
        "name": "pairs",
        "benchmark": {"name": "rooms", "tasks": sets},
        "methods": ["single_task", {"name": "jtrl", "label": "JTRL"}],
        "train": {"epochs": 1},
    }
    with pytest.raises(MatrixError, match=r"JTRL takes exactly 2 tasks, and not semseg\+depth\+normals; leave it out"):
        check(dict(raw), "pairs")
    planned = expand(check({**raw, "skip_unsupported": True}, "pairs"))
    assert {item.entry.task_set for item in planned if item.entry.label == "JTRL"} == {("semseg", "depth")}
