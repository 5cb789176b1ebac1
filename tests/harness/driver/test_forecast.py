"""A dry run: what a matrix would take and what is missing, known without data, a GPU, a network, or a written file."""

import inspect
import os
from datetime import datetime

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from typer.testing import CliRunner

from cells import IMAGES, matrix_file, small_matrix
from command import invoke
from fixtures import nyud, tree
from mtlbench.harness.cli.app import app
from mtlbench.harness.driver import forecast as forecasting
from mtlbench.harness.driver import preflight
from mtlbench.harness.driver.forecast import CORE, GPU, forecast, show
from mtlbench.harness.matrix.cell import BackboneConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import embedded
from mtlbench.harness.store import kept, source
from mtlbench.harness.store.store import Store
from mtlbench.methods.weights import require_pretrained
from mtlbench.results.records.record import Record
from plugin import Stumbles

TABLES = {
    "table1": 21, "table2": 24, "table3": 21, "table4": 24, "table5": 18, "ablation_rooms": 18, "atrc_search": 7,
    "survey_nyud": 18, "survey_pascal": 27, "rooms_encoders": 7,
}  # fmt: skip
LATE = datetime(2026, 11, 27, 23, 0)
SMALL = {
    "benchmark": {"name": "rooms", "tasks": ["semseg", "depth"], "options": IMAGES},
    "methods": ["single_task", "multi_task"],
    "train": {"epochs": 2, "batch": 2},
}


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def matrix(**changes):
    return small_matrix(**{**SMALL, **changes})


def mtlbench(*arguments):
    return CliRunner().invoke(app, ["run", *map(str, arguments), "--dry-run"])


@pytest.mark.parametrize("name", TABLES)
def test_the_papers_matrices_have_the_recipe_of_the_paper_and_share_single_task_networks(name):
    cells = {item.cell.id: item.cell for item in expand(read(name))}
    assert len(cells) == TABLES[name]
    assert {cell.seed for cell in cells.values()} == ({0} if name in ("atrc_search", "rooms_encoders") else {0, 1, 2})
    if name.startswith("table"):
        recipes = {cell.train.model_dump_json(exclude_defaults=True, exclude={"weights"}) for cell in cells.values()}
        assert recipes == {'{"epochs":100}'}  # the defaults are Adam, 1e-4, 1e-4, poly 0.9 an epoch, batch 8
        departures = {(cell.tasks, *cell.train.weights.values()) for cell in cells.values() if cell.train.weights}
        assert departures <= {(("normals",), 1.0), (("human_parts",), 1.0)}  # alone, a task has weight 1
        assert {cell.backbone.weights for cell in cells.values()} == {"imagenet"}
        assert {cell.benchmark.size for cell in cells.values()} == {None}


def test_the_papers_matrices_resample_and_score_as_published():
    for name in TABLES:
        if name.startswith("table"):
            configs = {item.cell.benchmark.model_dump_json() for item in expand(read(name))}
            (benchmark,) = read(name).benchmarks
            assert len(configs) == 1
            assert (benchmark.resampling, benchmark.evaluate, benchmark.unlabelled) == ("cubic", "published", "drop")


def test_atrcs_search_has_its_authors_recipe():
    cells = {item.entry.label: item.cell for item in expand(read("atrc_search"))}
    assert {cell.train.optimizer for cell in cells.values()} == {"sgd"}
    recipe = cells["ATRC, searched contexts"].train
    assert (recipe.lr, recipe.momentum, recipe.weight_decay, recipe.per, recipe.steps) == (
        0.01,
        0.9,
        5e-4,
        "step",
        40000,
    )
    assert recipe.clip == 10.0 and cells["ATRC, published contexts"].train.clip is None
    assert recipe.weights == {"semseg": 1.0, "depth": 1.0, "normals": 30.0, "edge": 50.0}
    assert recipe.label_weights == {"normals": 10.0}
    assert {cell.backbone.bn_momentum for cell in cells.values()} == {0.1}
    assert cells["Single task"].train.weights == {"edge": 1.0}  # the last of the four single tasks


