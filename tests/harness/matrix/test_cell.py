"""A cell's id names its content, and survives new fields."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Cell, TrainConfig


def cell(**changes):
    fields = {
        "method": "multi_task",
        "tasks": ("semseg", "depth"),
        "benchmark": BenchmarkConfig(name="rooms"),
        "train": TrainConfig(epochs=10),
    }
    return Cell(**{**fields, **changes})


FROZEN = {
    "rooms-multi_task-semseg-depth-s0-7038565e1d": {},
    "rooms-single_task-depth-s3-5e0f1eccdc": {"method": "single_task", "tasks": ("depth",), "seed": 3},
    "nyud-pad_net-semseg-depth-s0-ee65ba9252": {
        "method": "pad_net",
        "benchmark": BenchmarkConfig(name="nyud", size=(96, 128)),
    },
    "rooms-Mine-semseg-depth-s0-b6e4f384a5": {"method": "pkg.mine:Mine", "options": {"width": 2}},
    "rooms-multi_task-semseg-depth-s0-a52d0c82f9": {
        "backbone": BackboneConfig(weights="imagenet"),
        "train": TrainConfig(steps=5, optimizer="sgd", lr=0.01, precision="bf16", weights={"depth": 2.0}),
    },
}


@pytest.mark.parametrize(("expected", "changes"), FROZEN.items())
def test_ids_are_those_that_stores_already_hold(expected, changes):
    assert cell(**changes).id == expected


def test_a_default_that_is_spelled_out_is_the_same_cell():
    assert cell(seed=0, backbone=BackboneConfig(name="hrnet_w18_small_v2", output_stride=32)).id == cell().id


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"tasks": ("semseg",)},
        {"options": {"head": "fcn_atrc"}},
        {"train": TrainConfig(epochs=11)},
        {"train": TrainConfig(steps=10)},
        {"benchmark": BenchmarkConfig(name="rooms", options={"train": 10})},
        {"benchmark": BenchmarkConfig(name="rooms", borders="background")},
        {"benchmark": BenchmarkConfig(name="rooms", normals_zoom="consistent")},
        {"backbone": BackboneConfig(name="resnet18")},
        {"backbone": BackboneConfig(output_stride=8)},
    ],
)
def test_whatever_determines_a_number_is_in_the_id(changes):
    assert cell(**changes).id != cell().id


def test_a_cell_survives_its_yaml_form():
    original = cell(options={"a": [1, 2]}, train=TrainConfig(steps=3, weights={"depth": 2}))
    assert Cell.model_validate(original.model_dump(mode="json")) == original


@pytest.mark.parametrize("size", [(100, 128), (0, 32), (16, 32)])
def test_a_size_that_is_no_multiple_of_32_is_refused_by_its_value(size):
    with pytest.raises(ValidationError, match="multiples of 32"):
        BenchmarkConfig(name="rooms", size=size)


@pytest.mark.parametrize("length", [{}, {"epochs": 1, "steps": 1}])
def test_the_length_of_training_is_given_once(length):
    with pytest.raises(ValidationError, match="one of epochs and steps"):
        TrainConfig(**length)


def test_a_cell_can_be_read_without_waiting_for_torch():
    code = "import sys; from mtlbench.harness.matrix.cell import Cell; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
