"""Every `--set` changes what is run or shown, or is refused with the spelling that works."""

import re

import pytest
import yaml

from cells import matrix_file
from command import invoke
from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, TrainConfig
from mtlbench.harness.matrix.entries import Matrix, MethodEntry, Resources
from mtlbench.harness.matrix.expand import expand, manifest
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import MatrixError, embedded, find

pytestmark = pytest.mark.usefixtures("undrawn")

# The last part of a key -> values of which at least one differs from what any shipped matrix has, all right ones.
VALUES = {
    "name": {
        "benchmark": ["nyud"], "backbone": ["test_efficientnet"], "methods": ["single_task", "atrc"], "": ["other"]
    },
    "title": ["Other"], "caption": ["Other"], "demonstration": ["true", "false"], "skip_unsupported": ["true"],
    "must_beat_constant": ["true", "false"], "margin": ["0.7"],
    "baseline": ["Multi-task", "SCA-MTL"], "label": ["Other"],
    "size": ["[32, 64]"], "tasks": ["[depth]", "[semseg, depth]"], "seeds": ["[7]"], "protocol": ["atrc"],
    "evaluate": ["network"],
    "borders": ["background"], "normals_zoom": ["published"], "benchmark": ["pascal_context"],
    "benchmarks": ["[{name: nyud, evaluate: network}]"],
    "backbone": ["test_efficientnet"], "output_stride": ["16"], "bn_momentum": ["0.2"],
    "weights": ["{depth: 2, semseg: 2}", "imagenet"],
    "label_weights": ["{depth: 2, semseg: 2}"], "unlabelled": ["keep", "drop"], "resampling": ["bilinear", "cubic"],
    "starts": ["Multi-task", "MTI-Net"], "alpha": ["0.7"], "beta": ["0.1"], "unit_lr": ["2"],
    "head": ["hrnet", "fcn"], "genotype": ["search"],
    "tune": ["{trials: 2, space: {lr: [1.0e-4, 1.0e-3]}, holdout: 0.1}"], "methods": ["[single_task]"],
    "train": ["{steps: 3}"], "epochs": ["3"], "steps": ["3"], "batch": ["6"], "lr": ["3e-4"], "momentum": ["0.5"],
    "weight_decay": ["3e-4"], "optimizer": ["sgd"], "schedule": ["constant"], "power": ["0.7"],
    "per": ["step", "epoch"],
    "accumulate": ["2"], "clip": ["1"], "precision": ["bf16"], "holdout": ["0.2"], "resources": ["{cpus: 3}"],
    "cpus": ["3"], "gpus": ["2"], "workers": ["2"], "loaders": ["2"], "max_concurrent": ["2"],
    "checkpoint_every": ["3"], "validate_every": ["3"], "save_predictions": ["true"], "retries": ["0"],
    "deadline": ["30"], "out_of_memory": ["halve"],
    "controls": ["{row: Multi-task, other_seeds: [77]}", "{row: MTI-Net, other_seeds: [77]}"],
    "row": ["PAD-Net"], "judged_on": ["[semseg]", "[normals]"],
    "other_seeds": ["[77]"], "more_images": ["{train: 900}"], "foreign": ["[semseg]"],
    "relatedness": ["[{tasks: [depth, semseg]}, {tasks: [normals, semseg]}]"],
    "options": ["{}", "{tie: 0.3}"], "val": ["3"], "test": ["3"],
}  # fmt: skip
# Keys that no value changes in any shipped matrix: their benchmarks have tasks of their own, and two have all tasks of
# a data set. The one matrix with controls judges semseg in all of its sets. None leaves out a row.
REFUSED = {
    "skip_unsupported",
    "tasks",
    "benchmark.tasks.3",
    "benchmark.tasks.4",
    "controls.judged_on.0",
    *(f"controls.relatedness.{place}.tasks.0" for place in (0, 1)),
}
NEW_ROW = "{name: multi_task, label: MTI-Net, train: {lr: 1.0e-3}}"
OPTIONS = {"fpma": ["true"], "ctam": ["true"], "csam": ["true"], "width": ["single"], "train": ["40"]}


