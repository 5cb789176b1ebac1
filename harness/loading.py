"""Batches: which images, in which order, moved how. A function of (seed, epoch, image id), whoever asks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks import transforms
from benchmarks.benchmark import Sample
from benchmarks.tasks import Kind, Task
from benchmarks.transforms import Augmentation, Fit
from harness import seeds

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INVALID = {"label": 255, "scalar": 0, "vector": 0}


class Batch(NamedTuple):
    """image: uint8 [B, 3, H, W] at the network's size. Training: labels batched at that size."""

    image: Tensor
    labels: dict[str, Tensor]


class Scored(NamedTuple):
    """image: uint8 [B, 3, H, W] at the network's size; the samples have the labels to compare with."""

    image: Tensor
    samples: list[Sample]


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


class Holdout(Sequence[Sample]):
    """A part of a split: the images at `indices`."""

    def __init__(self, samples: Sequence[Sample], indices: Sequence[int]) -> None:
        self.samples = samples
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[self.indices[index]]


def hold_out(samples: Sequence[Sample], share: float) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Split train into (train, val). The same for all methods and seeds."""
    order = seeds.generator(0, "holdout").permutation(len(samples))
    held = round(share * len(samples))
    return Holdout(samples, sorted(order[held:].tolist())), Holdout(samples, sorted(order[:held].tolist()))


class _Training(Dataset[Batch]):
    def __init__(
        self,
        samples: Sequence[Sample],
        tasks: Mapping[str, Task],
        size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.samples, self.size, self.augmentation, self.seed = samples, size, augmentation, seed
        self.kinds = {name: task.kind for name, task in tasks.items()}
        self.channels = {name: task.channels for name, task in tasks.items()}
        self.needs_foreground = {name for name, task in tasks.items() if task.background_alone_is_void}
        classes = (name for name, task in tasks.items() if task.kind == "label" and task.channels > 1)
        self.balance = next(classes, "")  # the label map that a crop must show several classes of

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        sample = self.samples[index]
        generator = seeds.generator(self.seed, "augmentation", epoch, seeds.code(sample.id))
        drawn = transforms.draw(self.augmentation, generator, self.size, sample.labels.get(self.balance))
        image, labels = transforms.apply(sample.image, sample.labels, self.kinds, drawn, self.size)
        for name, kind in self.kinds.items():
            if name not in labels:  # a missing label is one without a valid pixel
                labels[name] = _without_labels(kind, self.channels[name], self.size)
            elif name in self.needs_foreground and not torch.where(labels[name] == 255, 0, labels[name]).any():
                labels[name].fill_(255)
        return Batch(image, labels)


def _without_labels(kind: str, channels: int, size: tuple[int, int]) -> Tensor:
    if kind == "label":
        return torch.full(size, INVALID[kind], dtype=torch.uint8)
    return torch.full((channels, *size), float(INVALID[kind]))


class _Evaluation(Dataset[tuple[Tensor, Sample]]):
    """An image at the network's size, with its sample: labels as stored, or for kinds given at the network's size."""

    def __init__(
        self, samples: Sequence[Sample], size: tuple[int, int], fit: Fit, kinds: Mapping[str, Kind] | None
    ) -> None:
        self.samples, self.size, self.fit, self.kinds = samples, size, fit, kinds

    def __getitem__(self, index: int) -> tuple[Tensor, Sample]:
        sample = self.samples[index]
        if self.kinds is None:
            return transforms.resize(sample.image, self.size, self.fit), sample
        still = transforms.Draw(window=None if self.fit == "stretch" else (0.0, 0.0))
        image, labels = transforms.apply(sample.image, sample.labels, self.kinds, still, self.size)
        return image, sample._replace(labels=labels)


def _collate(batch: list[Batch]) -> Batch:
    images, labels = zip(*batch, strict=True)
    return Batch(torch.stack(images), {name: torch.stack([label[name] for label in labels]) for name in labels[0]})


def _collate_scored(batch: list[tuple[Tensor, Sample]]) -> Scored:
    images, samples = zip(*batch, strict=True)
    return Scored(torch.stack(images), list(samples))


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
    loaders: int = 0,
    pin: bool = False,
) -> DataLoader[Batch]:
    """One loader for all the epochs, so that its processes start once."""
    dataset = _Training(samples, tasks, size, augmentation, seed)
    return DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=_collate,
        num_workers=loaders,
        pin_memory=pin,
    )


def evaluation_batches(
    samples: Sequence[Sample],
    size: tuple[int, int],
    fit: Fit,
    indices: Sequence[int],
    batch: int,
    *,
    kinds: Mapping[str, Kind] | None = None,
    loaders: int = 0,
    pin: bool = False,
) -> DataLoader[Scored]:
    """Every index once, in order; the last batch may be smaller. `kinds` asks for labels at the network's size too."""
    dataset: Dataset[Any] = _Evaluation(samples, size, fit, kinds)  # collated, its items are Scored
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=indices,
        collate_fn=_collate_scored,
        num_workers=loaders,
        pin_memory=pin,
    )