@pytest.mark.parametrize(
    ("name", "recipes", "weights"),
    [
        (
            "survey_nyud",
            {
                "Single task": ("adam", 1e-4, 100, 8), "Multi-task": ("adam", 1e-4, 100, 8),
                "Cross-stitch": ("sgd", 1e-3, 50, 8), "NDDR-CNN": ("sgd", 1e-3, 50, 8), "MTAN": ("adam", 1e-4, 100, 8),
            },
            {"semseg": 1, "depth": 1},
        ),
        (
            "survey_pascal",
            {
                "Single task": ("adam", 1e-4, 60, 12), "Multi-task": ("adam", 1e-4, 100, 6),
                "Cross-stitch": ("sgd", 5e-3, 20, 12), "NDDR-CNN": ("sgd", 5e-3, 20, 12),
                "MTAN": ("sgd", 5e-3, 100, 6),
            },
            {"semseg": 1, "human_parts": 2, "saliency": 5, "edge": 50, "normals": 10},
        ),
    ],
)  # fmt: skip
def test_the_surveys_matrices_have_a_recipe_for_each_method_and_start_as_published(name, recipes, weights):
    planned = expand(read(name))
    for item in planned:
        train = item.cell.train
        assert (train.optimizer, train.lr, train.epochs, train.batch) == recipes[item.entry.label]
        assert (train.momentum, train.weight_decay, train.schedule, train.power, train.per) == (
            0.9, 1e-4, "poly", 0.9, "epoch",
        )  # fmt: skip
        assert (item.cell.backbone.output_stride, item.cell.options["head"]) == (8, "deeplab")
        assert bool(item.cell.starts) == (item.entry.label in ("Cross-stitch", "NDDR-CNN"))
    (benchmark,) = read(name).benchmarks
    assert {task: make_benchmark(benchmark).tasks[task].weight for task in weights} == weights


def test_tables_of_one_data_set_share_what_they_have_in_common():
    ids = {name: {item.cell.id for item in expand(read(name))} for name in TABLES}
    assert len(ids["table1"] & ids["table2"]) == len(ids["table3"] & ids["table4"]) == 2 * 3
    assert len(ids["table1"] & ids["table5"]) == 2 * 3  # MTI-Net and SCA-MTL


@pytest.mark.parametrize("name", TABLES)
def test_a_matrix_opens_with_its_command_and_says_that_its_hours_are_an_estimate(name):
    from mtlbench.harness.matrix.text.written import find

    text = find(name).read_text()
    assert f"mtlbench run {name}" in text
    assert f"{TABLES[name]} cells" in text
    assert name == "ablation_rooms" or "Estimate:" in text
    assert name in embedded()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_table_1_lists_its_cells_and_all_that_is_missing_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    result = mtlbench("table1", "--only", "MTI-Net")
    assert result.exit_code == 2
    cells, _, rows = result.stdout.partition("\n\n")
    assert [line.split(" · ")[0] for line in cells.splitlines()] == 3 * ["new      MTI-Net"]
    assert all("9,900 steps" in line for line in cells.splitlines())
    assert " ".join(rows.splitlines()[1].split()).startswith("MTI-Net · semseg+depth 3 3 8.58 M 17.1 G")
    assert max(map(len, [*cells.splitlines(), *rows.splitlines()[:2]])) <= 80
    assert "an estimate from counted operations" in result.stdout
    message, *missing = result.stderr.splitlines()
    assert message == "mtlbench: not ready; what is missing on this machine:"
    assert [line.split(".")[0].strip() for line in missing] == ["1", "2", "3", "4"]
    assert "give --data nyud=PATH" in missing[0]
    for word in (
        "hf download timm/hrnet_w18_small_v2.ms_in1k model.safetensors",
        "models--timm--hrnet_w18_small_v2.ms_in1k", f"into {tmp_path / 'hub'}",
    ):  # fmt: skip
        assert word in missing[1]
    assert "asks for 4 CPUs" in missing[2]
    assert "asks for 1 GPU, and" in missing[3]
    assert tree(tmp_path) == {}


