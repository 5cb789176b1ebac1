"""Batches: which images, in which order, moved how. A function of (seed, epoch, image id), whoever asks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms import augmentation as drawing
from mtlbench.benchmarks.transforms import geometry
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.benchmarks.transforms.geometry import Placement
from mtlbench.harness import seeds

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Batch(NamedTuple):
    """image: uint8 [B, 3, H, W] at the network's size. Training: labels batched at that size."""

    image: Tensor
    labels: dict[str, Tensor]


class SameSize(NamedTuple):
    """Labels of one task and one size: [len(positions), ...], of the images at `positions` of a batch."""

    positions: list[int]
    labels: Tensor


class Scored(NamedTuple):
    """image: uint8 [B, 3, H, W] at the network's size; labels to compare with: task -> one entry a size."""

    image: Tensor
    ids: list[str]
    labels: dict[str, list[SameSize]]


def normalise(image: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] -> float, ImageNet-normalised, on the image's device."""
    mean, std = _imagenet(image.device)
    return (image.float() / 255 - mean) / std


@functools.cache  # a copy to the device makes the host wait: one for a run, not one for a step
def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each [3, 1, 1]."""
    return (
        torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1),
        torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1),
    )


class _Training(Dataset[Batch]):
    def __init__(
        self,
        samples: Sequence[Sample],
        tasks: Mapping[str, Task],
        size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        balance: str,
    ) -> None:
        self.samples, self.size, self.augmentation, self.seed = samples, size, augmentation, seed
        self.balance = balance
        self.kinds = {name: task.kind for name, task in tasks.items()}
        self.channels = {name: task.channels for name, task in tasks.items()}
        self.needs_foreground = {name for name, task in tasks.items() if task.background_alone_is_void}

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        sample = self.samples[index]
        generator = seeds.generator(self.seed, "augmentation", epoch, seeds.code(sample.id))
        drawn = drawing.draw(self.augmentation, generator, self.size, sample.labels.get(self.balance))
        trained = {name: label for name, label in sample.labels.items() if name in self.kinds}
        image, labels = geometry.apply(sample.image, trained, self.kinds, drawn, self.size)
        for name, kind in self.kinds.items():
            if name not in labels:  # a missing label is one without a valid pixel
                labels[name] = kind.blank(self.size, self.channels[name])
            elif name in self.needs_foreground and not torch.where(kind.valid(labels[name]), labels[name], 0).any():
                labels[name].fill_(kind.invalid)
        return Batch(image, labels)


class _Evaluation(Dataset[Sample]):
    """Images at the network's size, with their labels: as stored if `native`, else at the network's size too."""

    def __init__(
        self,
        samples: Sequence[Sample],
        tasks: Mapping[str, Task],
        size: tuple[int, int],
        placement: Placement,
        native: bool,
    ) -> None:
        self.samples, self.tasks, self.size, self.placement, self.native = samples, tasks, size, placement, native

    def __getitem__(self, index: int) -> Sample:
        name, image, stored = self.samples[index]
        labels = {task: label for task, label in stored.items() if task in self.tasks}
        for task, label in labels.items():
            self.tasks[task].check(label, name)  # here, on the host: on a device, a metric would not look
        try:
            geometry.require_room((image.shape[-2], image.shape[-1]), self.size, self.placement)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if self.native:
            return Sample(name, geometry.resize(image, self.size, self.placement), labels)
        kinds = {task: self.tasks[task].kind for task in labels}
        return Sample(name, *geometry.apply(image, labels, kinds, geometry.still(self.placement), self.size))


def _collate(batch: list[Batch]) -> Batch:
    images, labels = zip(*batch, strict=True)
    return Batch(torch.stack(images), {name: torch.stack([label[name] for label in labels]) for name in labels[0]})


def _collate_scored(batch: list[Sample]) -> Scored:
    """Labels are stacked here, where a loader's process does it, and reach the device as one copy a task and size."""
    members: dict[str, dict[torch.Size, list[int]]] = {}
    for position, sample in enumerate(batch):
        for task, label in sample.labels.items():
            members.setdefault(task, {}).setdefault(label.shape, []).append(position)
    labels = {
        task: [SameSize(group, torch.stack([batch[i].labels[task] for i in group])) for group in sizes.values()]
        for task, sizes in members.items()
    }
    return Scored(torch.stack([sample.image for sample in batch]), [sample.id for sample in batch], labels)


def order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of an epoch: the same for every method."""
    indices: list[int] = seeds.generator(seed, "order", epoch).permutation(count).tolist()
    return indices


def micro_batches(
    seed: int, count: int, batch: int, epochs: range, *, rank: int = 0, processes: int = 1, accumulate: int = 1
) -> Iterator[list[tuple[int, int]]]:
    """(epoch, index) of every image of every micro-batch of this process; an incomplete last batch is dropped.

    A step's `batch` images are the same whatever the number of processes and micro-batches.
    """
    part = batch // (processes * accumulate)
    for epoch in epochs:
        indices = order(seed, epoch, count)
        for start in range(0, count - batch + 1, batch):
            for micro in range(accumulate):
                first = start + (micro * processes + rank) * part
                yield [(epoch, index) for index in indices[first : first + part]]


def training_batches(
    samples: Sequence[Sample],
    tasks: Mapping[str, Task],
    size: tuple[int, int],
    augmentation: Augmentation,
    seed: int,
    keys: Iterator[list[tuple[int, int]]],
    *,
    balance: str = "",
    loaders: int = 0,
    pin: bool = False,
) -> DataLoader[Batch]:
    """One loader for all the epochs, so that its processes start once.

    balance: the task, of `tasks` or not, by whose labels a crop is drawn; samples without them get the first window.
    """
    dataset = _Training(samples, tasks, size, augmentation, seed, balance)
    return DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=_collate,
        num_workers=loaders,
        pin_memory=pin,
    )


def evaluation_batches(
    samples: Sequence[Sample],
    tasks: Mapping[str, Task],
    size: tuple[int, int],
    placement: Placement,
    indices: Sequence[int],
    batch: int,
    *,
    native: bool,
    loaders: int = 0,
    pin: bool = False,
) -> DataLoader[Scored]:
    """Every index once, in order; the last batch may be smaller. native: labels as stored, of any size.

    Reading one raises ValueError naming the image of a label that is no class of its task.
    """
    dataset: Dataset[Any] = _Evaluation(samples, tasks, size, placement, native)  # collated, its items are Scored
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=indices,
        collate_fn=_collate_scored,
        num_workers=loaders,
        pin_memory=pin,
    )
