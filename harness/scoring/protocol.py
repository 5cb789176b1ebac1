"""What fixes a score besides the network: the conditions of scoring, and hashes of the conditions."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, NamedTuple

from mtlbench.benchmarks.benchmark import Benchmark
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.geometry import Placement, Resampling
from mtlbench.harness.data.view import view_of
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell

PUBLISHED_RULE = (
    " by the rules of the published evaluations (classes by nearest neighbour after the argmax, unit normals and "
    "probabilities linearly), without their rounding to 8 bits"
)


class Conditions(NamedTuple):
    """What fixes a score besides the task's metric: the maps that are compared, their images, and the weights."""

    resolution: str  # "the stored size" (for made data with its rows x columns), or the network's rows x columns
    placement: Placement  # how an image came to the network's size
    images: int  # of the split
    split: str = "test"
    holdout: float = 0.0  # share of train that was kept from training
    checkpoint: str = "last"
    restored: Literal["linear", "published"] = "linear"  # how predictions came to the stored size
    resampling: Resampling = "bilinear"  # of the images

    def hashed(self) -> dict[str, object]:
        """The conditions as they enter a hash. There the placement is called "fit", as in the first records, which knew
        one way of resampling only: it is not named.
        """
        fields = self._asdict()
        new = {name: fields.pop(name) for name in ("restored", "resampling")}
        known = self._field_defaults
        return {"fit": fields.pop("placement"), **fields, **{k: v for k, v in new.items() if v != known[k]}}

    @property
    def sentence(self) -> str:
        part = f", without {self.holdout:.1%} of train" if self.holdout else ""
        weights = " with cubic weights" if self.resampling == "cubic" else ""
        rule = PUBLISHED_RULE if self.restored == "published" else ""
        return (
            f"Scored at {self.resolution}{rule}, images {'stretched' if self.placement == 'stretch' else 'padded'} for "
            f"the network{weights}; {self.split} split of {self.images} images; {self.checkpoint} checkpoint{part}."
        )


def conditions_of(
    config: BenchmarkConfig, benchmark: Benchmark, images: int, *, split: str = "test", holdout: float = 0.0
) -> Conditions:
    """The conditions of scoring a split of `images` images."""
    rows, columns = benchmark.size
    resolution = f"{rows}x{columns}"
    view = view_of(config, benchmark)
    if view.native:
        resolution = "the stored size" if benchmark.needs_root else f"the stored size, {resolution}"
    return Conditions(
        resolution,
        view.placement,
        images,
        split,
        holdout,
        restored="published" if view.evaluate == "published" else "linear",
        resampling=view.augmentation.resampling,
    )


def conditions_of_cell(cell: Cell, benchmark: Benchmark, images: int) -> Conditions:
    """The conditions of a cell's scores; `images` is the size of the split that the cell is scored on."""
    split = "val" if cell.trial else "test"
    return conditions_of(cell.benchmark, benchmark, images, split=split, holdout=cell.train.holdout)


def protocol_of(task: Task, conditions: Conditions) -> str:
    """A hash of all that fixes a task's scores besides the network: metric, parameters, classes, conditions."""
    metric = task.metric
    assert metric is not None
    directions = {score: its.higher_is_better for score, its in metric.score_types.items()}
    return hash_of([origin(task, conditions), metric.definition, directions])


def origin(task: Task, conditions: Conditions) -> str:
    """A hash of all that fixes a task's statistics besides the network. From statistics with an equal hash, scores may
    be computed anew.

    The metric enters by its class, its fields and the constants of its class, whose names are in capitals.
    """
    metric = task.metric
    kind = type(metric)
    constants = {name: value for base in kind.__mro__ for name, value in vars(base).items() if name.isupper()}
    parameters = {**constants, **vars(metric)}
    return hash_of([task.name, task.kind.name, task.channels, kind.__qualname__, parameters, conditions.hashed()])


def hash_of(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()[:12]
