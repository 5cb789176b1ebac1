"""Cells, matrices and trainings that are as small as a test allows, defined once.

Rooms of 32 x 64 pixels (6 to train, 2 for validation, 4 to test) and a backbone of 24 to 64 channels: an epoch of three
steps takes a tenth of a second. Tests name what matters to them and take the rest from here.
"""

from pathlib import Path

import yaml

from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import Resources, make_benchmark
from mtlbench.harness.matrix.file import check
from mtlbench.harness.training import train
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.progress import Progress

BACKBONE = "test_efficientnet"  # timm's own for tests; features at strides 4 to 32, as every backbone here
# Networks that can be run stage by stage, for the methods that act between stages.
IN_STAGES = {"cross_stitch": "test_resnet", "nddr_cnn": "test_resnet", "mtan": "resnet18"}
SIZE = (32, 64)
IMAGES = {"train": 6, "val": 2, "test": 4}
ROOMS = BenchmarkConfig(name="rooms", size=SIZE, options=IMAGES)
MATRIX = {
    "name": "m",
    "benchmark": {"name": "rooms", "tasks": ["depth"], "options": IMAGES},
    "size": list(SIZE),
    "backbone": BACKBONE,
    "methods": [{"name": "single_task", "label": "Single task"}, {"name": "multi_task", "label": "Multi-task"}],
    "train": {"steps": 1, "batch": 2, "lr": 1e-3},
}


def backbone_for(method):
    """A small network that a method can stand on."""
    return IN_STAGES.get(method, BACKBONE)


def small_recipe(**changes):
    """One epoch of three steps, but for the changes."""
    length = {} if "steps" in changes else {"epochs": 1}
    return TrainConfig(**{**length, "batch": 2, "lr": 1e-3, **changes})


def small_cell(method="multi_task", tasks=("semseg", "depth"), train=(), **changes):
    """A cell of the small rooms. train: changes of its recipe; changes: other fields of the cell."""
    fields = {"benchmark": ROOMS, "backbone": BackboneConfig(name=backbone_for(method)), **changes}
    return Cell(method=method, tasks=tasks, train=small_recipe(**dict(train)), **fields)


def small_benchmark():
    return make_benchmark(ROOMS)


def small_matrix(**changes):
    """A matrix of one step a cell. A change of None leaves the entry out."""
    content = {key: value for key, value in {**MATRIX, **changes}.items() if value is not None}
    return check(content, "m.yaml")


def matrix_file(folder, name="m", **changes):
    """The same matrix as a file."""
    content = {key: value for key, value in {**MATRIX, "name": None, **changes}.items() if value is not None}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def train_cell(cell, store, root, report=lambda progress: None, *, cache=None, weights=(), **resources):
    """Train a cell into a store, here, with the data of its benchmark in `root`. Returns its record.

    report is told of the progress of training alone.
    """
    roots = {cell.benchmark.name: root}
    assert isinstance(store, str | Path)  # a Store would become a folder of the current folder
    place = Environment(str(store), roots, Resources(**resources), cache=cache, weights=dict(weights))
    return train.train(cell, place, lambda said: report(said) if isinstance(said, Progress) else None)
