"""What a matrix would take, before anything runs: the command `mtlbench run --dry-run`.

Nothing is written but the counts of networks, into the cache of this machine.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch

from mtlbench import methods
from mtlbench.harness.data.copy import copy_of, trained_on
from mtlbench.harness.data.unlabelled import unlabelled
from mtlbench.harness.driver import preflight
from mtlbench.harness.driver.bars import duration
from mtlbench.harness.driver.standing import recorded
from mtlbench.harness.driver.work import require, select, survey, title
from mtlbench.harness.inspect import columns
from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.matrix.entries import Matrix, Resources, make_benchmark
from mtlbench.harness.matrix.expand import Planned, waiting
from mtlbench.harness.matrix.length import length
from mtlbench.harness.store import source
from mtlbench.harness.store.kept import remembered
from mtlbench.harness.store.provenance import names_from_outside
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.cost import count_step, network_cost
from mtlbench.harness.training.network import chosen_tasks
from mtlbench.methods.outside import is_outside, mistakes_of
from mtlbench.results.records.record import Record


class Pace(NamedTuple):
    """The speed of training steps that is assumed where no record tells it."""

    launch: float  # seconds an operator
    flops: float  # a second, of a GPU or of a CPU core
    note: str


# Fitted to steps with random data: of six methods with 2 and 3 tasks at 480 x 640, batch 8; and on a core also of four
# methods from 64 x 96 to 480 x 640, batch 4 and 8, by the processor time that they took.
GPU = Pace(50e-6, 150e12, "an H100 took 0.6 to 1.6 times as long in float32")
CORE = Pace(
    55e-6, 90e9, "a Xeon core with AVX-512 took 0.6 to 1.6 times as long, and takes longer where it does other work too"
)

OPTIONAL = ("MACs", "parameters", "cells")  # columns that give way on a narrow terminal, in this order


class _Counted(NamedTuple):
    parameters: float
    macs: float
    step_bytes: float
    operators: int


class Line(NamedTuple):
    """A cell, and what is known of its cost."""

    item: Planned
    state: str
    parameters: float
    macs: float  # of one image
    step_bytes: float  # of a process
    steps: int
    step_seconds: float
    records: list[Record]  # the seconds are their median; [] where they are estimated from counts

    @property
    def seconds(self) -> float:
        return self.steps * self.step_seconds


class Forecast(NamedTuple):
    lines: list[Line]
    waiting: list[str]  # a line for cells that are planned once a search or a tuning is done, and for corrupt records
    missing: list[str]  # what is missing on this machine, each with the way out
    slots: int | None  # how many cells run at once on this machine; None where they run on a cluster


class Told(NamedTuple):
    """What is said of a cell as soon as it is known."""

    state: str
    title: str
    columns: int  # of the longest title
    steps: int
    seconds: float

    def text(self, width: int | None = None) -> str:
        """On one line, or where a terminal of `width` has no room for its title, on several."""
        numbers = [f"{self.steps:>9,} steps", f"{duration(self.seconds):>10}"]
        before = f"{self.state:8} "
        room = self.columns
        if width is not None:
            room = max(20, min(room, width - len(before) - sum(2 + len(each) for each in numbers)))
        first, *more = columns.beside(self.title, room, numbers)
        return "\n".join([before + first, *(" " * len(before) + line for line in more)])


def _quietly(told: Told) -> None:
    pass


def forecast(
    matrix: Matrix,
    store: Store,
    data: Sequence[str],
    only: Sequence[str] = (),
    address: str | None = None,
    tell: Callable[[Told], None] = _quietly,
) -> Forecast:
    """Every chosen cell once, and everything that is known to be missing.

    data: NAME=PATH. address: of a Ray cluster; its resources are not looked at. tell: is told of each cell as soon as
    it is known. Raises ValueError for a word of `only` that fits no cell.
    """
    unreadable: dict[str, str] = {}
    planned, records = survey(matrix, recorded(store, unreadable))
    require(planned, only)
    chosen = select(planned, only)
    items = {item.cell.id: item for item in chosen}
    cells = [item.cell for item in items.values()]
    folders, missing = preflight.missing(matrix, cells, data, alone=address is None)
    done: dict[str, list[Record]] = {}
    for record in recorded(store, unreadable)(store.cells()).values():
        done.setdefault(_network(record.cell), []).append(record)
    counted: dict[str, _Counted] = {}
    lines = []
    width = max(len(title(item)) for item in items.values())
    for item in items.values():
        key = _network(item.cell.model_dump(mode="json"))
        if key not in counted:
            counted[key] = _known_count(key, item.cell, matrix.resources.workers)
        state = "corrupt" if item.cell.id in unreadable else store.state(item.cell.id)
        steps = _steps(item.cell, folders, store)
        line = _line(item, state, steps, counted[key], done.get(key, []), matrix.resources)
        tell(Told(state, title(item), width, steps, line.seconds))
        lines.append(line)
    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    slots = preflight.slots(matrix.resources, here) if address is None else None
    missing = [*filter(None, [store.refusal()]), *missing]
    return Forecast(lines, [*waiting(chosen, records), *unreadable.values()], missing, slots)


def _rows(lines: Sequence[Line]) -> list[list[str]]:
    """The networks of each row of the tables, with the sum of what their cells take."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        label = ", ".join(filter(None, [line.item.entry.label, line.item.control]))
        groups.setdefault(f"{label} · {'+'.join(line.item.cell.tasks)}", []).append(line)
    return [
        [
            name,
            f"{len(each)}",
            f"{sum(line.state != 'finished' for line in each)}",
            f"{max(line.parameters for line in each) / 1e6:,.2f} M",
            f"{max(line.macs for line in each) / 1e9:,.1f} G",
            f"{max(line.step_bytes for line in each) / 2**30:.1f} GiB",
            duration(sum(line.seconds for line in each if line.state != "finished")),
        ]
        for name, each in groups.items()
    ]


