"""A matrix becomes cells: methods x benchmarks x task sets x seeds, and what their records lead to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.matrix import weights
from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Cell
from mtlbench.harness.matrix.entries import BenchmarkEntry, Matrix, MethodEntry, make_benchmark, merge_train
from mtlbench.harness.matrix.starts import row_before, supports, without_defaults
from mtlbench.harness.matrix.tuning import Tuning, trials, tuned
from mtlbench.methods import one_task, resolve
from mtlbench.results.records.record import Control, ControlTable, Entry, Expected, Manifest, Record
from mtlbench.results.summary.tuning import unjudged

Choice: TypeAlias = tuple[tuple[str, ...], ...]  # by number, the ids of the trials that are judged as one


class Trial(NamedTuple):
    """A trial's place in a search."""

    number: int  # from 0
    choice: Choice  # has an id for each of the cells that choose together


class Planned(NamedTuple):
    """A cell with the place in the table that needs it. Several places may need the same single-task cell."""

    cell: Cell
    entry: Entry
    trial: Trial | None = None  # where the cell is one of the row's tuning
    control: str = ""  # the name of the control that it belongs to; "" for a cell of a table


NO_RECORDS: Mapping[str, Record] = {}


def expand(matrix: Matrix, records: Mapping[str, Record] = NO_RECORDS) -> list[Planned]:
    """Every cell of the matrix, with the row and task set that asks for it: its tables, then its controls.

    A cell of a control that a table has too is a cell of the table. Such a trial is there twice, because the control
    makes a choice of its own from it.
    """
    planned = tables(matrix, records)
    own = {item.cell.id for item in planned}
    for _, name, changed in of_controls(matrix):
        for item in tables(changed, records):
            if item.cell.id not in own:
                planned.append(item._replace(control=name))
            elif item.trial is not None:
                planned.append(item)
    return planned


def of_controls(matrix: Matrix) -> list[tuple[Expected, str, Matrix]]:
    """The tables of the controls: what the control expects, the name of the table, and the matrix that it is."""
    if matrix.controls is None:
        return []
    controls, (entry,), baseline = matrix.controls, matrix.benchmarks, baseline_of(matrix)
    named = {method.row: method for method in matrix.methods}
    alone = matrix.model_copy(update={"methods": [named[controls.row]], "controls": None})
    beside = alone.model_copy(update={"methods": [named[baseline], named[controls.row]]})

    def on(one: Matrix, **changes: Any) -> Matrix:
        return one.model_copy(update={"benchmarks": [BenchmarkEntry.model_validate({**entry.model_dump(), **changes})]})

    found: list[tuple[Expected, str, Matrix]] = []
    if controls.other_seeds:
        found.append(("same", "other seeds", alone.model_copy(update={"seeds": controls.other_seeds})))
    if controls.more_images:
        found.append(("better", "more images", on(alone, options={**entry.options, **controls.more_images})))
    for related in controls.relatedness:
        changed = on(beside, tasks=[related.tasks], options={**entry.options, **related.options})
        found.append(("falls", related.name, changed))
    return found


def baseline_of(matrix: Matrix) -> str:
    """The label of the row that Eq. (6) divides by; "" where there is none."""
    rows = [method.row for method in matrix.methods]
    single = next((method.row for method in matrix.methods if one_task(method.name)), "")
    return matrix.baseline if matrix.baseline in rows else single