@pytest.mark.slow
def test_a_matrix_that_could_run_has_status_0_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    file = matrix_file(tmp_path, **SMALL)
    before = tree(tmp_path)
    result = mtlbench(file, "--store", tmp_path / "store")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "3 cells, 3 to run" in result.stdout
    assert {path: content for path, content in tree(tmp_path).items() if path.name != kept.ANSWERS} == before


@pytest.mark.slow
def test_data_that_lack_a_folder_are_missing_and_their_images_are_counted_once_they_are_there(tmp_path):
    nyud(tmp_path, train=("0001", "0002", "0003", "0004"), test=("0005",))
    asked = matrix(benchmark={"name": "nyud", "tasks": ["semseg", "depth"]}, size=[32, 64])
    before = tree(tmp_path)
    found = forecast(asked, Store(tmp_path / "store"), [f"nyud={tmp_path}"])
    assert found.missing == []
    assert {line.steps for line in found.lines} == {2 * (4 // 2)}
    assert tree(tmp_path) == before
    assert {line.steps for line in forecast(asked, Store(tmp_path), []).lines} == {2 * (795 // 2)}
    large = matrix(benchmark={"name": "nyud", "tasks": ["depth"]}, size=[32, 64], train={"epochs": 2, "batch": 8})
    few = forecast(large, Store(tmp_path / "store"), [f"nyud={tmp_path}"])
    assert "an epoch has no whole batch" in few.missing[0]
    assert {line.steps for line in few.lines} == {2 * (795 // 8)}  # of the whole data set
    for file in (tmp_path / "depth").iterdir():
        file.unlink()
    (tmp_path / "depth").rmdir()
    (problem,) = forecast(asked, Store(tmp_path / "store"), [f"nyud={tmp_path}"]).missing
    assert "depth" in problem
    (problem,) = forecast(asked, Store(tmp_path), ["nyud=/nowhere"]).missing
    assert problem == "--data nyud=/nowhere: no such folder"


@pytest.mark.slow
def test_everything_that_is_missing_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    asked = matrix(
        benchmark={"name": "pascal_context", "tasks": ["semseg", "normals"]},
        methods=["multi_task"],
        baseline="multi_task",
        backbone={"weights": "imagenet"},
        resources={"workers": 3, "cpus": 4},
    )
    missing = "\n".join(forecast(asked, Store(tmp_path), ["nyud=/data"], address=None).missing)
    for expected in ("pascal_context", "--data nyud", "hf download", "12 CPUs", "not a multiple of workers"):
        assert expected in missing
    elsewhere = "\n".join(forecast(asked, Store(tmp_path), [], address="auto").missing)
    assert "CPUs" not in elsewhere  # only that cluster knows


def record(cell, seconds, **changes):
    return Record(
        id=cell.id, cell=cell.model_dump(mode="json"), scores=(), cost={"seconds_per_step": seconds},
        provenance={"device": "a GPU", **changes}, findings={}, derived_from=(),
    )  # fmt: skip


@pytest.mark.slow
def test_times_come_from_records_of_the_same_network_where_there_are_some(tmp_path):
    store, asked = Store(tmp_path), matrix(seeds=[0, 1])
    multi_task = [item.cell for item in expand(asked) if item.cell.method == "multi_task"]
    longer = multi_task[0].model_copy(update={"seed": 7, "train": multi_task[0].train.model_copy(update={"epochs": 9})})
    larger = longer.model_copy(update={"train": longer.train.model_copy(update={"batch": 4})})
    for cell, seconds in ((multi_task[0], 10.0), (longer, 30.0), (larger, 500.0)):
        store.put_cell(cell)
        store.put_record(record(cell, seconds))
    found = forecast(asked, store, [])
    times = {line.item.cell.id: line.seconds for line in found.lines}
    assert times[multi_task[0].id] == times[multi_task[1].id] == 20.0 * (2 * 3)
    assert [line.state for line in found.lines if line.item.cell.method == "multi_task"] == ["finished", "new"]
    text = show(found, asked.resources, LATE)
    assert "6 cells, 5 to run" in text
    alone = found._replace(
        slots=1, lines=[line for line in found.lines if line.records]
    )  # one of them, of 120 s, is left
    assert "would end on Fri 27 Nov 2026 at 23:02: one cell after another." in show(alone, asked.resources, LATE)
    twice = found._replace(slots=4, lines=[*alone.lines, *alone.lines])
    assert "would end on Fri 27 Nov 2026 at 23:02: 4 cells at once" in show(twice, asked.resources, LATE)
    assert " ".join(text.splitlines()[3].split()).startswith("multi_task · ")
    assert "Times of 1 cells: median of records of the same network on a GPU." in text
    assert "Times of 4 cells: an estimate" in text
    assert "It assumes 55 microseconds an operator and 0.09 TFLOP/s; a Xeon core" in text


@pytest.mark.slow
def test_an_estimate_grows_with_operations_and_with_the_length_of_training(tmp_path):
    def seconds(**changes):
        return {
            (line.item.cell.method, line.item.cell.tasks): (line.seconds, line.macs)
            for line in forecast(matrix(**changes), Store(tmp_path), []).lines
        }

    starting = {}
    once, larger, longer = seconds(), seconds(size=[64, 64]), seconds(train={"epochs": 6, "batch": 2})
    for key, (time, macs) in once.items():
        multiplying = 2 * 3 * macs * 2 * (2 * 3) / CORE.flops  # 2 FLOP, 3 passes, batch 2, 6 steps
        starting[key] = time - multiplying  # operators, whose number is that of any size
        assert starting[key] > 6 * 100 * CORE.launch
        assert larger[key][0] == pytest.approx(starting[key] + 2 * multiplying, rel=1e-3)
        assert longer[key][0] == pytest.approx(3 * time)
    gpu = seconds(resources={"gpus": 1})
    assert all(gpu[key][0] > 6 * 100 * GPU.launch for key in gpu)
    halved = seconds(resources={"workers": 2})
    shared = {key: once[key][0] - starting[key] for key in once}  # each process has half of the images
    assert all(halved[key][0] == pytest.approx(starting[key] + shared[key] / 2) for key in once)


def test_a_share_that_is_no_image_and_a_backbone_of_other_sizes_are_told_in_a_line(tmp_path):
    for override, expected in (
        ("train.holdout=0.05", "mtlbench: holdout 0.05 of 6 training images is not one image; give 0.084 or more"),
        ("backbone=halonet26t", "  backbone: backbone 'halonet26t' does not take images of 32 x 64"),
    ):
        result = invoke("run", matrix_file(tmp_path), "--dry-run", "--store", tmp_path / "s", "--set", override)
        assert result.exit_code == 2 and expected in result.stderr and not result.stdout


def test_each_cell_is_told_before_the_next_is_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    events = []
    count = forecasting._count
    monkeypatch.setattr(forecasting, "_count", lambda cell, workers: events.append("count") or count(cell, workers))
    forecast(matrix(), Store(tmp_path), [], tell=lambda line: events.append("line"))
    assert events == 3 * ["count", "line"]


def test_a_dry_run_that_is_stopped_promises_nothing(tmp_path, monkeypatch):
    def interrupt(cell, workers):
        raise KeyboardInterrupt

    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(forecasting, "_count", interrupt)
    result = mtlbench(matrix_file(tmp_path, **SMALL), "--store", tmp_path / "store")
    assert result.exit_code == 130 and result.stderr == "\nstopped; nothing was written\n"


def test_cells_of_one_network_are_counted_once_and_not_again_until_the_code_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    counted = []
    count = forecasting._count
    monkeypatch.setattr(forecasting, "_count", lambda cell, workers: counted.append(cell.id) or count(cell, workers))
    lines = forecast(matrix(seeds=[0, 1, 2]), Store(tmp_path), []).lines
    assert len(lines) == 9 and len(counted) == 3
    again = forecast(matrix(seeds=[0, 1, 2]), Store(tmp_path), []).lines
    assert len(counted) == 3 and [line[2:5] for line in again] == [line[2:5] for line in lines]
    monkeypatch.setattr(source, "state", lambda: "other code")
    forecast(matrix(seeds=[0, 1, 2]), Store(tmp_path), [])
    assert len(counted) == 6


def test_what_comes_from_outside_is_counted_each_time(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    counted = []
    count = forecasting._count
    monkeypatch.setattr(forecasting, "_count", lambda cell, workers: counted.append(cell.id) or count(cell, workers))
    for _ in range(2):
        forecast(matrix(methods=["plugin:Fine"], baseline="plugin:Fine", seeds=[0]), Store(tmp_path), [])
    assert len(counted) == 2


def test_a_mistake_in_a_method_from_outside_is_a_line_with_its_place_and_the_command_that_says_more(tmp_path):
    line = inspect.getsourcelines(Stumbles.forward)[1] + 1
    place = f"{inspect.getfile(Stumbles)}:{line}"
    file = matrix_file(tmp_path, **{**SMALL, "methods": ["single_task", "plugin:Stumbles"]})
    for arguments in (["run", file, "--dry-run", "--store", tmp_path], ["describe", "plugin:Stumbles"]):
        answer = CliRunner().invoke(app, [*map(str, arguments)])
        said = [text for text in answer.output.splitlines() if "TypeError" in text]
        assert answer.exit_code == 2 and len(said) == 1, answer.output
        assert said[0].startswith("mtlbench: plugin:Stumbles: counting a training step on semseg+")
        assert "with TypeError: no such map (" in said[0]
        assert said[0].endswith(f"({place}); correct it, and see `mtlbench check plugin:Stumbles`")


def test_weights_in_the_cache_are_not_missing_and_others_are_named_without_a_download(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"hf download timm/hrnet_w18_small_v2\.ms_in1k model\.safetensors"):
        require_pretrained("hrnet_w18_small_v2")
    snapshot = tmp_path / "hub" / "models--timm--hrnet_w18_small_v2.ms_in1k"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs" / "main").write_text("abc")
    (snapshot / "snapshots" / "abc").mkdir(parents=True)
    save_file({"x": torch.zeros(1)}, snapshot / "snapshots" / "abc" / "model.safetensors")
    require_pretrained("hrnet_w18_small_v2")
    with pytest.raises(ValueError, match="name them in full"):
        require_pretrained("resnet26")
    with pytest.raises(ValueError, match="Invalid pretrained tag"):
        require_pretrained("resnet18.no_such_tag")
    with pytest.raises(FileNotFoundError, match=r"timm/resnet18\.a1_in1k"):
        require_pretrained("resnet18.a1_in1k")


def test_a_run_without_weights_and_network_ends_at_once_with_the_same_line():
    (for_run,) = preflight.weights(BackboneConfig(weights="imagenet"))
    (for_dry_run,) = preflight.weights(BackboneConfig(weights="imagenet"), fetch=False)
    assert for_run == for_dry_run


def test_a_word_of_only_that_fits_nothing_is_refused(tmp_path):
    result = mtlbench("table1", "--only", "DINO", "--store", tmp_path)
    assert result.exit_code == 2
    assert "--only DINO" in result.stderr


def test_a_store_that_cannot_be_written_is_missing_too(tmp_path):
    result = invoke("run", matrix_file(tmp_path), "--dry-run", "--store", "/proc/nothing")
    assert result.exit_code == 2
    assert "  1. cannot write into the store /proc/nothing: there is no room in /proc" in result.stderr
    assert "give another --store" in result.stderr


def test_a_cell_that_failed_is_shown_as_such(tmp_path):
    store, asked = Store(tmp_path), matrix()
    first = expand(asked)[0].cell
    store.put_cell(first)
    store.put_failure(first.id, "OutOfMemory", "trace")
    assert [line.state for line in forecast(asked, store, []).lines] == ["failed", "new", "new"]