def _end(left: Sequence[Line], slots: int | None, now: datetime) -> str:
    """When the cells that are left would be done, if they began now."""
    together = sum(line.seconds for line in left)
    if not left:
        return ""
    if slots is None or slots == 1:
        ends, how = together, "one cell after another"
    else:
        ends, how = max(together / slots, *(line.seconds for line in left)), f"{slots} cells at once, as here"
    return f"Begun now, the steps would end on {now + timedelta(seconds=ends):%a %d %b %Y at %H:%M}: {how}."


def show(found: Forecast, resources: Resources, now: datetime | None = None, width: int | None = None) -> str:
    """The rows as a table, the sum of their cells with the date that they would end, and what the times are based on.

    now: default: the clock's. width: of the terminal, for the table alone; None: as wide as need be.
    """
    titles = ["row", "cells", "to run", "parameters", "MACs", "memory", "time"]
    left = [line for line in found.lines if line.state != "finished"]
    counted = [line for line in left if not line.records]
    text = [columns.table([titles, *_rows(found.lines)], width, OPTIONAL), *found.waiting, ""]
    total = sum(line.seconds for line in left)
    text.append(
        f"{len(found.lines)} cells, {len(left)} to run: {duration(total)} of training steps, one cell after another. "
        "Reading images, evaluation and start-up come on top. Training leaves out images without a label of any of its "
        "tasks; they are counted here until a run has found them."
    )
    text += filter(None, [_end(left, found.slots, now or datetime.now().astimezone())])
    if len(counted) < len(left):
        measured = {line.item.cell.id: line.records for line in left if line.records}
        devices = sorted({str(record.provenance.get("device")) for each in measured.values() for record in each})
        text.append(f"Times of {len(measured)} cells: median of records of the same network on {', '.join(devices)}.")
    if counted:
        pace = GPU if resources.gpus else CORE
        text.append(
            f"Times of {len(counted)} cells: an estimate from counted operations, no measurement. It assumes "
            f"{1e6 * pace.launch:.0f} microseconds an operator and {pace.flops / 1e12:g} TFLOP/s; {pace.note}."
        )
    return "\n".join(text)