def shown(matrix):
    """What a run does and what it shows."""
    contents = manifest(matrix, {})
    return [item.cell.id for item in expand(matrix)], contents, matrix.resources, matrix.must_beat_constant


def keys_of(raw, above=()):
    """Every key and every place of a list below."""
    pairs = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in pairs:
        yield (*above, str(key))
        yield from keys_of(value, (*above, str(key)))


def known_keys(raw):
    """Every key that the file has, and every key that the models have, in either way of writing a benchmark."""
    models = {"train": TrainConfig, "resources": Resources, "backbone": BackboneConfig, "methods.0": MethodEntry}
    models |= {"benchmark": BenchmarkConfig, "benchmarks.0": BenchmarkConfig}
    keys = [".".join(key) for key in keys_of(raw)]
    keys += [f"{path}.{name}" for path, model in models.items() for name in model.model_fields]
    keys += [*Matrix.model_fields, "benchmark", "size", "tasks", "benchmark.tasks", "benchmarks.0.tasks"]
    keys += [f"methods.0.train.{name}" for name in TrainConfig.model_fields]
    return list(dict.fromkeys(keys))


def values_for(key):
    *above, last = key.split(".")
    if last.isdigit():
        places = {"size": ["160"], "seeds": ["19"], "tasks": ["normals", "edge"], "other_seeds": ["77"]}
        places |= {"relatedness": ["{tasks: [depth, semseg]}"], "foreign": ["semseg"]}
        return places.get(above[-1], ["nyud", NEW_ROW])
    if above[-1:] in (["options"], ["more_images"]):
        return OPTIONS.get(last) or VALUES[last]
    found = VALUES[last]
    if isinstance(found, dict):
        found = found["benchmark" if above[:1] == ["benchmarks"] else above[0] if above else ""]
    return found


def written(raw, key):
    """What a file gives for a key; ... where it does not give it."""
    node = raw
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list) else node.get(part, ...) if isinstance(node, dict) else ...
    return node


def held(raw, key):
    """What a key has in a file, or has where the file does not give it."""
    node = written(raw, key)
    if node is ...:
        key = re.sub(r"^methods\.\d+\.train\.", "train.", key)  # a row has the recipe of the file
        node = written(raw, key)
    models = {"train": TrainConfig, "resources": Resources, "backbone": BackboneConfig, "benchmark": BenchmarkConfig}
    above, _, name = key.rpartition(".")
    field = models.get(above, Matrix).model_fields.get(name)
    return field.default if node is ... and field else node


def in_full(key):
    return re.sub(r"^benchmark(?=\.|$)", "benchmarks.0", key)


def names(text, key):
    """Whether a line of a refusal is about a key, or about what lies above or below it."""
    key = in_full(key)
    paths = [line.split()[0].rstrip(":") for line in text.splitlines()[1:]]
    about = [path for path in paths if f"{path}.".startswith(f"{key}.") or f"{key}.".startswith(f"{path}.")]
    of_rows = key.startswith(("methods", "baseline")) and ("  baseline: " in text or "  controls.row: " in text)
    of_controls = key.startswith(("benchmarks", "seeds", "tasks", "size")) and "  controls" in text
    of_tasks = key.startswith(("benchmarks", "tasks")) and " tasks, and not " in text  # which a row cannot have
    of_weights = key == "backbone.name" and "  backbone.weights: " in text
    return bool(about) or of_rows or of_controls or of_tasks or of_weights or "--set: " in text


