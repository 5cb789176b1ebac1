"""Rows whose networks start from the trained networks of another row, as a fine-tuning does.

A row names the other one by `starts`, or its method does by `Method.starts_from`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mtlbench.harness.matrix.entries import Matrix, MethodEntry, merge_train
from mtlbench.methods import Method, one_task, resolve


def without_defaults(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from their defaults: naming a default gives the same cell as naming nothing."""
    parameters = inspect.signature(resolve(method).__init__).parameters
    return {name: value for name, value in sorted(options.items()) if parameters[name].default != value}


def row_before(matrix: Matrix, row: MethodEntry) -> MethodEntry | None:
    """The row whose trained networks a row starts from; None where it starts from the backbone's weights.

    Raises ValueError where the matrix has no such row, or several.
    """
    if row.starts is not None:
        named = {each.row: each for each in matrix.methods}
        if row.starts not in named:
            raise ValueError(f"no row is called {row.starts!r}; rows: {', '.join(named)}")
        return named[row.starts]
    start = resolve(row.name).starts_from(row.options)
    if start is None:
        return None
    wanted = without_defaults(start.method, start.options)
    found = [
        each
        for each in matrix.methods
        if each.name == start.method and without_defaults(each.name, each.options) == wanted
    ]
    if len(found) == 1:
        return found[0]
    options = ", ".join(f"{name}: {value}" for name, value in start.options.items())
    if not found:
        what = f"it starts from trained networks of {start.method} ({options}), and no row is one"
        raise ValueError(f"{what}; add the row, or {start.otherwise}")
    raise ValueError(f"it could start from {' or '.join(each.row for each in found)}; name one of them in `starts`")


def problems(matrix: Matrix) -> list[str]:
    """What keeps rows from starting from other rows."""
    found = []
    for row in matrix.methods:
        try:
            before = row_before(matrix, row)
            if before is None:
                continue
            _require(matrix, row, before)
            if matrix.tune is not None:
                found.append(
                    f"tune: row {row.row} starts from {before.row}, and its trials would start from networks that have "
                    "seen what is held out; leave out tune, or let the row start from the backbone"
                )
        except ValueError as error:
            found.append(f"methods: row {row.row}: {error}")
    if not found and matrix.controls is not None:
        for row in matrix.methods:
            of_controls = row.row in (matrix.controls.row, matrix.baseline)
            if of_controls and row_before(matrix, row) is not None:
                found.append(f"methods: row {row.row} starts from another row; controls need one that does not")
    return found


def _require(matrix: Matrix, row: MethodEntry, before: MethodEntry) -> None:
    """Raise ValueError that says why a row cannot start from the row `before`."""
    seen = [row.row]
    while (each := row_before(matrix, matrix_row(matrix, seen[-1]))) is not None:
        if each.row in seen:
            raise ValueError(f"it starts from itself, by way of {' and '.join([*seen[1:], each.row])}")
        seen.append(each.row)
    kind = resolve(row.name)
    if row.starts is not None and "starts_from" in _own(kind) and kind.starts_from(row.options) is None:
        raise ValueError(f"its options say that it starts from no other row; leave out starts: {row.starts}")
    if resolve(before.name).preliminary(before.options):
        raise ValueError(f"it cannot start from {before.row}, whose network a search decides; name another row")
    shared = one_task(before.name) and not one_task(row.name) and "load_start" not in _own(kind)
    if shared and any(len(tasks) > 1 for entry in matrix.benchmarks for tasks in entry.task_sets):
        raise ValueError(
            f"it has one network for all tasks and cannot start from {before.row}, which has one for each task; start "
            "from a row of several tasks"
        )
    defaults = matrix.train.model_dump(exclude_unset=True)
    own, earlier = (merge_train(defaults, each.train).holdout for each in (row, before))
    if own != earlier:
        raise ValueError(
            f"train.holdout is {own}, and {earlier} for {before.row}, from which it starts: it would be validated on "
            "images that these networks have seen; give both the same"
        )


def _own(kind: type[Method]) -> set[str]:
    """The names that a method defines, beyond those that every method has."""
    return {name for each in kind.__mro__ if issubclass(each, Method) and each is not Method for name in vars(each)}


def matrix_row(matrix: Matrix, label: str) -> MethodEntry:
    return next(row for row in matrix.methods if row.row == label)


def supports(matrix: Matrix, row: MethodEntry, tasks: int) -> bool:
    """Whether a row, and each row that it starts from, can have a table of so many tasks."""
    before = row_before(matrix, row)
    own = one_task(row.name) or resolve(row.name).takes(tasks)
    return own and (before is None or supports(matrix, before, tasks))