def _line(
    item: Planned,
    state: str,
    steps: int,
    counted: _Counted,
    records: list[Record],
    resources: Resources,
) -> Line:
    measured = [float(record.cost["seconds_per_step"]) for record in records]
    return Line(
        item=item,
        state=state,
        parameters=counted.parameters,
        macs=counted.macs,
        step_bytes=counted.step_bytes,
        steps=steps,
        step_seconds=statistics.median(measured) if measured else _estimate(item.cell, counted, resources),
        records=records,
    )


def _estimate(cell: Cell, counted: _Counted, resources: Resources) -> float:
    """Seconds of a step from counted operations; the processes of a cell share its batch."""
    pace, parts = (GPU, 1) if resources.gpus else (CORE, resources.cpus)
    flops = 2 * 3 * counted.macs * cell.train.batch / resources.workers  # backward is twice forward
    return cell.train.accumulate * counted.operators * pace.launch + flops / (pace.flops * parts)


def _known_count(key: str, cell: Cell, workers: int) -> _Counted:
    """What a network costs, from the cache where the same code has counted it before: a count takes seconds.

    key: what the count depends on beside the code. What comes from outside of the package is counted each time.
    """
    if names_from_outside(cell.model_dump(mode="json")):
        checked = [name for name in (cell.method, cell.benchmark.name) if is_outside(name)]
        with mistakes_of(checked, f"counting a training step on {'+'.join(cell.tasks)}"):
            return _count(cell, workers)
    versions = {library.__name__: library.__version__ for library in (torch, timm)}
    question = sha256(json.dumps([key, workers, versions]).encode()).hexdigest()[:16]
    text = remembered(f"cost {question}", source.state(), lambda: json.dumps(_count(cell, workers)))
    return _Counted(*json.loads(text))


def _count(cell: Cell, workers: int) -> _Counted:
    benchmark = make_benchmark(cell.benchmark)
    tasks = chosen_tasks(benchmark, cell)
    network = preflight.on_meta_of(cell)
    cost = network_cost(network, benchmark.size)
    images = cell.train.batch // workers
    if methods.resolve(cell.method).needs_two_images(cell.options):
        images = max(images, 2 * cell.train.accumulate)  # what is missing says that one image is too few
    share = cell.train.model_copy(update={"batch": images})
    step = count_step(network, tasks, benchmark.size, share)
    return _Counted(cost["parameters"], cost["macs"], step.peak_bytes, step.operators)


def _steps(cell: Cell, folders: Mapping[str, Path], store: Store) -> int:
    """The steps of a cell by the images on disk, or by the data set's known number where these cannot be used.

    Images without a label are not counted where the store knows them.
    """

    def of(images: int, left_out: Collection[int] = ()) -> int:
        return length(cell, trained_on(images, cell.train.holdout, left_out)).steps

    benchmark, name = make_benchmark(cell.benchmark), cell.benchmark.name
    known = benchmark.splits["train"]
    if name in folders:
        with suppress(OSError, ValueError):  # these are among what is missing
            copy = copy_of(cell.benchmark, folders[name])
            left_out = unlabelled(store, copy, cell, read=False)
            if benchmark.needs_root:
                return of(len(benchmark.open(copy.root, "train", cell.tasks)), left_out)
            if known is not None:
                return of(known, left_out)  # to open the split could make the data
    if known is None:
        raise ValueError(f"how many training images {name} has is not known before it is read: give --data {name}=PATH")
    return of(known)


def _network(cell: Mapping[str, Any]) -> str:
    """The parts of a cell on which the cost of a step depends, as a text. cell: as JSON."""
    recipe = {key: cell["train"][key] for key in ("optimizer", "batch", "accumulate", "precision")}
    benchmark = {key: cell["benchmark"][key] for key in ("name", "size")}
    backbone = [cell["backbone"]["name"], cell["backbone"].get("output_stride", 32)]
    parts = [cell["method"], cell["options"], cell["tasks"], benchmark, backbone, recipe]
    return json.dumps(parts, sort_keys=True)
