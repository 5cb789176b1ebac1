"""How an image meets the network in training and evaluation, and how a prediction meets its label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from mtlbench.benchmarks.benchmark import Benchmark
from mtlbench.benchmarks.tasks.kinds import Kind
from mtlbench.benchmarks.transforms import geometry
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.benchmarks.transforms.geometry import Placement, Size
from mtlbench.harness.matrix.cell import BenchmarkConfig, Evaluate


@dataclass(frozen=True)
class View:
    """The way of an image to the network's input, and of a prediction to the label that it is compared with."""

    size: Size  # rows and columns of the network's input
    augmentation: Augmentation  # what training draws
    evaluate: Evaluate = "native"  # where and how predictions are compared with labels
    balance: str = ""  # the task by whose labels a crop is drawn; samples without them get the first window

    @property
    def placement(self) -> Placement:
        """How evaluation lays an image into the input. It does so as training did."""
        return self.augmentation.placement

    @property
    def native(self) -> bool:
        """Whether predictions are compared with labels at the stored size, not at the network's."""
        return self.evaluate != "network"

    @property
    def still(self) -> geometry.Draw:
        """The draw that moves an image and its labels as `resize` does."""
        return geometry.still(self.placement, self.augmentation.resampling)

    def resize(self, image: Tensor) -> Tensor:
        """An image for evaluation: uint8 [3, H, W] -> [3, h, w]. Raises ValueError for an image that would be cut."""
        return geometry.resize(image, self.size, self.placement, self.augmentation.resampling)

    def restore(self, prediction: Tensor, stored: Size, kind: Kind) -> Tensor:
        """Predictions [B, C, h, w] at the stored size of their images, [B, C, H, W]: the inverse of `resize`.

        kind: of the label. By the published rule, what is resized is what the kind would write into a file.
        """

        def resize(maps: Tensor, rule: Literal["nearest", "bilinear"]) -> Tensor:
            return geometry.restore(maps, stored, self.placement, rule)

        if self.evaluate == "published":
            return kind.restored_as_published(prediction, resize)
        return resize(prediction, "bilinear")


def view_of(config: BenchmarkConfig, benchmark: Benchmark) -> View:
    """The view of a configuration's cells: its protocol's draws, with the changes that the configuration makes."""
    chosen = {"borders": config.borders, "normals_zoom": config.normals_zoom, "resampling": config.resampling}
    changes = {name: value for name, value in chosen.items() if value is not None}
    augmentation = replace(benchmark.augmentations[config.protocol], **changes)  # type: ignore[arg-type]
    return View(benchmark.size, augmentation, config.evaluate, benchmark.balance)
