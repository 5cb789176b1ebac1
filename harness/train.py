"""train(cell) -> Record, top to bottom."""

from __future__ import annotations

import io
import json
import math
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, gather_object
from torch import Tensor

import methods
from benchmarks.benchmark import Benchmark, Sample
from benchmarks.tasks import Task
from benchmarks.transforms import Fit, resize, restore
from harness import (
    batch_norm,
    checkpoint,
    data,
    evaluate,
    learning,
    loading,
    optimizers,
    pretrained,
    provenance,
    scoring,
    seeds,
)
from harness.cell import Cell
from harness.cost import network_cost
from harness.matrix import make_benchmark
from harness.objective import objective, weighted_sum
from harness.store import Store
from methods.method import Method, Target
from results.record import Record, Score

SAMPLES = 8  # test images whose predictions are kept
NO_FILES: Mapping[str, str] = {}
INTERVAL = 50  # steps between two looks at the loss; each is a host synchronisation


class Diverged(FloatingPointError):
    """A loss or a prediction is no longer a finite number. Trying again from the checkpoint would only repeat it."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what)
        self.seconds = seconds  # spent training


class Progress(NamedTuple):
    """What a running cell says of itself."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds: float  # spent training so far, over all attempts


@dataclass(frozen=True)
class Place:
    """Where a cell runs. Nothing here changes a number."""

    store: str
    root: Path  # of the data
    cache: Path | None = None  # where prepared data may be, besides this node's scratch
    weights: Mapping[str, str] = field(default_factory=dict)  # what a cell calls a file of weights -> its path
    device: str = "cpu"
    loaders: int = 0
    checkpoint_every: int = 1
    validate_every: int | None = None
    save_predictions: bool = False  # of all test images
    report: Callable[[Progress], None] = lambda progress: None


class Length(NamedTuple):
    """How long training is, in epochs of whole batches."""

    steps_per_epoch: int
    epochs: int
    steps: int


def length(cell: Cell, images: int) -> Length:
    """Raises ValueError where an epoch has no whole batch."""
    per_epoch = images // cell.train.batch
    if per_epoch == 0:
        raise ValueError(
            f"{cell.benchmark.name} has {images} training images and train.batch is {cell.train.batch}: "
            f"an epoch has no whole batch; set train.batch to at most {images}"
        )
    if cell.train.epochs is not None:
        return Length(per_epoch, cell.train.epochs, cell.train.epochs * per_epoch)
    assert cell.train.steps is not None
    return Length(per_epoch, math.ceil(cell.train.steps / per_epoch), cell.train.steps)


def chosen_tasks(benchmark: Benchmark, cell: Cell, learnt: learning.Findings | None = None) -> dict[str, Task]:
    """The cell's tasks with its weights in the objective, completed with what they have learnt."""
    weights = cell.train.weights
    tasks = {name: benchmark.tasks[name].fitted((learnt or {}).get(name, {})) for name in cell.tasks}
    return {name: replace(task, weight=weights.get(name, task.weight)) for name, task in tasks.items()}


def build(cell: Cell, tasks: dict[str, Task], files: Mapping[str, str] = NO_FILES) -> Method:
    """The cell's network, initialised from its seed: the backbone first, bit-equal across methods.

    files: what a cell calls a file of weights -> its path.
    """
    targets = {name: Target(task.channels, task.classes) for name, task in tasks.items()}
    return methods.build(
        cell.method,
        targets,
        backbone=cell.backbone.name,
        pretrained=cell.backbone.weights == "imagenet",
        weights=pretrained.locate(cell.backbone, files),
        bn_momentum=cell.backbone.bn_momentum,
        seed=cell.seed,
        **cell.options,
    )


