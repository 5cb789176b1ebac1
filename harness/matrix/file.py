"""A matrix file: YAML becomes a Matrix, or one error that lists every mistake with its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from mtlbench.harness.matrix import strict_yaml
from mtlbench.harness.matrix.entries import Matrix, MethodEntry, Recipe, make_benchmark, merge_train
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES
from mtlbench.harness.matrix.problems import MatrixError, cross_checks, describe_mistake
from mtlbench.methods import resolve

SIBLINGS = {"benchmark": "benchmarks", "benchmarks": "benchmark"}  # two ways to write the same; a file has one of them

SHARED = ("size", "tasks")  # at the top they are for every benchmark without its own


class Override(NamedTuple):
    """A change of the file's content that was asked for as ``a.b=value``."""

    text: str
    parts: tuple[str, ...]  # of the key
    value: Any

    def refused(self, why: str) -> MatrixError:
        return MatrixError("--set", [f"{self.text!r}: {why}"])


def read(source: str, overrides: Sequence[str] = ()) -> Matrix:
    """Read the matrix of a file, or of a name in benchmarks/matrices. `overrides` are ``a.b=value`` with YAML values.

    Raises FileNotFoundError with the embedded names, or MatrixError, also for an override that nothing would notice.
    """
    path = find(source)
    try:
        raw, unclear = strict_yaml.load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MatrixError(str(path), [f"not YAML: {error}"]) from error
    if unclear:  # only this is said, because nobody knows which value is meant
        raise MatrixError(str(path), unclear)
    if not isinstance(raw, dict):
        raise MatrixError(str(path), [f"a mapping is expected at the top, not {type(raw).__name__}"])
    if idle := [f"{key}: {why}" for key in SHARED if (why := _taken_by_none(raw, key))]:
        raise MatrixError(str(path), idle)
    changes = [_parsed(override) for override in overrides]
    _require_that_each_lasts(changes)
    for change in changes:
        raw = _applied(raw, change)
    raw.setdefault("name", path.stem)
    matrix = check(raw, str(path))
    for change in changes:
        if why := _taken_by_none(raw, change.parts[0]) or _without_effect(change, matrix):
            raise change.refused(why)
    return matrix


def embedded() -> list[str]:
    """Names of the matrices that come with the package."""
    folder = resources.files("mtlbench.benchmarks") / "matrices"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def find(source: str) -> Path:
    if Path(source).is_file():
        return Path(source)
    if source in embedded():
        return Path(str(resources.files("mtlbench.benchmarks") / "matrices" / f"{source}.yaml"))
    raise FileNotFoundError(f"no matrix file {source!r}, and no embedded one of that name: {', '.join(embedded())}")


def check(raw: dict[str, Any], source: str) -> Matrix:
    """Check the content of a file. Raises MatrixError, naming every mistake."""
    problems = []
    matrix = None
    try:
        matrix = Matrix.model_validate(raw)
    except ValidationError as error:
        problems = [describe_mistake(mistake) for mistake in error.errors()]
    problems += cross_checks(raw, matrix)
    if problems:
        raise MatrixError(source, problems)
    assert matrix is not None
    return matrix


def _parsed(override: str) -> Override:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise MatrixError("--set", [f"{override!r}: write key=value, for example train.epochs=10"])
    try:
        value, unclear = strict_yaml.load(text)
    except yaml.YAMLError as error:
        raise MatrixError("--set", [f"{override!r}: the value is not YAML: {error}"]) from error
    if unclear:
        raise MatrixError("--set", [f"{override!r}: {line}" for line in unclear])
    return Override(override, tuple(key.split(".")), value)


def _require_that_each_lasts(changes: Sequence[Override]) -> None:
    """Raise MatrixError for an override that a later one writes over."""

    def place(change: Override) -> tuple[str, ...]:
        return ("benchmark" if change.parts[0] in SIBLINGS else change.parts[0], *change.parts[1:])

    for number, change in enumerate(changes):
        for later in changes[number + 1 :]:
            if place(change)[: len(later.parts)] == place(later):
                advice = "leave one out" if len(change.parts) == len(later.parts) else "give the longer key after it"
                raise change.refused(f"--set {later.text} comes later and replaces it; {advice}")


def _applied(raw: Mapping[str, Any], change: Override) -> dict[str, Any]:
    """The content with a change. What was on the way to it is copied: YAML's aliases share parts of a file."""
    first, *rest = change.parts
    changed = dict(raw)
    other = SIBLINGS.get(first)
    if other in changed and first not in changed:
        if rest:
            raise change.refused(_in_the_other_form(change))
        del changed[other]
    node: Any = changed
    *parents, leaf = change.parts
    for depth, part in enumerate(parents, start=1):
        place = _place(node, part, change)
        child = node[place] if isinstance(node, list) else node.get(place)
        if isinstance(child, str):
            child = _in_full(child, change, depth)
        copied = {} if child is None else child.copy() if isinstance(child, dict | list) else child
        node[place] = node = copied
    node[_place(node, leaf, change)] = change.value
    return changed


def _in_the_other_form(change: Override) -> str:
    """What to write where a file has `benchmark` and an override `benchmarks`, or the other way round."""
    first, *rest = change.parts
    if first == "benchmark":
        return f"the file has a list of benchmarks; write {'.'.join(['benchmarks', '0', *rest])}="
    if rest[0] == "0":
        return f"the file has one benchmark, and no list; write {'.'.join(['benchmark', *rest[1:]])}="
    return "the file has one benchmark, and no list; write benchmarks=[...] with all of them"


def _in_full(short: str, change: Override, depth: int) -> dict[str, str]:
    """The short form of a benchmark, a backbone or a method, as a mapping. Raises MatrixError for any other word."""
    above = change.parts[:depth]
    if above in (("benchmark",), ("backbone",)) or (depth == 2 and above[0] in ("benchmarks", "methods")):
        return {"name": short}
    path, below = ".".join(above), change.parts[depth]
    raise change.refused(f"{path} is {short!r}, and not a mapping; write {path}={{{below}: ...}} to replace it")


def _place(node: Any, part: str, change: Override) -> Any:
    """`part` as a key of a mapping or an index of a list. Raises MatrixError where it is neither."""
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise change.refused(f"there is nothing called {part!r} below {node!r}")
    if not part.isdigit() or int(part) >= len(node):
        raise change.refused(f"{part!r} is no place in a list of {len(node)}; they count from 0")
    return int(part)


def _taken_by_none(raw: Mapping[str, Any], key: str) -> str:
    """Why no benchmark takes a `size` or `tasks` at the top, and what to write; "" where one takes it."""
    short = raw.get("benchmarks", [raw.get("benchmark")])
    entries = short if isinstance(short, list) else []
    if key not in SHARED or raw.get(key) is None or not entries:
        return ""
    if not all(isinstance(entry, dict) and entry.get(key) is not None for entry in entries):
        return ""
    owners = "the benchmark has its" if len(entries) == 1 else "all benchmarks have their"
    place = "benchmarks.0" if "benchmarks" in raw else "benchmark"
    return f"not taken, because {owners} own {key}; change {place}.{key}"


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
        if own or (len(tasks) > 1 and not all(resolve(row.name).one_task for row in rows))
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
