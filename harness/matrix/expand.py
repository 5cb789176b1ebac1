"""A matrix becomes cells: methods x benchmarks x task sets x seeds, and what their records lead to."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from mtlbench.harness.matrix import weights
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell
from mtlbench.harness.matrix.entries import BenchmarkEntry, Matrix, make_benchmark, merge_train
from mtlbench.harness.matrix.tuning import Tuning, trials, tuned
from mtlbench.methods import resolve
from mtlbench.results.records.record import Control, ControlTable, Entry, Manifest, Record
from mtlbench.results.summary.tuning import unjudged

Expected = Literal["same", "better", "falls"]  # what a control expects, as in `Control`


class Planned(NamedTuple):
    """A cell with the place in the table that needs it. Several places may need the same single-task cell."""

    cell: Cell
    entry: Entry
    trial: int | None = None  # its number, from 0, among those of the row's tuning
    control: str = ""  # the name of the control that it belongs to; "" for a cell of a table


NO_RECORDS: Mapping[str, Record] = {}


def expand(matrix: Matrix, records: Mapping[str, Record] = NO_RECORDS) -> list[Planned]:
    """Every cell of the matrix, with the row and task set that asks for it: its tables, then its controls.

    A cell of a control that a table has too is a cell of the table.
    """
    planned = tables(matrix, records)
    own = {item.cell.id for item in planned}
    for _, name, changed in of_controls(matrix):
        planned += [item._replace(control=name) for item in tables(changed, records) if item.cell.id not in own]
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
    single = next((method.row for method in matrix.methods if resolve(method.name).one_task), "")
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
            for method in matrix.methods:
                train = merge_train(matrix.train.model_dump(exclude_unset=True), method.train)
                trained = [(task,) for task in task_set] if resolve(method.name).one_task else [task_set]
                for seed in matrix.seeds:
                    for tasks in trained:
                        cell = Cell(
                            method=method.name,
                            options=_without_defaults(method.name, method.options),
                            tasks=tasks,
                            benchmark=config,
                            backbone=backbone,
                            train=train.on(benchmark.name, {task: known[task] for task in tasks}, method.train),
                            seed=seed,
                        )
                        for each, preliminary, trial in _with_trials(cell, matrix.tune, records):
                            entry = Entry(
                                each.id, method.row, method.name, tasks, task_set, benchmark.name, seed, preliminary
                            )
                            planned.append(Planned(each, entry, trial))
    return planned


def _without_defaults(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from their defaults: naming a default gives the same cell as naming nothing."""
    parameters = inspect.signature(resolve(method).__init__).parameters
    return {name: value for name, value in sorted(options.items()) if parameters[name].default != value}


def _with_trials(
    cell: Cell, tune: Tuning | None, records: Mapping[str, Record]
) -> Iterator[tuple[Cell, bool, int | None]]:
    """The trials of a cell that is to be tuned and, once all have records, the cell with the best hyperparameters.

    Each comes with whether it is preliminary, and with the number of the trial.
    """
    if tune is not None:
        yield from ((trial, True, number) for number, trial in enumerate(trials(cell, tune)))
        best = tuned(cell, tune, records)
        if best is None:
            return
        cell = best
    yield from ((each, preliminary, None) for each, preliminary in _with_followers(cell, records))


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
        options = _without_defaults(cell.method, options)
        cell = cell.model_copy(update={"options": options, "derived_from": (cell.id,)})
    yield cell, False


def plan(matrix: Matrix, records: Mapping[str, Record]) -> tuple[list[Cell], list[str]]:
    """The cells to run now, each once, and a line for all that waits for a record or will never be trained.

    Call it after each record.
    """
    found = expand(matrix, records)
    planned = {item.cell.id: item for item in found}
    unfinished = [item for cell_id, item in planned.items() if cell_id not in records]
    return [item.cell for item in unfinished], waiting(unfinished) + undecided(found, records)


def undecided(planned: Iterable[Planned], records: Mapping[str, Record]) -> list[str]:
    """A line for everything that will never be trained, because all of its trials are done and none is the best."""
    tried: dict[str, dict[str, Record | None]] = {}
    for item in planned:
        if item.trial is not None:
            place = f"{item.entry.label}, {'+'.join(item.cell.tasks)} of {item.entry.benchmark}"
            tried.setdefault(place, {})[item.cell.id] = records.get(item.cell.id)  # all seeds share the trials
    lines = []
    for place, found in tried.items():
        done = [record for record in found.values() if record is not None]
        if len(done) == len(found) and (why := unjudged(done)):
            lines.append(f"{place}: {why}, so nothing can be chosen; change tune.space, tune.holdout or train")
    return lines


def waiting(unfinished: Iterable[Planned]) -> list[str]:
    """A line for every cell that will be planned once an unfinished preliminary cell has its record."""
    lines = []
    for item in unfinished:
        place = f"{item.entry.label}, {'+'.join(item.cell.tasks)}"
        if item.trial is not None:
            lines.append(f"{place}: will train with the best of its trials")
        elif item.entry.preliminary:
            lines.append(f"{place}, seed {item.cell.seed}: will train with what {item.cell.id} finds")
    return list(dict.fromkeys(lines))


def manifest(matrix: Matrix, constants: Mapping[str, str], records: Mapping[str, Record] = NO_RECORDS) -> Manifest:
    """What `results` needs to know of the matrix."""
    controls: dict[Expected, list[ControlTable]] = {}
    for expected, name, changed in of_controls(matrix):
        entries = tuple(planned.entry for planned in tables(changed, records))
        controls.setdefault(expected, []).append(ControlTable(name, entries))
    repeated = matrix.controls.row if matrix.controls else ""
    return Manifest(
        name=matrix.name,
        title=matrix.title or matrix.name,
        caption=" ".join(filter(None, [matrix.caption, matrix.tune.sentence if matrix.tune else ""])),
        baseline=baseline_of(matrix),
        demonstration=matrix.demonstration,
        margin=matrix.margin,
        entries=tuple(planned.entry for planned in tables(matrix, records)),
        constants=dict(constants),
        controls=tuple(Control(expected, repeated, tuple(found)) for expected, found in controls.items()),
    )