def tables(matrix: Matrix, records: Mapping[str, Record] = NO_RECORDS) -> list[Planned]:
    """Every cell of the matrix's tables, in their order, with the row and task set that asks for it.

    Some cells are preliminary, such as a search or the trials of a tuning. Once the record of a preliminary cell is
    among `records`, the cell that the record leads to follows and belongs to the row. Until then the preliminary cell
    holds its place.
    """
    planned, backbone = [], weights.by_content(matrix.backbone)
    for benchmark in matrix.benchmarks:
        config = BenchmarkConfig.model_validate(benchmark.model_dump(exclude={"tasks"}))
        known = make_benchmark(config).tasks
        for task_set in benchmark.task_sets:
            table = _Table(matrix, config, backbone, {task: known[task] for task in task_set})
            for method in matrix.methods:
                if not supports(matrix, method, len(task_set)):
                    continue  # the matrix says so: `skip_unsupported`
                for seed in matrix.seeds:
                    cells = _cells(table, method, seed)
                    for each, preliminary, trial in _with_trials(cells, matrix.tune, records):
                        starts = tuple(dict.fromkeys(each.starts.values()))
                        entry = Entry(
                            each.id, method.row, method.name, each.tasks, task_set, benchmark.name, seed, preliminary,
                            starts,
                        )  # fmt: skip
                        planned.append(Planned(each, entry, trial))
    return planned


class _Table(NamedTuple):
    """What the cells of a table have in common."""

    matrix: Matrix
    benchmark: BenchmarkConfig
    backbone: BackboneConfig
    tasks: Mapping[str, Task]


def _cells(table: _Table, method: MethodEntry, seed: int) -> list[Cell]:
    """The cells of a row at one seed: one for all tasks, or one for each."""
    matrix, before = table.matrix, row_before(table.matrix, method)
    parents = {} if before is None else {task: c.id for c in _cells(table, before, seed) for task in c.tasks}
    train = merge_train(matrix.train.model_dump(exclude_unset=True), method.train)
    trained = [(task,) for task in table.tasks] if one_task(method.name) else [tuple(table.tasks)]
    return [
        Cell(
            method=method.name,
            options=without_defaults(method.name, method.options),
            tasks=tasks,
            benchmark=table.benchmark,
            backbone=table.backbone,
            train=train.on(table.benchmark.name, {task: table.tasks[task] for task in tasks}, method.train),
            seed=seed,
            starts={task: parents[task] for task in tasks if task in parents},
        )
        for tasks in trained
    ]


def _with_trials(
    cells: Sequence[Cell], tune: Tuning | None, records: Mapping[str, Record]
) -> Iterator[tuple[Cell, bool, Trial | None]]:
    """The trials of cells that are to be tuned and, once all have records, the cells with the best hyperparameters.

    cells: of one row at one seed. Each comes with whether it is preliminary, and with its place in the search.
    """
    if tune is None:
        yield from ((each, preliminary, None) for cell in cells for each, preliminary in _with_followers(cell, records))
        return
    for group in tune.together(cells):
        tried = [trials(cell, tune) for cell in group]
        choice = tuple(tuple(trial.id for trial in same) for same in zip(*tried, strict=True))
        best = tuned(group, tune, records)
        for place, of_cell in enumerate(tried):
            yield from ((trial, True, Trial(number, choice)) for number, trial in enumerate(of_cell))
            if best is not None:
                yield from ((each, early, None) for each, early in _with_followers(best[place], records))


def _with_followers(cell: Cell, records: Mapping[str, Record]) -> Iterator[tuple[Cell, bool]]:
    """A cell and the cells that its record leads to, each with whether it is preliminary.

    A cell that follows has the recipe and the seed of the cell before it, and other options.
    """
    method = resolve(cell.method)
    while method.preliminary(cell.options):
        yield cell, True
        if cell.id not in records:
            return
        options = method.follow_up(cell.options, records[cell.id].findings)
        options = without_defaults(cell.method, options)
        cell = cell.model_copy(update={"options": options, "derived_from": (cell.id,)})
    yield cell, False


def plan(matrix: Matrix, records: Mapping[str, Record]) -> tuple[list[Cell], list[str]]:
    """The cells to run now, each once, and a line for all that waits for a record or will never be trained.

    Call it after each record.
    """
    found = expand(matrix, records)
    cells = {item.cell.id: item.cell for item in found}
    unfinished = [
        cell
        for cell_id, cell in cells.items()
        if cell_id not in records and all(before in records for before in cell.starts.values())
    ]
    return unfinished, waiting(found, records) + undecided(found, records)