def changing(name):
    """The keys by which a value changes something. Any other value is refused by name, or holds already."""
    before, found, raw = shown(read(name)), set(), yaml.safe_load(find(name).read_text())
    for key in known_keys(raw):
        for value in values_for(key):
            try:
                after = shown(read(name, [f"{key}={value}"]))
            except MatrixError as error:
                assert names(str(error), key), f"{name} --set {key}={value}: {error}"
            else:
                found |= {key} if after != before else set()
                holds = yaml.safe_load(value) in (held(raw, key), *([] if key in ("tasks", "size") else [{}]))
                assert after != before or holds, f"{name} --set {key}={value}: nothing"
    return found


def test_every_key_of_a_small_matrix_changes_something_or_is_refused_by_name():
    assert len(changing("smoke")) > 60


@pytest.mark.slow
def test_every_key_that_a_shipped_matrix_has_or_could_have_changes_something_or_is_refused_by_name():
    known = {name: set(known_keys(yaml.safe_load(find(name).read_text()))) for name in embedded()}
    changed = set.union(*map(changing, embedded()))
    nowhere = set.union(*known.values()) - changed
    of_a_list = {f"benchmarks.0.{field}" for field in (*BenchmarkConfig.model_fields, "tasks")}
    rows = {key for key in nowhere if re.match(r"methods(?!\.0\.train)", key)}  # makes a row equal to another one
    assert nowhere - rows == {*of_a_list, *REFUSED}
    assert len(rows) < 20 and len(changed) > 80


@pytest.mark.parametrize("name", ["smoke", "table1", "rooms"])
def test_tasks_and_size_are_set_where_the_file_has_them(name):
    with pytest.raises(
        MatrixError, match=r"'tasks=\[semseg\]': not taken, because the benchmark has its own.*benchmark\.tasks"
    ):
        read(name, ["tasks=[semseg]"])
    with pytest.raises(MatrixError, match=r"the file has one benchmark, and no list; write benchmark\.tasks="):
        read(name, ["benchmarks.0.tasks=[semseg]"])
    assert read(name, ["benchmark.tasks=[semseg]"]).benchmarks[0].task_sets == [("semseg",)]
    assert read(name, ["benchmark=nyud", "tasks=[depth]"]).benchmarks[0].task_sets == [("depth",)]
    assert read(name, ["tasks=[depth]", "benchmark.tasks="]).benchmarks[0].task_sets == [("depth",)]
    assert read(name, ["benchmark=nyud", "benchmark.size=[32, 64]"]).benchmarks[0].size == (32, 64)


