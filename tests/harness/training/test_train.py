"""Training: the same bits however it was interrupted, and nothing counted twice."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load, load_file

from cells import BACKBONE, small_benchmark, small_cell, train_cell
from mtlbench.harness.data.copy import hold_out
from mtlbench.harness.data.loading import micro_batches, order
from mtlbench.harness.matrix.cell import BackboneConfig, TrainConfig
from mtlbench.harness.store import provenance
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import checkpoint, network
from mtlbench.harness.training.history import History, Usage
from mtlbench.harness.training.progress import Diverged

pytestmark = pytest.mark.usefixtures("undrawn")

FOUR_EPOCHS = small_cell(train={"epochs": 4})
ON_ANY_MACHINE = ("images_per_second", "cpu_utilization_percentage", "system_memory_usage_megabytes")


def weights(store, a_cell):
    return load_file(Path(store) / "cells" / a_cell.id / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Killed(BaseException):
    """Stands in for a signal: nothing in training may catch it."""


def killing(at_step):
    def report(progress):
        if progress.step >= at_step:
            raise Killed

    return report


RECIPES = [("adam", "fp32", BACKBONE), ("sgd", "fp32", BACKBONE)]
SLOW = [("adam", "bf16", BACKBONE), ("sgd", "bf16", BACKBONE), ("adam", "fp32", "hrnet_w18_small_v2")]


@pytest.mark.parametrize(
    ("optimizer", "precision", "backbone"),
    [*RECIPES, *(pytest.param(*recipe, marks=pytest.mark.slow) for recipe in SLOW)],
)
def test_a_killed_and_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(
    tmp_path, rooms, optimizer, precision, backbone
):
    a_cell = small_cell(
        backbone=BackboneConfig(name=backbone), train={"epochs": 4, "precision": precision, "optimizer": optimizer}
    )
    whole = train_cell(a_cell, tmp_path / "whole", rooms)
    for at_step in (5, 11):
        with pytest.raises(Killed):
            train_cell(a_cell, tmp_path / "parts", rooms, report=killing(at_step))
    steps = []
    resumed = train_cell(a_cell, tmp_path / "parts", rooms, report=lambda progress: steps.append(progress.step))
    assert steps == [9, 12]  # the first says where it goes on
    assert same(weights(tmp_path / "whole", a_cell), weights(tmp_path / "parts", a_cell))
    assert resumed.scores == whole.scores
    histories = [
        [
            json.loads(line)
            for line in (tmp_path / name / "cells" / a_cell.id / "history.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "parts")
    ]
    assert histories[0] == histories[1]


@pytest.mark.slow
def test_dropout_is_drawn_anew_for_each_epoch_so_that_resuming_needs_no_random_state(tmp_path, rooms):
    a_cell = small_cell("atrc", train={"epochs": 2})
    train_cell(a_cell, tmp_path / "whole", rooms)
    with pytest.raises(Killed):
        train_cell(a_cell, tmp_path / "parts", rooms, report=killing(6))
    torch.manual_seed(99)
    train_cell(a_cell, tmp_path / "parts", rooms)
    assert same(weights(tmp_path / "whole", a_cell), weights(tmp_path / "parts", a_cell))


def test_a_corrupt_checkpoint_is_kept_aside_and_the_one_before_it_goes_on(tmp_path, rooms, capsys):
    a_cell = FOUR_EPOCHS
    with pytest.raises(Killed):
        train_cell(a_cell, tmp_path, rooms, report=killing(12))
    folder = tmp_path / "cells" / a_cell.id / "checkpoints"
    newest = sorted(path for path in folder.iterdir())[-1]
    file = newest / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    steps = []
    train_cell(a_cell, tmp_path, rooms, report=lambda progress: steps.append(progress.step))
    assert steps == [6, 9, 12]  # where it goes on, and the ends of epochs
    assert "model.safetensors is missing or has changed" in capsys.readouterr().out


def test_tensors_that_layers_share_are_written_under_each_name():
    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Linear(3, 3)
            self.two = self.one
            self.view = torch.nn.Parameter(self.one.weight[0])

    written, made = load(checkpoint.model_bytes(Shared())), Shared()
    assert torch.equal(written["one.weight"], written["two.weight"])
    made.load_state_dict(written)
    assert torch.equal(made.two.weight, written["one.weight"]) and torch.equal(made.view, written["one.weight"][0])


@pytest.mark.parametrize(
    "content", [b'{"epoch": "\xff"}', b"[]", b"3", b'{"epoch": 1, "sha256": 2, "source": ""}', b""]
)
def test_a_checkpoint_whose_state_cannot_be_read_is_kept_aside(tmp_path, content):
    store, layer = Store(tmp_path), torch.nn.Linear(1, 1)
    for epoch in (1, 2):
        checkpoint.save(store, "c", layer, [], checkpoint.Position(epoch, epoch, 1.0), "code")
    store.put("cells/c/checkpoints/000002/state.json", content)
    place, (warning,) = checkpoint.restore(store, "c", layer, [], torch.device("cpu"), "code")
    assert place == (1, 1, 1.0)
    assert "000002/state.json" in warning
    assert any(name.startswith("000002.corrupt") for name in store.names("cells/c/checkpoints"))


def test_lines_of_a_history_that_cannot_be_read_are_left_out_and_the_file_is_kept_aside(tmp_path):
    store = Store(tmp_path)
    rows = [
        json.dumps({"step": step, "epoch": step, "name": "train/loss", "value": 0.5}).encode() for step in (1, 2, 3)
    ]
    content = b"\n".join([rows[0], b"{", rows[1].replace(b"loss", b"lo\xffs"), b"[]", b'{"a": 1}', rows[1], rows[2]])
    store.put("cells/c/history.jsonl", content)
    history = History(store, "c", 2, writes=True)
    assert [json.loads(line)["step"] for line in history.lines] == [1, 2]
    (warning,) = history.warnings
    aside = warning.split()[-1]
    assert "4 lines" in warning and store.get(aside) == content
    assert History(store, "c", 0, writes=True).warnings == []


class Touches:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_checkpoint_that_would_run_code_is_kept_aside_and_the_one_before_it_goes_on(tmp_path):
    model, store = torch.nn.Linear(2, 2), Store(tmp_path / "store")
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in (1, 2):
        checkpoint.save(store, "a", model, [optimizer], checkpoint.Position(epoch, epoch, 0.0), "code")
    newest = tmp_path / "store" / "cells" / "a" / "checkpoints" / "000002"
    torch.save([Touches(tmp_path / "touched")], newest / "optimizers.pt")
    state = json.loads((newest / "state.json").read_text())
    state["sha256"]["optimizers.pt"] = hashlib.sha256((newest / "optimizers.pt").read_bytes()).hexdigest()
    (newest / "state.json").write_text(json.dumps(state))
    place, (warning,) = checkpoint.restore(store, "a", model, [optimizer], torch.device("cpu"), "code")
    assert place.epoch == 1 and "checkpoint not used, kept as" in warning and "\n" not in warning
    assert not (tmp_path / "touched").exists()


def test_a_checkpoint_of_other_code_is_not_continued(tmp_path, rooms, monkeypatch, capsys):
    a_cell = FOUR_EPOCHS
    with pytest.raises(Killed):
        train_cell(a_cell, tmp_path, rooms, report=killing(12))
    monkeypatch.setattr(provenance, "code_hash", lambda cell: "changed")
    steps = []
    train_cell(a_cell, tmp_path, rooms, report=lambda progress: steps.append(progress.step))
    assert steps == [3, 6, 9, 12]
    assert "made by other code" in capsys.readouterr().out


def test_a_finished_cell_leaves_what_reports_and_predictions_need_and_no_checkpoints(tmp_path, rooms):
    a_cell = FOUR_EPOCHS
    record = train_cell(a_cell, tmp_path, rooms)
    folder = tmp_path / "cells" / a_cell.id
    assert {path.name for path in folder.iterdir()} == {
        "history.jsonl", "model.safetensors", "per_image.parquet", "record.json", "samples.npz", "usage.jsonl",
    }  # fmt: skip
    assert record.cost["parameters"] == sum(value.numel() for key, value in named_parameters(a_cell))
    assert record.cost["macs"] > 0
    assert record.cost["steps"] == 12
    assert {score.task for score in record.scores if score.primary} == {"semseg", "depth"}
    rows = pq.read_table(folder / "per_image.parquet").to_pandas()
    assert rows.groupby("task").image.nunique().to_dict() == {"semseg": 4, "depth": 4}
    assert len(rows) == 8
    for _, influence in rows.groupby("task").influence:
        assert np.mean(influence) == pytest.approx(0, abs=1e-6)  # to first order, the images' pulls cancel


def test_what_each_epoch_used_of_the_machine_is_kept_apart_from_the_history(tmp_path, rooms):
    record = train_cell(FOUR_EPOCHS, tmp_path, rooms)
    folder = tmp_path / "cells" / FOUR_EPOCHS.id
    assert "system/" not in (folder / "history.jsonl").read_text()
    rows = [json.loads(line) for line in (folder / "usage.jsonl").read_text().splitlines()]
    found = {name: [row["value"] for row in rows if row["name"] == f"system/{name}"] for name in ON_ANY_MACHINE}
    assert len(rows) == 3 * 4 and [row["step"] for row in rows[::3]] == [3, 6, 9, 12]
    assert all(0 < value <= 105 for value in found["cpu_utilization_percentage"])
    assert all(20 < value < 100_000 for value in found["system_memory_usage_megabytes"])
    images = record.cost["steps"] * FOUR_EPOCHS.train.batch / 4
    assert sum(images / speed for speed in found["images_per_second"]) == pytest.approx(
        record.cost["train_seconds"], rel=0.1
    )


def test_a_resumed_training_keeps_what_earlier_epochs_used(tmp_path, rooms):
    with pytest.raises(Killed):
        train_cell(FOUR_EPOCHS, tmp_path, rooms, killing(8))
    file = tmp_path / "cells" / FOUR_EPOCHS.id / "usage.jsonl"
    before = file.read_text().splitlines()
    train_cell(FOUR_EPOCHS, tmp_path, rooms)
    after = file.read_text().splitlines()
    assert len(before) == 2 * 3 and len(after) == 4 * 3 and after[:6] == before


def test_the_gpu_of_a_cell_is_measured_where_its_driver_tells(tmp_path, monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1e9, 4e9))
    usage, file = Usage(Store(tmp_path), "c", 0, cuda, writes=True), tmp_path / "cells/c/usage.jsonl"
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 37)
    usage.add(1, 1, 8)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 1 / 0)  # stands for an error of the driver
    usage.add(2, 2, 8)
    found = {(row["step"], row["name"]): row["value"] for row in map(json.loads, file.read_text().splitlines())}
    assert found[1, "system/gpu_0_utilization_percentage"] == 37
    assert (2, "system/gpu_0_utilization_percentage") not in found
    assert found[2, "system/gpu_0_memory_usage_megabytes"] == 3000
    assert found[2, "system/gpu_0_memory_usage_percentage"] == 75


def named_parameters(a_cell):
    return network.build(a_cell, network.chosen_tasks(small_benchmark(), a_cell)).named_parameters()


def test_seeds_pair_backbones_and_batches_across_methods(tmp_path, rooms):
    tasks = network.chosen_tasks(small_benchmark(), small_cell())
    one = network.build(small_cell(seed=3), tasks).backbone.state_dict()
    other = network.build(small_cell("pad_net", seed=3), tasks).backbone.state_dict()
    assert same(one, other)
    assert order(3, 1, 50) == order(3, 1, 50) != order(3, 2, 50)
    assert not same(one, network.build(small_cell(seed=4), tasks).backbone.state_dict())


def test_a_loss_that_is_not_finite_is_a_failure(tmp_path, rooms):
    a_cell = small_cell(train={"epochs": 3, "lr": 1e12, "optimizer": "sgd"})
    with pytest.raises(Diverged, match="step"):
        train_cell(a_cell, tmp_path, rooms)
    assert Store(tmp_path).state(a_cell.id) != "finished"


def test_predictions_that_are_not_finite_are_a_failure_and_no_score(tmp_path, rooms):
    a_cell = small_cell("plugin:BlindWhenScored", train={"steps": 1})
    with pytest.raises(Diverged, match="predictions of semseg, depth on the test split are not finite"):
        train_cell(a_cell, tmp_path, rooms)
    assert Store(tmp_path).state(a_cell.id) != "finished"


def test_a_batch_larger_than_the_data_is_refused_by_its_numbers(tmp_path, rooms):
    with pytest.raises(ValueError, match=r"6 training images and train.batch is 8"):
        train_cell(small_cell(train={"batch": 8}), tmp_path, rooms)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_micro_batches_hold_the_images_of_the_step_that_they_share(processes):
    whole = list(micro_batches(TrainConfig(epochs=3, batch=12), 0, 30, range(3)))
    shared = TrainConfig(epochs=3, batch=12, accumulate=2)
    parts = [list(micro_batches(shared, 0, 30, range(3), rank, processes)) for rank in range(processes)]
    assert len(whole) == 3 * 2
    for step, images in enumerate(whole):
        shared = [key for rank in range(processes) for micro in range(2) for key in parts[rank][2 * step + micro]]
        assert sorted(shared) == sorted(images)


def test_accumulated_micro_batches_train(tmp_path, rooms):
    record = train_cell(small_cell(train={"steps": 2, "batch": 4, "accumulate": 2, "clip": 1.0}), tmp_path, rooms)
    assert record.cost["steps"] == 2


@pytest.mark.parametrize("method", ["multi_task", "pad_net"])
def test_the_loss_of_the_final_prediction_is_logged_beside_that_of_all_outputs(tmp_path, rooms, method):
    a_cell = small_cell(method, train={"steps": 2})
    train_cell(a_cell, tmp_path, rooms)
    lines = (tmp_path / "cells" / a_cell.id / "history.jsonl").read_text().splitlines()
    found = {row["name"]: row["value"] for row in map(json.loads, lines)}
    for task in a_cell.tasks:
        final, of_all = found[f"train/final/{task}"], found[f"train/loss/{task}"]
        assert final == of_all if method == "multi_task" else 0 < final < of_all


def test_validation_curves_come_from_the_val_split(tmp_path, rooms):
    a_cell = small_cell(train={"epochs": 2})
    train_cell(a_cell, tmp_path, rooms, validate_every=1)
    lines = (tmp_path / "cells" / a_cell.id / "history.jsonl").read_text().splitlines()
    values = [json.loads(line) for line in lines if '"val/' in line]
    assert {(row["name"], row["epoch"]) for row in values} == {
        (name, epoch) for name in ("val/semseg/miou", "val/depth/rmse") for epoch in (1, 2)
    }


def test_a_held_out_part_is_the_same_for_every_seed_and_disjoint_from_training():
    samples = list(range(100))
    train_part, val = hold_out(samples, 0.2)
    assert len(val) == 20
    assert sorted([*train_part, *val]) == samples
    assert list(hold_out(samples, 0.2)[1]) == list(val)


def test_only_two_checkpoints_are_kept(tmp_path, rooms):
    a_cell = FOUR_EPOCHS
    with pytest.raises(Killed):
        train_cell(a_cell, tmp_path, rooms, report=killing(12))
    names = Store(tmp_path).names(f"cells/{a_cell.id}/checkpoints")
    assert names == ["000002", "000003"]
    assert checkpoint.KEPT == 2