def open_splits(
    benchmark: Benchmark, cell: Cell, root: Path, fingerprint: str, places: Sequence[Path]
) -> tuple[Sequence[Sample], Sequence[Sample] | None, Sequence[Sample]]:
    """train, val (the benchmark's own, or the part held out of train, or None) and test."""

    def opened(split: str, tasks: Sequence[str] = cell.tasks) -> Sequence[Sample]:
        return data.open_split(benchmark, root, split, tasks, fingerprint, places)

    augmentation = loading.augmentation(benchmark, cell.benchmark)
    train = opened("train", data.for_training(benchmark, root, cell.tasks, augmentation))
    val = opened("val") if "val" in benchmark.splits else None
    if cell.train.holdout:
        train, val = loading.hold_out(train, cell.train.holdout)
    return train, val, opened("test")


def train(cell: Cell, place: Place) -> Record:
    """Train and score one cell, from its last checkpoint if it has one; the record is in the store at the end.

    Where a task's metric is expensive the record lacks its scores, and waits in the store for `scoring.finish`: a GPU
    that is held here would be idle there.

    Raises Diverged for a loss or a prediction that is not finite, ValueError for outputs that break the contract, and
    ValueError or OSError naming the file for data that cannot be read. Runs in one process, or as one of a group that
    has been joined already.
    """
    AcceleratorState._reset_state()  # it is the process's, and would hold the next cell to this one's precision
    accelerator = Accelerator(
        mixed_precision={"fp32": "no", "bf16": "bf16"}[cell.train.precision], cpu=place.device == "cpu"
    )
    device, main = accelerator.device, accelerator.is_main_process
    store = Store(place.store)
    benchmark = make_benchmark(cell.benchmark)
    fingerprint = benchmark.fingerprint(place.root)
    places = data.caches(place.cache)
    with accelerator.main_process_first():  # which puts into the store what the others read there
        learnt = learning.learn(store, benchmark, fingerprint, place.root, cell.tasks, cell.train.holdout, places)
    tasks = chosen_tasks(benchmark, cell, learnt)
    train_split, val_split, test_split = open_splits(benchmark, cell, place.root, fingerprint, places)
    extent = length(cell, len(train_split))
    processes, rank = accelerator.num_processes, accelerator.process_index
    if cell.train.batch % (processes * cell.train.accumulate):
        raise ValueError(
            f"train.batch {cell.train.batch} is not a multiple of workers x accumulate "
            f"({processes} x {cell.train.accumulate})"
        )

    network = build(cell, tasks, place.weights)
    cost = network_cost(network, benchmark.size)
    if processes > 1:
        network = batch_norm.synchronise(network, device)
    network = network.to(device).to(memory_format=torch.channels_last)
    own = optimizers.make(network, cell.train)
    model, *wrapped = accelerator.prepare(network, *own)
    done, warnings = checkpoint.restore(store, cell.id, network, own, device)
    for warning in warnings if main else []:
        print(warning, flush=True)
    history = History(store, cell.id, done.step, writes=main)
    for warning in history.warnings:
        print(warning, flush=True)

    batches = iter(
        loading.training_batches(
            train_split, tasks, benchmark.size, loading.augmentation(benchmark, cell.benchmark), cell.seed,
            loading.micro_batches(
                cell.seed, len(train_split), cell.train.batch, range(done.epoch, extent.epochs),
                rank=rank, processes=processes, accumulate=cell.train.accumulate,
            ),
            balance=benchmark.balance, loaders=place.loaders, pin=device.type == "cuda",
        )
    )  # fmt: skip
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    step, spent = done.step, done.seconds
    for epoch in range(done.epoch, extent.epochs):
        model.train()
        seeds.seed_torch(cell.seed, "layers", epoch, rank)
        started, first = time.perf_counter(), step
        running, counted = torch.zeros(1 + len(tasks), device=device), 0
        for _ in range(min(extent.steps_per_epoch, extent.steps - step)):
            progress = step / extent.steps
            network.at(progress)
            by_epoch = epoch / extent.epochs
            rate = optimizers.set_learning_rates(own, cell.train, by_epoch if cell.train.per == "epoch" else progress)
            for micro in range(cell.train.accumulate):
                batch = next(batches)
                image = loading.normalise(batch.image.to(device, non_blocking=True))
                labels = {name: label.to(device, non_blocking=True) for name, label in batch.labels.items()}
                last = micro == cell.train.accumulate - 1
                with nullcontext() if last else accelerator.no_sync(model):
                    running += backpropagate(accelerator, model, image, labels, tasks, cell.train.accumulate)
            optimizers.clip(parameters, cell.train.clip)
            for optimizer in wrapped:
                optimizer.step()
                optimizer.zero_grad()
            step, counted = step + 1, counted + 1
            if counted == INTERVAL or step - first == extent.steps_per_epoch or step == extent.steps:
                scalar_mean, *means = (accelerator.reduce(running, "sum") / counted).tolist()  # waits for the device
                now = spent + time.perf_counter() - started
                if not math.isfinite(scalar_mean):
                    raise Diverged(
                        f"the loss is {scalar_mean} at step {step} of {extent.steps} (epoch {epoch + 1})", now
                    )
                values = {"train/loss": scalar_mean, "train/lr": rate}
                values |= {f"train/loss/{name}": mean for name, mean in zip(tasks, means, strict=True)}
                history.add(step, epoch + 1, values)
                place.report(Progress(epoch + 1, extent.epochs, step, extent.steps, scalar_mean, now))
                running.zero_()
                counted = 0
        spent += time.perf_counter() - started
        if val_split is not None and place.validate_every and (epoch + 1) % place.validate_every == 0:
            cheap = {name: task for name, task in tasks.items() if not scoring.is_expensive(task)}
            found, _ = score(network, val_split, "val", cheap, benchmark, cell, place, accelerator, spent)
            primary = [score for score in found if score.primary and score.value is not None]
            history.add(step, epoch + 1, {f"val/{score.task}/{score.metric}": score.value for score in primary})
        if main and ((epoch + 1) % place.checkpoint_every == 0 or epoch + 1 == extent.epochs):
            checkpoint.save(store, cell.id, network, own, checkpoint.Place(epoch + 1, step, spent))

    judged, split = (val_split, "val") if cell.trial else (test_split, "test")
    assert judged is not None, "a trial needs a val split, which reading the matrix has seen to"
    if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
        raise Diverged("a weight is not finite at the end of training", spent)
    scores, rows = score(network, judged, split, tasks, benchmark, cell, place, accelerator, spent)
    record = Record(
        id=cell.id,
        cell=cell.model_dump(mode="json"),
        scores=scores,
        cost={
            **cost,
            "steps": float(step),
            "seconds_per_step": spent / step,
            "train_seconds": spent,
            "peak_memory_bytes": peak_memory(device),
        },
        provenance=provenance.describe(
            device,
            plugin=provenance.plugin_hash(type(network)),
            processes=processes,
            threads=torch.get_num_threads(),
            weights=pretrained.origin(cell.backbone, place.weights),
            data={
                "fingerprint": fingerprint,
                **benchmark.reading(place.root),
                "images": [len(train_split), len(judged)],
                "rows": scoring.counts(store, cell.id, rows, tasks),
                **({"learnt": learning.digest(learnt)} if learnt else {}),
            },
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        findings=network.findings(),
        derived_from=cell.derived_from,
    )
    if main:
        publish(
            store,
            record,
            network,
            evaluate.per_image(rows, tasks, conditions(cell, benchmark, len(judged), split)),
            whole=not any(scoring.is_expensive(task) for task in tasks.values()),
            predictions=samples(network, judged, tasks, benchmark.size, fit_of(cell, benchmark)),
        )
    accelerator.wait_for_everyone()
    return record


def divergence(cell: Cell, error: Diverged, device: torch.device) -> Record:
    """The record of a trial that diverged: that is what was to be found out."""
    tasks = make_benchmark(cell.benchmark).tasks
    metrics = [(name, tasks[name].metric) for name in cell.tasks]
    return Record(
        id=cell.id,
        cell=cell.model_dump(mode="json"),
        scores=tuple(
            Score(name, metric.primary, None, metric.higher_is_better[metric.primary], primary=True)
            for name, metric in metrics
            if metric is not None
        ),
        cost={"train_seconds": error.seconds},
        provenance=provenance.describe(device, diverged=str(error)),
    )


def backpropagate(
    accelerator: Accelerator,
    model: torch.nn.Module,
    image: Tensor,
    labels: Mapping[str, Tensor],
    tasks: Mapping[str, Task],
    accumulate: int = 1,
) -> Tensor:
    """Add the gradients of a micro-batch, one of `accumulate`, which other processes may hold other images of.

    image: normalised [B, 3, H, W]. Returns this process's share of the loss and of each task's, [1 + tasks]: shares
    add up over processes and micro-batches. What the method adds by its penalty is minimised and not in it.
    """
    processes = accelerator.num_processes

    def total(counts: Tensor) -> Tensor:
        return accelerator.reduce(counts, "sum") if processes > 1 else counts

    outputs = model(image.contiguous(memory_format=torch.channels_last))
    losses = objective(outputs, labels, tasks, total)
    scalar = weighted_sum(losses, tasks)
    # Gradients are averaged over processes, and `scalar` is this process's share of a sum.
    minimised = scalar * processes + (0 if outputs.penalty is None else outputs.penalty)
    accelerator.backward(minimised / accumulate)
    return torch.stack([scalar, *losses.values()]).detach() / accumulate


def score(
    network: Method,
    split: Sequence[Sample],
    name: str,
    tasks: Mapping[str, Task],
    benchmark: Benchmark,
    cell: Cell,
    place: Place,
    accelerator: Accelerator,
    spent: float,
) -> tuple[tuple[Score, ...], list[evaluate.Row]]:
    """The scores of the split `name` on every process, each image counted once whatever their number.

    What expensive scores need is put into the store instead. spent: seconds of training that led to the network. Raises
    Diverged on every process where a prediction is not finite: an argmax would make a class of it.
    """
    network.eval()
    if accelerator.num_processes > 1:
        # Each process's batch statistics have moved since they were last made equal, and the first's are saved.
        for buffer in network.buffers():
            buffer.copy_(broadcast(buffer))
    native = cell.benchmark.evaluate == "native"
    wild = torch.zeros(len(tasks), device=accelerator.device)  # batches with a prediction that is not finite, by task

    def predict(image: Tensor) -> Mapping[str, Tensor]:
        final: Mapping[str, Tensor] = network(image.contiguous(memory_format=torch.channels_last)).final
        wild.add_(torch.stack([~final[task].isfinite().all() for task in tasks]))
        return final

    rows = evaluate.collect(
        predict, split, tasks, benchmark.size, fit_of(cell, benchmark), native=native, device=accelerator.device,
        batch=max(1, cell.train.batch // accelerator.num_processes),
        indices=range(accelerator.process_index, len(split), accelerator.num_processes), loaders=place.loaders,
        keep=scoring.keeper(Store(place.store), cell.id),
        save=scoring.saver(Store(place.store), cell.id) if place.save_predictions and name == "test" else None,
    )  # fmt: skip
    broken = [task for task, batches in zip(tasks, accelerator.reduce(wild, "sum").tolist(), strict=True) if batches]
    if broken:
        raise Diverged(f"predictions of {', '.join(broken)} on the {name} split are not finite", spent)
    if accelerator.num_processes > 1:
        rows = gather_object(rows)
    cheap = {task: it for task, it in tasks.items() if not scoring.is_expensive(it)}
    return evaluate.scores(rows, cheap, conditions(cell, benchmark, len(split), name)), rows


def conditions(cell: Cell, benchmark: Benchmark, images: int, split: str = "test") -> evaluate.Conditions:
    """Under which a split of a cell's benchmark is scored."""
    return evaluate.conditions(cell.benchmark, benchmark, images, split=split, holdout=cell.train.holdout)


def fit_of(cell: Cell, benchmark: Benchmark) -> Fit:
    """How images come to the network's size: as they did in training."""
    return loading.augmentation(benchmark, cell.benchmark).fit


def peak_memory(device: torch.device) -> float:
    """Bytes: allocated on the GPU; on a CPU the process's resident set, libraries included."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    kilobyte = 1 if os.uname().sysname == "Darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte)


@torch.no_grad()
def samples(
    network: Method, split: Sequence[Sample], tasks: Mapping[str, Task], size: tuple[int, int], fit: Fit
) -> bytes:
    """samples.npz: predictions for a few test images, the same for every cell, at their stored sizes.

    Class indices for tasks with several classes, probabilities for those with one, values for fields.
    """
    network.eval()
    device = next(network.parameters()).device
    chosen = sorted(set(np.linspace(0, len(split) - 1, min(SAMPLES, len(split))).round().astype(int).tolist()))
    arrays: dict[str, np.ndarray] = {}
    for sample in (split[index] for index in chosen):
        final = network(loading.normalise(resize(sample.image, size, fit)[None].to(device))).final
        for name, task in tasks.items():
            rows, columns = sample.image.shape[-2:]
            prediction = restore(final[name].float(), (rows, columns), fit)[0].cpu()
            if task.kind == "label":
                shown = prediction.argmax(0).byte() if task.channels > 1 else prediction[0].sigmoid().half()
            else:
                shown = prediction.half()
            arrays[f"{sample.id}/{name}"] = shown.numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def publish(store: Store, record: Record, network: Method, per_image: bytes, predictions: bytes, whole: bool) -> None:
    """Everything a trained cell leaves, the record last, be it whole or not; its checkpoints have served."""
    folder = store.folder(record.id)
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary) / "model.safetensors"
        checkpoint.save_model(network, weights)
        store.put(f"{folder}/model.safetensors", weights.read_bytes())
    store.put(f"{folder}/per_image.parquet", per_image)
    store.put(f"{folder}/samples.npz", predictions)
    if whole:
        store.put_record(record)
    else:
        store.put_trained(record)
    store.remove(f"{folder}/checkpoints")


class History:
    """history.jsonl: {"step", "epoch", "name", "value"} a line. Rows after the step resumed from are dropped.

    A file with lines that cannot be read is kept aside, and `warnings` says so: a gap in a curve is no reason to stop.
    """

    def __init__(self, store: Store, cell_id: str, step: int, *, writes: bool) -> None:
        self.store, self.name, self.writes = store, f"{store.folder(cell_id)}/history.jsonl", writes
        text = store.get(self.name) if writes and step and store.exists(self.name) else b""
        steps = [(line, _step(line)) for line in text.decode(errors="replace").splitlines()]
        self.lines = [line for line, its_step in steps if its_step is not None and its_step <= step]
        unreadable = sum(its_step is None for _, its_step in steps)
        self.warnings: list[str] = []
        if unreadable:
            aside = store.set_aside(self.name)
            self.warnings.append(f"history without {unreadable} lines that cannot be read; the file is kept as {aside}")

    def add(self, step: int, epoch: int, values: Mapping[str, float | None]) -> None:
        """Values by name; the file is put whole, since an object store cannot append."""
        self.lines += [
            json.dumps({"step": step, "epoch": epoch, "name": name, "value": value}) for name, value in values.items()
        ]
        if self.writes:
            self.store.put(self.name, "".join(line + "\n" for line in self.lines))


def _step(line: str) -> float | None:
    """Of a line of history.jsonl; None where it is none."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    step = row.get("step") if isinstance(row, dict) and "\ufffd" not in line else None
    return step if isinstance(step, int | float) else None
