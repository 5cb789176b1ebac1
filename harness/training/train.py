"""A cell is trained and scored, from top to bottom of `train`."""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness import seeds
from mtlbench.harness.data import learning, loading
from mtlbench.harness.data.copy import Copy, Splits, copy_of
from mtlbench.harness.data.places import prepared_in
from mtlbench.harness.data.unlabelled import unlabelled
from mtlbench.harness.data.view import view_of
from mtlbench.harness.matrix import weights
from mtlbench.harness.matrix.cell import Cell, TrainConfig
from mtlbench.harness.matrix.length import Length, length
from mtlbench.harness.scoring import expensive, per_image
from mtlbench.harness.store import provenance
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import batch_norm, checkpoint, optimizers
from mtlbench.harness.training.checkpoint import WHOLE, Parts
from mtlbench.harness.training.cost import network_cost
from mtlbench.harness.training.environment import Environment, forget_launchers, telling
from mtlbench.harness.training.history import History, Usage
from mtlbench.harness.training.judge import Judge, Judgement, samples
from mtlbench.harness.training.network import build, chosen_tasks, load_starts, of_method
from mtlbench.harness.training.objective import FINAL, task_losses, terms, weighted_sum
from mtlbench.harness.training.progress import Diverged, Progress, Scoring, still
from mtlbench.methods.method import Method
from mtlbench.results.records import files
from mtlbench.results.records.record import Record

INTERVAL = 50  # steps between two looks at the loss; each is a host synchronisation