def undecided(planned: Sequence[Planned], records: Mapping[str, Record]) -> list[str]:
    """A line for everything that will never be trained, because all of its trials are done and none is the best."""
    lines = []
    choices = _choices(planned)
    places = Counter(f"{_place(items)} of {items[0].entry.benchmark}" for _, items in choices)
    for choice, items in choices:
        numbered = [[records[trial] for trial in same] for same in choice if all(trial in records for trial in same)]
        if len(numbered) == len(choice) and (why := unjudged(numbered)):
            of = items[0].entry
            place = f"{_place(items)} of {of.benchmark}"
            if places[place] > 1:  # each seed has a search of its own
                place += f", seed {of.seed}"
            lines.append(f"{place}: {why}, so nothing can be chosen; change tune.space, tune.holdout or train")
    return list(dict.fromkeys(lines))


def waiting(planned: Sequence[Planned], records: Mapping[str, Record]) -> list[str]:
    """A line for every cell that is planned, or can start, once all cells before it have their records."""
    lines = []
    for item in planned:
        if item.trial is None and item.entry.preliminary and item.cell.id not in records:
            lines.append(f"{_place([item])}, seed {item.cell.seed}: will train with what {item.cell.id} finds")
        before = item.entry.starts
        done = sum(cell_id in records for cell_id in before)
        if done < len(before) and item.cell.id not in records:
            cells = "cell" if len(before) == 1 else "cells"
            lines.append(f"{_place([item])}, seed {item.cell.seed}: starts from {len(before)} {cells}, {done} trained")
    for choice, items in _choices(planned):
        if not all(trial in records for same in choice for trial in same):
            lines.append(f"{_place(items)}: will train with the best of its trials")
    return list(dict.fromkeys(lines))


def _choices(planned: Iterable[Planned]) -> list[tuple[Choice, list[Planned]]]:
    """Every choice of a row, with the planned trials from which it is made, of all seeds and tables that share it."""
    found: dict[tuple[str, Choice], list[Planned]] = {}
    for item in planned:
        if item.trial is not None:
            found.setdefault((item.entry.label, item.trial.choice), []).append(item)
    return [(choice, items) for (_, choice), items in found.items()]


def _place(items: Sequence[Planned]) -> str:
    """The row, and the tasks of the networks that are to be trained with one choice."""
    tasks = dict.fromkeys(task for item in items for task in item.cell.tasks)
    controls = dict.fromkeys(item.control for item in items if item.control)
    return ", ".join([items[0].entry.label, *controls, "+".join(tasks)])


def manifest(matrix: Matrix, constants: Mapping[str, str], records: Mapping[str, Record] = NO_RECORDS) -> Manifest:
    """What `results` needs to know of the matrix."""
    controls: dict[Expected, list[ControlTable]] = {}
    for expected, name, changed in of_controls(matrix):
        entries = tuple(planned.entry for planned in tables(changed, records))
        controls.setdefault(expected, []).append(ControlTable(name, entries))
    repeated, judged = (matrix.controls.row, tuple(matrix.controls.judged_on)) if matrix.controls else ("", ())
    return Manifest(
        name=matrix.name,
        title=matrix.title or matrix.name,
        caption=" ".join(filter(None, [matrix.caption, _of_tuning(matrix)])),
        baseline=baseline_of(matrix),
        demonstration=matrix.demonstration,
        margin=matrix.margin,
        entries=tuple(planned.entry for planned in tables(matrix, records)),
        constants=dict(constants),
        controls=tuple(
            Control(expected, repeated, tuple(found), judged if expected == "falls" else ())
            for expected, found in controls.items()
        ),
    )


def _of_tuning(matrix: Matrix) -> str:
    if matrix.tune is None:
        return ""
    several = any(len(task_set) > 1 for benchmark in matrix.benchmarks for task_set in benchmark.task_sets)
    alone = any(one_task(method.name) for method in matrix.methods)
    return matrix.tune.sentences(several_networks=several and alone, several_seeds=len(matrix.seeds) > 1)
