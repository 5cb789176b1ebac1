"""What a user could write without touching the package: one of each kind of addition. The tests train with them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.optim import Optimizer

from mtlbench.benchmarks import Benchmark, Sample
from mtlbench.benchmarks.tasks.kinds import Scalar
from mtlbench.benchmarks.tasks.metric import ScoreType
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.methods import Method, Outputs
from mtlbench.results.report.drawing.figures import Picture


class Plain(Method):
    """A method: one convolution a task on the finest map, its weights times `scale`."""

    def __init__(self, backbone, targets, *, scale: float = 1.0):
        super().__init__()
        self.backbone, self.scale = backbone, scale
        self.heads = nn.ModuleDict(
            {task: nn.Conv2d(backbone.channels[0], target.channels, 1) for task, target in targets.items()}
        )

    def forward(self, image):
        finest = self.backbone(image)[0]
        final = {}
        for task, head in self.heads.items():
            coarse = self.scale * head(finest)
            final[task] = nn.functional.interpolate(coarse, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return Outputs(final, [], {})


class Pyramid(nn.Module):
    """A backbone: maps at strides 4, 8, 16 and 32 by one convolution each."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.down = nn.ModuleList(nn.Conv2d(width, 2 * width, 2, stride=2) for width in (8, 16, 32))

    def forward(self, image):
        maps = [self.stem(image)]
        for layer in self.down:
            maps.append(layer(maps[-1]).relu())
        return maps


@dataclass(frozen=True)
class Gap:
    """A metric: the mean absolute difference in millimetres over the pixels with label > 0."""

    primary: ClassVar[str] = "gap"
    expensive: ClassVar[bool] = False
    score_types: ClassVar[Mapping[str, ScoreType]] = {"gap": ScoreType(False, "mean gap", "mm", 1)}
    definition: ClassVar[str] = "Mean absolute difference over all pixels with label > 0, in millimetres."

    def statistics(self, prediction, label):
        """[B, 2]: the sum of the differences, and how many there are."""
        valid = label > 0
        gaps = torch.where(valid, (prediction - label).abs(), 0)
        return torch.stack([gaps.double().sum((1, 2, 3)), valid.double().sum((1, 2, 3))], dim=1)

    def scores(self, total):
        return {"gap": total[0] / total[1]}


def absolute_difference(prediction, label):
    """A loss: (sum, count) over the pixels with label > 0."""
    valid = label > 0
    return torch.where(valid, (prediction - label).abs(), 0).sum(), valid.sum().float()


HEIGHT = Task(
    name="height", kind=Scalar(), channels=1, classes=1, loss=absolute_difference, label_loss=absolute_difference,
    metric=Gap(), weight=1.0,
)  # fmt: skip


class Squares(Benchmark):
    """A benchmark: a bright square on a dark ground, and how high each pixel lies: 3 mm in the square, else 1 mm."""

    name = "squares"
    needs_root = False
    default_tasks = ("height",)
    tasks: ClassVar = {"height": HEIGHT}
    splits: ClassVar = {"train": 4, "test": 2}
    augmentations: ClassVar = {"mirrored": Augmentation(flip=1.0)}

    def __init__(self, size=(32, 64), *, side: int = 12):
        self.size, self.side = size, side

    def open(self, root, split, tasks):
        first = 0 if split == "train" else 20  # no square of one split is in another
        return [self._sample(f"{split}-{number}", first + number, tasks) for number in range(self.splits[split])]

    def fingerprint(self, root):
        return hashlib.sha256(repr((self.size, self.side)).encode()).hexdigest()[:16]

    def _sample(self, name, number, tasks):
        image, height = torch.full((3, *self.size), 40, dtype=torch.uint8), torch.ones(1, *self.size)
        place = (..., slice(8, 8 + self.side), slice(2 * number, 2 * number + self.side))
        image[place], height[place] = 200, 3
        return Sample(name, image, {"height": height} if "height" in tasks else {})


class Signs(Optimizer):
    """An optimiser: each weight moves by the learning rate, against the sign of its gradient."""

    def __init__(self, groups):
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * parameter.grad.sign())


def warm_up(progress, recipe):
    """A schedule: half the learning rate in the first half of training."""
    return 0.5 if progress < 0.5 else 1.0


def spread(summary, store, colors):
    """A figure: a bar for the parameters of each row."""
    figure, axis = plt.subplots()
    axis.bar(list(colors), [summary.rows[label].cost["parameters"] for label in colors])
    return Picture(figure, "The parameters of each row.")