def train(
    cell: Cell,
    environment: Environment,
    report: Callable[[Progress | Scoring], None] = lambda progress: None,
    pulse: Callable[[], None] = still,
    parts: Parts = WHOLE,
) -> Record:
    """Train and score one cell, from its last checkpoint if it has one; the record is in the store at the end.

    pulse: is called when all is ready and after each batch. parts: batches are divided, as memory is too small.

    Where a task's metric is expensive, the record lacks its scores and waits in the store for `expensive.finish`, so
    that no GPU is held while they are computed.

    Raises Diverged for a loss or a prediction that is not finite, ContractBroken for outputs that do not fit, and
    ValueError or OSError naming the file for data that cannot be read. Runs in one process, or as one of a group that
    has been joined already.
    """
    recipe = cell.train.model_copy(update={"accumulate": cell.train.accumulate * parts.training})
    accelerator = join(recipe, environment)
    device, main, rank = accelerator.device, accelerator.is_main_process, accelerator.process_index
    store, resources = Store(environment.store), environment.resources
    copy = copy_of(cell.benchmark, environment.roots[cell.benchmark.name], prepared_in(environment.cache))
    benchmark, view = copy.benchmark, view_of(cell.benchmark, copy.benchmark)
    with accelerator.main_process_first():  # it puts into the store what all processes read
        learnt = learning.learn(store, copy, cell.tasks, cell.train.holdout)
        left_out = unlabelled(store, copy, cell)
    tasks = chosen_tasks(benchmark, cell, learnt)
    splits = copy.splits(cell, left_out)
    extent = length(cell, len(splits.train))

    network = build(cell, tasks, environment.weights)
    initial = load_starts(network, cell, store)
    cost = network_cost(network, benchmark.size)
    if (processes := accelerator.num_processes) > 1:
        network = batch_norm.synchronise(network, device)
    network = network.to(device).to(memory_format=torch.channels_last)
    own = optimizers.make(network, cell.train)
    model, *wrapped = accelerator.prepare(network, *own)
    code = provenance.code_hash(cell.model_dump(mode="json"))
    done, warnings = checkpoint.restore(store, cell.id, network, own, device, code)
    history = History(store, cell.id, done.step, writes=main)
    usage = Usage(store, cell.id, done.step, device, writes=main)
    told = [*warnings, *history.warnings, *usage.events.warnings]
    _say_where(done, extent, report, told if main else [])
    judge = Judge(cell, benchmark, environment, accelerator, pulse, parts.scoring, report)

    dataset = loading.Training(splits.train, tasks, view, cell.seed)
    epochs = range(done.epoch, extent.epochs)
    pulse()  # all is ready
    keys = loading.micro_batches(recipe, cell.seed, len(splits.train), epochs, rank, processes)
    batches = iter(loading.training_batches(dataset, keys, loaders=resources.loaders, pin=device.type == "cuda"))
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    step, spent = done.step, done.seconds
    for epoch in epochs:
        model.train()
        seeds.seed_torch(cell.seed, "layers", epoch, rank)
        started, first = usage.start(), step
        losses, unseen = Losses(accelerator, tasks), 0
        for _ in range(min(extent.steps_per_epoch, extent.steps - step)):
            progress = step / extent.steps
            network.at(progress)
            by_epoch = epoch / extent.epochs
            rate = optimizers.set_learning_rates(own, cell.train, by_epoch if cell.train.per == "epoch" else progress)
            add_gradients(accelerator, model, batches, tasks, recipe.accumulate, losses)
            optimizers.clip(parameters, cell.train.clip)
            for optimizer in wrapped:
                optimizer.step()
                optimizer.zero_grad()
            step, unseen = step + 1, unseen + 1
            pulse()
            if unseen == INTERVAL or step - first == extent.steps_per_epoch or step == extent.steps:
                loss, by_task = losses.means(unseen)  # waits for the device
                unseen, now = 0, spent + time.perf_counter() - started
                if not math.isfinite(loss):
                    raise Diverged(f"the loss is {loss} at step {step} of {extent.steps} (epoch {epoch + 1})", now)
                history.add(step, epoch + 1, {"train/loss": loss, "train/lr": rate, **by_task})
                report(Progress(epoch + 1, extent.epochs, step, extent.steps, loss, now))
        spent += time.perf_counter() - started
        usage.add(step, epoch + 1, (step - first) * recipe.batch)
        if splits.val is not None and resources.validate_every and (epoch + 1) % resources.validate_every == 0:
            history.add(step, epoch + 1, judge.validate(network, splits.val, tasks, spent))
        if main and ((epoch + 1) % resources.checkpoint_every == 0 or epoch + 1 == extent.epochs):
            checkpoint.save(store, cell.id, network, own, checkpoint.Position(epoch + 1, step, spent), code)

    split, images = ("val", splits.val) if cell.trial else ("test", splits.test)
    assert images is not None  # `Copy.splits` refuses a trial without a val split
    if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
        raise Diverged("a weight is not finite at the end of training", spent)
    judgement = judge.score(network, split, images, tasks, spent)
    record = Record(
        id=cell.id,
        cell=cell.model_dump(mode="json"),
        scores=judgement.scores,
        cost={
            **cost,
            "steps": float(step),
            "seconds_per_step": spent / step,
            "train_seconds": spent,
            "peak_memory_bytes": peak_memory(device),
        },
        provenance=provenance.describe(
            device,
            **of_method(cell),
            processes=processes,
            parts=parts.training if parts.training > 1 else None,
            scoring_parts=parts.scoring if parts.scoring > 1 else None,
            threads=torch.get_num_threads(),
            variables=telling() or None,
            **_origin(cell, environment, initial),
            data=_data(copy, splits, len(images), expensive.counts(store, cell.id, judgement.rows, tasks), learnt),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        findings=network.findings(),
        derived_from=(*cell.derived_from, *dict.fromkeys(cell.starts.values())),
    )
    if main:
        publish(store, record, network, judgement, tasks, samples(network, images, tasks, view))
    accelerator.wait_for_everyone()
    return record


def _say_where(
    done: checkpoint.Position, extent: Length, report: Callable[[Progress], None], warnings: Sequence[str]
) -> None:
    """Print the warnings of what is resumed, and report where training goes on if it does not begin anew."""
    for warning in warnings:
        print(warning, flush=True)
    if done.step:
        report(Progress(done.epoch, extent.epochs, done.step, extent.steps, None, done.seconds))


def _origin(cell: Cell, environment: Environment, initial: Mapping[str, Any]) -> dict[str, Any]:
    """For a record: where the weights came from that the training began with. initial: those of other cells."""
    return {"initial_weights": initial} if initial else {"weights": weights.origin(cell.backbone, environment.weights)}


def _data(
    copy: Copy, splits: Splits, images: int, rows: Mapping[str, int], learnt: learning.Findings
) -> dict[str, Any]:
    """For a record: the copy of the data, how many of its images were used, and what was learnt from their labels."""
    return {
        **copy.identity,
        "images": [len(splits.train), images],
        "unlabelled": splits.unlabelled,
        "rows": rows,
        **({"learnt": learning.digest(learnt)} if learnt else {}),
    }


def join(recipe: TrainConfig, environment: Environment) -> Accelerator:
    """This process's part in the group that trains a cell. Raises ValueError where a batch cannot be shared evenly."""
    # A shell's variables decide neither how a cell is trained nor with whom.
    forget_launchers(grouped=torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=True)  # else the process would keep those of an earlier cell
    # Otherwise a group sorts the gradients anew after its first step. Where a gradient lies in the message decides in
    # which order three or more processes add it, and so a resumed training would end with other last digits.
    in_one_order = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(
        mixed_precision={"fp32": "no", "bf16": "bf16"}[recipe.precision],
        cpu=environment.device == "cpu",
        kwargs_handlers=[in_one_order],
    )
    processes, parts = accelerator.num_processes, recipe.accumulate
    if recipe.batch % (processes * parts):
        raise ValueError(
            f"train.batch {recipe.batch} is not a multiple of workers x accumulate ({processes} x {parts})"
        )
    return accelerator


class Losses:
    """The sums of the losses since they were last looked at. They stay on the device."""

    def __init__(self, accelerator: Accelerator, tasks: Mapping[str, Task]) -> None:
        self.accelerator = accelerator
        self.names = [f"train/{which}/{name}" for which in ("loss", "final") for name in tasks]
        self.sums = torch.zeros(1 + len(self.names), device=accelerator.device)

    def add(self, shares: Tensor) -> None:
        """Add the result of `backpropagate`."""
        self.sums += shares

    def means(self, steps: int) -> tuple[float, dict[str, float]]:
        """The mean loss over the `steps` since the last look, and each task's means by their names in the history.

        A task has train/loss/TASK, of all its outputs, and train/final/TASK, of its final prediction. Only the second
        can be compared between methods. The host waits for the device here.
        """
        mean, *by_task = (self.accelerator.reduce(self.sums, "sum") / steps).tolist()
        self.sums.zero_()
        return mean, dict(zip(self.names, by_task, strict=True))


def add_gradients(
    accelerator: Accelerator,
    model: torch.nn.Module,
    batches: Iterator[loading.Batch],
    tasks: Mapping[str, Task],
    accumulate: int,
    losses: Losses,
) -> None:
    """Add the gradients of the micro-batches of a step, and their losses."""
    device = accelerator.device
    for micro in range(accumulate):
        batch = next(batches)
        image = loading.normalise(batch.image.to(device, non_blocking=True))
        labels = {name: label.to(device, non_blocking=True) for name, label in batch.labels.items()}
        last = micro == accumulate - 1
        with nullcontext() if last else accelerator.no_sync(model):
            losses.add(backpropagate(accelerator, model, image, labels, tasks, accumulate))


def backpropagate(
    accelerator: Accelerator,
    model: torch.nn.Module,
    image: Tensor,
    labels: Mapping[str, Tensor],
    tasks: Mapping[str, Task],
    accumulate: int = 1,
) -> Tensor:
    """Add the gradients of a micro-batch, one of `accumulate`. Other processes may hold other images of it.

    image: normalised [B, 3, H, W]. Returns this process's share of the loss, of each task's, and of each task's final
    prediction, [1 + 2 tasks]: shares add up over processes and micro-batches. The method's penalty is minimised too,
    but it is not part of the result.
    """
    processes = accelerator.num_processes

    def total(counts: Tensor) -> Tensor:
        return accelerator.reduce(counts, "sum") if processes > 1 else counts

    outputs = model(image.contiguous(memory_format=torch.channels_last))
    found = terms(outputs, labels, tasks, total)
    scalar = weighted_sum(found, tasks)
    # Gradients are averaged over processes, and `scalar` is this process's share of a sum.
    minimised = scalar * processes + (0 if outputs.penalty is None else outputs.penalty)
    accelerator.backward(minimised / accumulate)
    final = task_losses(term for term in found if term.output == FINAL)
    return torch.stack([scalar, *task_losses(found).values(), *final.values()]).detach() / accumulate


def peak_memory(device: torch.device) -> float:
    """Peak memory in bytes: of the GPU's allocator; on a CPU of the process's resident set, libraries included."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    kilobyte = 1 if os.uname().sysname == "Darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte)


def publish(
    store: Store, record: Record, network: Method, judgement: Judgement, tasks: Mapping[str, Task], predictions: bytes
) -> None:
    """Write everything that a trained cell leaves, the record last, and remove the cell's checkpoints."""
    store.put(files.weights(record.id), checkpoint.model_bytes(network))
    store.put(files.per_image(record.id), per_image.encode(judgement.rows, tasks, judgement.conditions))
    store.put(files.samples(record.id), predictions)
    if any(expensive.is_expensive(task) for task in tasks.values()):
        store.put_trained(record)
    else:
        store.put_record(record)
    store.remove(files.checkpoints(record.id))
