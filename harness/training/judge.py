"""A trained network is scored, and a few of its predictions are kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.loading import Evaluation, Scored, evaluation_batches, in_order, normalise, onto
from mtlbench.harness.data.shown import places
from mtlbench.harness.data.view import View, view_of
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import statistics
from mtlbench.harness.scoring.expensive import is_expensive, keeper, saver
from mtlbench.harness.scoring.per_image import Row
from mtlbench.harness.scoring.protocol import Conditions, conditions_of
from mtlbench.harness.store import provenance
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.progress import Diverged, ImagesScored, NoRoomToScore, Scoring, still
from mtlbench.methods.method import Method
from mtlbench.results.records.record import Record, Score


def divergence(cell: Cell, error: Diverged, device: torch.device) -> Record:
    """The record of a trial that diverged. Divergence is a result of a trial, and not a failure."""
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


class Judgement(NamedTuple):
    """The scores of a split on every process, and what they were computed from."""

    scores: tuple[Score, ...]  # without the expensive ones
    rows: list[Row]
    conditions: Conditions


@dataclass(frozen=True)
class Judge:
    """Scores the network of a cell, as one of the processes that train it. Together they count each image once.

    The data for expensive scores are put into the store instead.
    """

    cell: Cell
    benchmark: Benchmark
    environment: Environment
    accelerator: Accelerator
    pulse: Callable[[], None] = still  # is called after each batch
    parts: int = 1  # into how many parts a batch is divided, for a device whose memory is too small
    report: Callable[[Scoring], None] = lambda scoring: None

    def score(
        self, network: Method, split: str, samples: Sequence[Sample], tasks: Mapping[str, Task], spent: float
    ) -> Judgement:
        """The scores of a split. spent: seconds of training that led to the network.

        Raises Diverged on every process where a prediction is not finite, because an argmax would turn it into a class.
        Raises NoRoomToScore where memory runs out.
        """
        accelerator, cell = self.accelerator, self.cell
        network.eval()
        if accelerator.num_processes > 1:
            # Running statistics differ between processes since the last step. Those of the first process are saved.
            for buffer in network.buffers():
                buffer.copy_(broadcast(buffer))
        scored = ImagesScored(self.report, split, len(samples), alone=accelerator.num_processes == 1)
        wild = torch.zeros(len(tasks), device=accelerator.device)  # batches with a prediction that is not finite

        def predict(image: Tensor) -> Mapping[str, Tensor]:
            final: Mapping[str, Tensor] = network(image.contiguous(memory_format=torch.channels_last)).final
            wild.add_(torch.stack([~final[task].isfinite().all() for task in tasks]))
            self.pulse()
            scored.add(len(image))
            return final

        view, store = view_of(cell.benchmark, self.benchmark), Store(self.environment.store)
        saved = self.environment.resources.save_predictions and split == "test"
        try:
            rows = statistics.collect(
                predict,
                onto(accelerator.device, self._batches(Evaluation(samples, tasks, view))),
                tasks,
                view,
                keep=keeper(store, cell.id),
                save=saver(store, cell.id) if saved else None,
            )
        except torch.OutOfMemoryError as error:
            raise NoRoomToScore(str(error)) from error
        counts = accelerator.reduce(wild, "sum").tolist()
        if broken := [task for task, count in zip(tasks, counts, strict=True) if count]:
            raise Diverged(f"predictions of {', '.join(broken)} on the {split} split are not finite", spent)
        if accelerator.num_processes > 1:
            rows = gather_object(rows)
        cheap = {name: task for name, task in tasks.items() if not is_expensive(task)}
        conditions = conditions_of(
            cell.benchmark, self.benchmark, len(samples), split=split, holdout=cell.train.holdout
        )
        return Judgement(statistics.scores(rows, cheap, conditions), rows, conditions)

    def validate(
        self, network: Method, samples: Sequence[Sample], tasks: Mapping[str, Task], spent: float
    ) -> dict[str, float | None]:
        """The primary scores of the val split by their names in the history, without the expensive ones."""
        cheap = {name: task for name, task in tasks.items() if not is_expensive(task)}
        found = self.score(network, "val", samples, cheap, spent).scores
        primary = [score for score in found if score.primary and score.value is not None]
        return {f"val/{score.task}/{score.metric}": score.value for score in primary}

    def _batches(self, dataset: Evaluation) -> Iterable[Scored]:
        """This process's share of the images."""
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        # Not divided by `accumulate`: kernels that depend on the size of a batch would change last digits of scores.
        at_once = max(1, self.cell.train.batch // processes // self.parts)
        keys = in_order(range(rank, len(dataset.samples), processes), at_once)
        loaders = self.environment.resources.loaders
        return evaluation_batches(dataset, keys, loaders=loaders, pin=self.accelerator.device.type == "cuda")


@torch.no_grad()
def samples(network: Method, split: Sequence[Sample], tasks: Mapping[str, Task], view: View) -> bytes:
    """samples.npz: predictions for a few test images, the same for every cell, at their stored sizes.

    Class indices for tasks with several classes, probabilities for those with one, values for fields.
    """
    network.eval()
    device = next(network.parameters()).device
    arrays: dict[str, np.ndarray] = {}
    for sample in (split[place] for place in places(len(split))):
        final = network(normalise(view.resize(sample.image)[None].to(device))).final
        for name, task in tasks.items():
            rows, columns = sample.image.shape[-2:]
            prediction = view.restore(final[name].float(), (rows, columns), task.kind)[0].cpu()
            answer = task.kind.answer(prediction)
            arrays[f"{sample.id}/{name}"] = (answer.half() if answer.is_floating_point() else answer).numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
