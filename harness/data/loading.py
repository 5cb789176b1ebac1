"""Batches: which images come, in which order, and how each is moved. All follows from (seed, epoch, image id)."""

from __future__ import annotations

import functools
import multiprocessing.util
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms import augmentation, geometry
from mtlbench.harness import seeds
from mtlbench.harness.data.view import View
from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.methods.feature_maps import IMAGENET_MEAN, IMAGENET_STD


class Batch(NamedTuple):
    """image: uint8 [B, 3, H, W] at the network's size. Training: labels batched at that size."""

    image: Tensor
    labels: dict[str, Tensor]


class SameSize(NamedTuple):
    """Labels of one task and one size: [len(positions), ...], of the images at `positions` of a batch."""

    positions: list[int]
    labels: Tensor


class Scored(NamedTuple):
    """A batch to compare predictions with."""

    image: Tensor  # uint8 [B, 3, H, W] at the network's size
    ids: list[str]
    numbers: list[int]  # the places of the images in their split
    labels: dict[str, list[SameSize]]  # task -> one entry a size


def normalise(image: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] -> float, ImageNet-normalised, on the image's device."""
    mean, std = _imagenet(image.device)
    return (image.float() / 255 - mean) / std


@functools.cache  # cached, because a copy to the device makes the host wait in every step
def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each [3, 1, 1]."""
    return (
        torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1),
        torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1),
    )


class Training(Dataset[Batch]):
    """Images and labels as training sees them: moved by a draw that depends on seed, epoch and image alone."""

    def __init__(self, samples: Sequence[Sample], tasks: Mapping[str, Task], view: View, seed: int) -> None:
        self.samples, self.view, self.seed = samples, view, seed
        self.kinds = {name: task.kind for name, task in tasks.items()}
        self.channels = {name: task.channels for name, task in tasks.items()}
        self.tasks = tasks

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """The image at (epoch, index) with its labels, not yet batched."""
        epoch, index = key
        sample, view = self.samples[index], self.view
        generator = seeds.generator(self.seed, "augmentation", epoch, seeds.code(sample.id))
        drawn = augmentation.draw(view.augmentation, generator, view.size, sample.labels.get(view.balance))
        trained = {name: label for name, label in sample.labels.items() if name in self.kinds}
        image, labels = geometry.apply(sample.image, trained, self.kinds, drawn, view.size)
        for name, kind in self.kinds.items():
            if name not in labels:  # a missing label becomes a label without a valid pixel
                labels[name] = kind.blank(view.size, self.channels[name])
            elif self.tasks[name].background_alone_is_void and not self.tasks[name].labels(labels[name]):
                labels[name].fill_(kind.invalid)
        return Batch(image, labels)


class Evaluation(Dataset[tuple[int, Sample]]):
    """Images at the network's size, with the labels that their predictions are compared with."""

    def __init__(self, samples: Sequence[Sample], tasks: Mapping[str, Task], view: View) -> None:
        self.samples, self.view = samples, view
        self.tasks = {name: task for name, task in tasks.items() if task.metric is not None}

    def __getitem__(self, index: int) -> tuple[int, Sample]:
        """An image's place in the split, and the image. Raises ValueError naming the image of a label that is no class
        of its task, and an image that a padded input cannot hold.
        """
        (name, image, stored), view = self.samples[index], self.view
        labels = {task: label for task, label in stored.items() if task in self.tasks}
        for task, label in labels.items():
            self.tasks[task].check(label, name)  # here on the host, because a metric does not check labels on a GPU
        try:
            geometry.require_room((image.shape[-2], image.shape[-1]), view.size, view.placement)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if view.native:
            return index, Sample(name, view.resize(image), labels)
        kinds = {task: self.tasks[task].kind for task in labels}
        return index, Sample(name, *geometry.apply(image, labels, kinds, view.still, view.size))


def _collate(batch: list[Batch]) -> Batch:
    images, labels = zip(*batch, strict=True)
    return Batch(torch.stack(images), {name: torch.stack([label[name] for label in labels]) for name in labels[0]})


