"""What an evaluation costs beside an epoch of training, on NYUD-v2's 795 training and 654 test images.

A forward pass is about a third of a training step, and scoring needs it. The rest is our part, and it should be small:
bringing predictions to the stored size, and counting their statistics.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.harness.bench.loading import Row
from mtlbench.harness.data.loading import Evaluation, evaluation_batches, in_order, normalise, onto
from mtlbench.harness.data.view import View
from mtlbench.harness.scoring.statistics import collect
from mtlbench.harness.training.objective import terms, weighted_sum
from mtlbench.methods import Outputs, Target, build

TRAIN, TEST = 795, 654  # images
GOAL = 0.1
TASKS: dict[str, Task] = {
    "semseg": factories.semseg(40),
    "depth": factories.depth(0.7, 10.0),
    "normals": factories.normals(),
}


class Shares(NamedTuple):
    """Seconds of an evaluation over seconds of an epoch."""

    scoring: float  # without the forward pass
    evaluation: float  # with the forward pass


def rows(rounds: int) -> list[Row]:
    """The multi-task baseline on a CPU at a fifth of NYUD-v2's size; every other method's step takes longer."""
    found = measure(torch.device("cpu"), rounds, size=(96, 128), stored=(85, 112))
    scoring, whole = [share.scoring for share in found], [share.evaluation for share in found]
    reached = statistics.median(scoring) <= GOAL
    return [
        Row("evaluation", "scores of 3 tasks over an epoch", *_figures(scoring), f"{GOAL:.0%}", reached),
        Row("", "with the forward pass", *_figures(whole), "", True),
    ]


def measure(
    device: torch.device,
    rounds: int,
    *,
    size: tuple[int, int],
    stored: tuple[int, int],
    batch: int = 8,
    images: int = 16,
) -> list[Shares]:
    """One entry a round. size: of the network's input; stored: of the test images and their labels."""
    network = build("multi_task", {name: Target(task.channels, task.classes) for name, task in TASKS.items()})
    network = network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    image = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, device=device)
    labels = {name: label.to(device) for name, label in _labels(size, batch).items()}
    view = View(size, Augmentation())
    # Loading is neither in a step nor in an evaluation: other processes do it meanwhile.
    batches = list(
        evaluation_batches(
            Evaluation(_samples(stored, images), TASKS, view), in_order(range(images), batch), pin=device.type == "cuda"
        )
    )

    def train() -> None:
        network.train()
        for _ in range(images // batch):
            outputs = network(normalise(image).contiguous(memory_format=torch.channels_last))
            weighted_sum(terms(outputs, labels, TASKS), TASKS).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

    def forward(image: Tensor) -> Mapping[str, Tensor]:
        outputs: Outputs = network(image.contiguous(memory_format=torch.channels_last))
        return outputs.final

    @torch.no_grad()
    def only_forward() -> None:
        network.eval()
        for pictures, *_ in batches:
            forward(normalise(pictures.to(device, non_blocking=True)))

    def evaluation() -> None:
        network.eval()
        collect(forward, onto(device, batches), TASKS, view)

    found = []
    for _ in range(rounds + 1):
        epoch = _seconds(train, device) * TRAIN / images
        least, whole = (_seconds(work, device) * TEST / images for work in (only_forward, evaluation))
        found.append(Shares((whole - least) / epoch, whole / epoch))
    return found[1:]  # the first round allocates memory


def _labels(size: tuple[int, int], images: int) -> dict[str, Tensor]:
    return {
        "semseg": torch.randint(0, 40, (images, *size), dtype=torch.uint8),
        "depth": torch.rand(images, 1, *size) + 0.7,
        "normals": torch.nn.functional.normalize(torch.randn(images, 3, *size), dim=1),
    }


def _samples(size: tuple[int, int], images: int) -> list[Sample]:
    pictures, labels = torch.randint(0, 256, (images, 3, *size), dtype=torch.uint8), _labels(size, images)
    return [Sample(str(i), pictures[i], {name: label[i] for name, label in labels.items()}) for i in range(images)]


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    """Process time on a CPU, wall time on a GPU, until the device is done."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def _figures(shares: list[float]) -> tuple[str, str]:
    return f"{statistics.median(shares):.1%}", f"{min(shares):.1%}-{max(shares):.1%}"