NYUD = "benchmarks=[{name: nyud, tasks: [semseg, depth]}]"
LIST = """
benchmarks: [{name: rooms, tasks: [depth, semseg], size: [32, 64]}, {name: nyud, tasks: [depth]}]
methods: [{name: single_task, train: &own {steps: 3, lr: 0.1}}, {name: multi_task, train: *own}]
train: {steps: 5, optimizer: adam}
"""


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["benchmark.tasks=[semseg]"], r"the file has a list of benchmarks; write benchmarks\.0\.tasks="),
        (["tasks=[semseg]"], r"not taken, because all benchmarks have their own tasks; change benchmarks\.0\.tasks"),
        (["train.lr=1"], r"each row has its own; write methods\.0\.train\.lr="),
        (["train.steps=7"], r"each row has its own; write methods\.0\.train\.steps="),
        (["train.epochs=7", "train.steps="], r"each row has its own; write methods\.0\.train\.epochs="),
        (["seeds=[1]", "seeds=[2]"], r"'seeds=\[1\]': --set seeds=\[2\] comes later and replaces it; leave one out"),
        (["benchmarks.0.size=[64, 64]", "benchmarks=[nyud]"], "comes later and replaces it; give the longer key after"),
        (["benchmarks=[nyud]", "benchmark=rooms"], "comes later and replaces it; leave one out"),
        (["train.momentum=0.5"], "adam takes no momentum, sgd does; give train.optimizer=sgd too"),
        (["train.schedule=constant", "train.power=2"], "constant takes no power, poly does; give train.schedule=poly"),
        (["methods.1.train.momentum=0.5"], "adam takes no momentum"),
        (["train.weights.normals=2"], "no cell trains normals; the tasks are depth, semseg"),
        (["train.weights={normals: 2}"], "no cell trains normals"),
        (["train.label_weights.normals=2"], "no cell trains normals"),
        (["methods.1.train.weights={normals: 2}"], "no cell trains normals"),
        (
            ["train.weights.depth=2", "benchmarks=[{name: rooms, tasks: [depth]}]"],
            "a network of one task has weight 1; wri",
        ),
        (["train.weights=sca_author", "methods=[single_task]", NYUD], r"weight 1; write methods\.0\.train\.weights="),
        (["tune={trials: 2, space: {lr: [1, 2]}, holdout: 0.5}", "methods.0.train.lr=3"], "tune.space draws lr"),
        (["resources.validate_every=1", "benchmarks=[nyud]"], "no benchmark here has a val split; give train.holdout"),
        (["train.optimizer.lr=1"], r"train\.optimizer is 'adam', and not a mapping; write train\.optimizer=\{lr: "),
    ],
)
def test_what_nothing_would_notice_is_refused_with_the_way_out(overrides, expected, tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(LIST)
    with pytest.raises(MatrixError, match=expected):
        read(str(file), overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.optimizer=sgd", "train.momentum=0.5"],
        ["methods.1.train.optimizer=sgd", "train.momentum=0.5"],
        ["train.optimizer=torch.optim:RMSprop", "train.momentum=0.5"],  # nobody knows what it takes
        ["train.weights.depth=2"],
        ["train.weights={normals: 2, depth: 3}"],
        ["resources.validate_every=1"],  # rooms has a val split
        ["seeds=[0]", "seeds.0=4"],
        ["train.clip="],
        ["benchmark=rooms"],
        ["seeds=[0]"],  # what holds without it
    ],
)
def test_what_something_notices_or_what_only_says_what_holds_is_taken(overrides, tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(LIST)
    read(str(file), overrides)


def test_an_override_changes_no_other_part_that_the_file_shares_by_an_alias(tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(LIST)
    rows = read(str(file), ["methods.1.train.lr=0.5"]).methods
    assert [row.train["lr"] for row in rows] == [0.1, 0.5]


def test_a_preset_of_weights_is_no_mapping(tmp_path):
    with pytest.raises(
        MatrixError, match=r"train\.weights is 'sca_author', and not a mapping; write train\.weights=\{"
    ):
        read("table1", ["train.weights=sca_author", "train.weights.depth=2"])


def test_the_dry_run_shows_what_was_set_or_says_why_not(tmp_path):
    file = matrix_file(tmp_path)
    asked = ["run", file, "--dry-run", "--store", tmp_path / "s"]
    refused = invoke(*asked, "--set", "tasks=[semseg]")
    assert refused.exit_code == 2 and "change benchmark.tasks" in refused.stderr
    found = invoke(*asked, "--set", "benchmark.tasks=[semseg]")
    assert found.exit_code == 0 and "semseg" in found.stdout and "depth" not in found.stdout


@pytest.mark.parametrize(("key", "value"), [("size", "[64, 64]"), ("tasks", "[semseg]")])
def test_a_file_whose_own_size_or_tasks_nothing_takes_is_refused(key, value, tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text(LIST + f"{key}: {value}\n")
    if key == "size":  # the second benchmark takes it
        assert [entry.size for entry in read(str(file)).benchmarks] == [(32, 64), (64, 64)]
    else:
        with pytest.raises(MatrixError, match=r"m\.yaml: 1 mistake\n  tasks: not taken, because all benchmarks have"):
            read(str(file))


def test_all_changes_that_nothing_would_notice_are_refused_at_once(tmp_path):
    with pytest.raises(MatrixError) as caught:
        read(str(matrix_file(tmp_path)), ["tasks=[semseg]", "train.momentum=0.5"])
    assert [line.split("=")[0] for line in caught.value.problems] == ["'tasks", "'train.momentum"]