def _collate_scored(batch: list[tuple[int, Sample]]) -> Scored:
    """Labels are stacked here, where a loader's process does it, and reach the device as one copy a task and size."""
    numbers, samples = [number for number, _ in batch], [sample for _, sample in batch]
    members: dict[str, dict[torch.Size, list[int]]] = {}
    for position, sample in enumerate(samples):
        for task, label in sample.labels.items():
            members.setdefault(task, {}).setdefault(label.shape, []).append(position)
    labels = {
        task: [SameSize(group, torch.stack([samples[i].labels[task] for i in group])) for group in sizes.values()]
        for task, sizes in members.items()
    }
    return Scored(torch.stack([sample.image for sample in samples]), [sample.id for sample in samples], numbers, labels)


def order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of the images in an epoch. It is the same for every method."""
    indices: list[int] = seeds.generator(seed, "order", epoch).permutation(count).tolist()
    return indices


def micro_batches(
    recipe: TrainConfig, seed: int, images: int, epochs: range, rank: int = 0, processes: int = 1
) -> Iterator[list[tuple[int, int]]]:
    """(epoch, index) of every image of every micro-batch of this process; an incomplete last batch is dropped.

    images: of the split. A step's images are the same whatever the number of processes and micro-batches.
    """
    part = recipe.batch // (processes * recipe.accumulate)
    for epoch in epochs:
        indices = order(seed, epoch, images)
        for start in range(0, images - recipe.batch + 1, recipe.batch):
            for micro in range(recipe.accumulate):
                first = start + (micro * processes + rank) * part
                yield [(epoch, index) for index in indices[first : first + part]]


def in_order(indices: Sequence[int], batch: int = 8) -> list[Sequence[int]]:
    """The indices in parts of `batch`; the last part may be smaller."""
    return [indices[start : start + batch] for start in range(0, len(indices), batch)]


def shorten_sockets() -> None:
    """Let the processes of a loader meet in a folder whose path is short enough for a socket.

    Tensors are handed over through a socket below $TMPDIR. If its path is too long, the loader waits for ever. Raises
    ValueError that says which variable to change where /tmp will not do either.
    """
    earlier = tempfile.gettempdir()
    if len(os.fsencode(earlier)) + len("/pymp-12345678/listener-12345678") <= 107:
        return
    try:
        tempfile.tempdir = "/tmp"
        multiprocessing.util.get_temp_dir()  # made once, and known to the processes that this one starts
    except OSError as error:
        raise ValueError(
            f"TMPDIR={earlier} is too long for the sockets of loaders, and /tmp cannot be used ({error.strerror}); set "
            "TMPDIR to a folder with a shorter path, or resources.loaders to 0"
        ) from error
    finally:
        tempfile.tempdir = earlier


def training_batches(
    dataset: Training, keys: Iterable[Sequence[tuple[int, int]]], *, loaders: int = 0, pin: bool = False
) -> DataLoader[Batch]:
    """The batches of `keys`, as of `micro_batches`: one loader for all the epochs, so that its processes start once."""
    if loaders:
        shorten_sockets()
    return DataLoader(
        dataset,
        batch_sampler=keys,  # type: ignore[arg-type]  # any iterable will do
        collate_fn=_collate,
        num_workers=loaders,
        pin_memory=pin,
    )


def evaluation_batches(
    dataset: Evaluation, keys: Iterable[Sequence[int]], *, loaders: int = 0, pin: bool = False
) -> DataLoader[Scored]:
    """The batches of `keys`, as of `in_order`. Reading a batch raises what reading an item of the data set raises."""
    if loaders:
        shorten_sockets()
    items: Dataset[Any] = dataset  # collated, its items are Scored
    return DataLoader(
        items,
        batch_sampler=keys,  # type: ignore[arg-type]
        collate_fn=_collate_scored,
        num_workers=loaders,
        pin_memory=pin,
    )


def onto(device: torch.device, batches: Iterable[Scored]) -> Iterator[Scored]:
    """The batches with images and labels on a device. Where they are pinned, the host does not wait for the copies."""
    for image, ids, numbers, labels in batches:
        moved = {
            task: [SameSize(positions, label.to(device, non_blocking=True)) for positions, label in sizes]
            for task, sizes in labels.items()
        }
        yield Scored(image.to(device, non_blocking=True), ids, numbers, moved)
