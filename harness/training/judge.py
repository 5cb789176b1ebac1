"""A trained network is scored, and a few of its predictions are kept."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.benchmarks.transforms.geometry import Placement, resize, restore
from mtlbench.harness.data import loading
from mtlbench.harness.data.view import view_of
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import per_image, protocol, statistics
from mtlbench.harness.scoring.expensive import is_expensive, keeper, saver
from mtlbench.harness.store import provenance
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.progress import Diverged
from mtlbench.methods.method import Method
from mtlbench.results.records.record import Record, Score

SAMPLES = 8  # test images whose predictions are kept


def divergence(cell: Cell, error: Diverged, device: torch.device) -> Record:
    """The record of a trial that diverged: that is what was to be found out."""
    tasks = make_benchmark(cell.benchmark).tasks
    metrics = [(name, tasks[name].metric) for name in cell.tasks]
    return Record(
        id=cell.id,
        cell=cell.model_dump(mode="json"),
        scores=tuple(
            statistics.undefined_score(name, metric, metric.primary) for name, metric in metrics if metric is not None
        ),
        cost={"train_seconds": error.seconds},
        provenance=provenance.describe(device, diverged=str(error)),
    )


def score(
    network: Method,
    split: Sequence[Sample],
    name: str,
    tasks: Mapping[str, Task],
    benchmark: Benchmark,
    cell: Cell,
    environment: Environment,
    accelerator: Accelerator,
    spent: float,
) -> tuple[tuple[Score, ...], list[per_image.Row]]:
    """The scores of the split `name` on every process, each image counted once whatever their number.

    What expensive scores need is put into the store instead. spent: seconds of training that led to the network. Raises
    Diverged on every process where a prediction is not finite: an argmax would make a class of it.
    """
    network.eval()
    if accelerator.num_processes > 1:
        # Each process's batch statistics have moved since they were last made equal, and the first's are saved.
        for buffer in network.buffers():
            buffer.copy_(broadcast(buffer))
    native, resources = cell.benchmark.evaluate == "native", environment.resources
    wild = torch.zeros(len(tasks), device=accelerator.device)  # batches with a prediction that is not finite, by task

    def predict(image: Tensor) -> Mapping[str, Tensor]:
        final: Mapping[str, Tensor] = network(image.contiguous(memory_format=torch.channels_last)).final
        wild.add_(torch.stack([~final[task].isfinite().all() for task in tasks]))
        return final

    rows = statistics.collect(
        predict, split, tasks, benchmark.size, placement_of(cell, benchmark), native=native, device=accelerator.device,
        batch=max(1, cell.train.batch // accelerator.num_processes),
        indices=range(accelerator.process_index, len(split), accelerator.num_processes),
        loaders=resources.loaders,
        keep=keeper(Store(environment.store), cell.id),
        save=saver(Store(environment.store), cell.id) if resources.save_predictions and name == "test" else None,
    )  # fmt: skip
    broken = [task for task, batches in zip(tasks, accelerator.reduce(wild, "sum").tolist(), strict=True) if batches]
    if broken:
        raise Diverged(f"predictions of {', '.join(broken)} on the {name} split are not finite", spent)
    if accelerator.num_processes > 1:
        rows = gather_object(rows)
    cheap = {task: it for task, it in tasks.items() if not is_expensive(it)}
    return statistics.scores(rows, cheap, conditions(cell, benchmark, len(split), name)), rows


def conditions(cell: Cell, benchmark: Benchmark, images: int, split: str = "test") -> protocol.Conditions:
    """Under which a split of a cell's benchmark is scored."""
    return protocol.conditions(cell.benchmark, benchmark, images, split=split, holdout=cell.train.holdout)


def placement_of(cell: Cell, benchmark: Benchmark) -> Placement:
    """How images come to the network's size: as they did in training."""
    return view_of(cell.benchmark, benchmark).placement


@torch.no_grad()
def samples(
    network: Method, split: Sequence[Sample], tasks: Mapping[str, Task], size: tuple[int, int], placement: Placement
) -> bytes:
    """samples.npz: predictions for a few test images, the same for every cell, at their stored sizes.

    Class indices for tasks with several classes, probabilities for those with one, values for fields.
    """
    network.eval()
    device = next(network.parameters()).device
    chosen = sorted(set(np.linspace(0, len(split) - 1, min(SAMPLES, len(split))).round().astype(int).tolist()))
    arrays: dict[str, np.ndarray] = {}
    for sample in (split[index] for index in chosen):
        final = network(loading.normalise(resize(sample.image, size, placement)[None].to(device))).final
        for name, task in tasks.items():
            rows, columns = sample.image.shape[-2:]
            prediction = restore(final[name].float(), (rows, columns), placement)[0].cpu()
            answer = task.kind.answer(prediction)
            arrays[f"{sample.id}/{name}"] = (answer.half() if answer.is_floating_point() else answer).numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
