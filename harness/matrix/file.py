"""A matrix file: YAML becomes a Matrix, or one error that lists every mistake with its path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from mtlbench.harness.matrix.entries import Matrix, MethodEntry, Recipe, make_benchmark, merge_train
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES
from mtlbench.harness.matrix.problems import Right, as_far_as_right, cross_checks, hidden_mistakes
from mtlbench.harness.matrix.text.first_look import describe_mistake
from mtlbench.harness.matrix.text.written import MatrixError, Override, Written, load, taken_by_none
from mtlbench.methods import one_task, resolve


def read(source: str, overrides: Sequence[str] = ()) -> Matrix:
    """Read the matrix of a file, or of a name in benchmarks/matrices. `overrides` are ``a.b=value`` with YAML values.

    Raises FileNotFoundError with the embedded names, or MatrixError, also for an override that nothing would notice.
    """
    return checked(load(source, overrides))


def checked(written: Written) -> Matrix:
    """The matrix that is written. Raises MatrixError, also for an override that nothing would notice."""
    matrix = check(written.content, written.path)
    idle = [
        f"{change.text!r}: {why}"
        for change in written.changes
        if (why := taken_by_none(written.content, change.parts[0]) or _without_effect(change, matrix))
    ]
    if idle:
        raise MatrixError("--set", idle)
    return matrix


def check(raw: dict[str, Any], source: str) -> Matrix:
    """Check the content of a file. Raises MatrixError, naming every mistake."""
    problems = []
    try:
        known = Right(Matrix.model_validate(raw))
    except ValidationError as error:
        problems = [describe_mistake(mistake) for mistake in error.errors()] + hidden_mistakes(raw, error)
        known = as_far_as_right(raw, error)
    problems += cross_checks(raw, known)
    if problems:
        raise MatrixError(source, problems)
    return known.matrix


def _without_effect(change: Override, matrix: Matrix) -> str:
    """Why nothing in the matrix notices a change that is right by itself, and the way out; "" where something does."""
    if change.value is None:  # takes something away
        return ""
    rows = list(matrix.methods)
    match change.parts:
        case ["train", name, *_]:
            alike = {"epochs", "steps"} if name in ("epochs", "steps") else {name}
            if all(alike & row.train.keys() for row in rows):
                return f"each row has its own; write {'.'.join(['methods', '0', *change.parts])}="
            rows = [row for row in rows if not alike & row.train.keys()]
        case ["methods", place, "train", name, *_]:
            rows = [rows[int(place)]]
        case ["skip_unsupported"]:
            sets = [tasks for entry in matrix.benchmarks for tasks in entry.task_sets]
            kinds = [resolve(row.name) for row in rows if not one_task(row.name)]
            if change.value and all(kind.takes(len(tasks)) for kind in kinds for tasks in sets):
                return "every method takes the tasks of every table; leave it out"
            return ""
        case ["resources", "validate_every"]:
            held_out = matrix.tune is not None or any(_recipe(matrix, row).holdout for row in rows)
            if not held_out and not any("val" in make_benchmark(entry).splits for entry in matrix.benchmarks):
                return "no benchmark here has a val split; give train.holdout too, such as 0.1"
            return ""
        case _:
            return ""
    if matrix.tune is not None and name in matrix.tune.space:
        return f"tune.space draws {name} for every row; write tune.space.{name}=[low, high]"
    if name in ("weights", "label_weights"):
        return _of_no_task(change, matrix, rows)
    for part, key, taker, known in (
        ("momentum", "optimizer", "sgd", OPTIMIZERS),
        ("power", "schedule", "poly", SCHEDULES),
    ):
        chosen = {getattr(_recipe(matrix, row), key) for row in rows}
        if name == part and chosen <= known.keys() - {taker}:
            return f"{' and '.join(sorted(chosen))} takes no {name}, {taker} does; give train.{key}={taker} too"
    return ""


def _of_no_task(change: Override, matrix: Matrix, rows: Sequence[MethodEntry]) -> str:
    """Why weights that an override gives weigh nothing. A network of one task takes those of its own row alone."""
    own = change.parts[0] == "methods"
    weighed = {
        task
        for entry in matrix.benchmarks
        for tasks in entry.task_sets
        if own or (len(tasks) > 1 and not all(one_task(row.name) for row in rows))
        for task in tasks
    }
    if not weighed:
        return f"a network of one task has weight 1; write {'.'.join(['methods', '0', *change.parts])}="
    name = "label_weights" if "label_weights" in change.parts else "weights"
    given = change.parts[change.parts.index(name) + 1 :] or [*getattr(_recipe(matrix, rows[0]), name)]
    if given and not weighed & {*given}:
        return f"no cell trains {', '.join(given)}; the tasks are {', '.join(sorted(weighed))}"
    return ""


def _recipe(matrix: Matrix, row: MethodEntry) -> Recipe:
    return merge_train(matrix.train.model_dump(exclude_unset=True), row.train)
