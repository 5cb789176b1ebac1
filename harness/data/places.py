"""Where data and made files lie on this machine, and what is missing of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mtlbench.harness.data.copy import Copy, copy_of
from mtlbench.harness.matrix.entries import BenchmarkEntry, Matrix, make_benchmark
from mtlbench.harness.matrix.text import strict_yaml
from mtlbench.harness.matrix.text.words import in_words
from mtlbench.harness.store.kept import cache_folder


class NotReady(RuntimeError):
    """Something is missing on this machine. There is one line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problems))


def roots(matrix: Matrix, data: Sequence[str]) -> dict[str, Path]:
    """benchmark -> the folder of its data, from NAME=PATH arguments. Raises NotReady."""
    found, problems = available_roots(matrix, data)
    if problems:
        raise NotReady(problems)
    return found


def available_roots(matrix: Matrix, data: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """The folders that exist, as in `roots`, and a line for each folder that does not."""
    given, problems = arguments(data)
    named = {entry.name for entry in matrix.benchmarks}
    problems += [f"--data {name}: the matrix has {', '.join(sorted(named))}" for name in given if name not in named]
    found = {}
    for entry in matrix.benchmarks:
        needs_root = make_benchmark(entry).needs_root
        if entry.name in given:
            if needs_root and not given[entry.name].is_dir():
                problems.append(f"--data {entry.name}={given[entry.name]}: no such folder")
            else:
                found[entry.name] = given[entry.name]
        elif needs_root:
            problems.append(f"benchmark {entry.name} reads data from disk: give --data {entry.name}=PATH")
        else:
            found[entry.name] = cache_folder() / entry.slug
    return found, problems


def arguments(data: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """NAME=PATH arguments as a mapping, and what is wrong with them."""
    given: dict[str, Path] = {}
    problems = []
    for argument in data:
        name, equals, path = argument.partition("=")
        if not equals or not path:
            problems.append(f"--data {argument}: write NAME=PATH, for example nyud=/data/NYUD_MT")
        if name in given:
            problems.append(f"--data {argument}: {name} is at {given[name]} already; leave one out")
        given[name] = Path(path).expanduser().resolve()
    return given, problems


def named_copy(name: str, path: Path | None, options: Sequence[str]) -> Copy:
    """The copy at `path` of a benchmark with options (KEY=VALUE, as layout=NYUDv2).

    Raises ValueError for an unknown name or option and for a missing path, FileNotFoundError for one that is not there.
    """
    given: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"--set {option}: write KEY=VALUE, for example layout=NYUD_MT")
        if key in given:
            raise ValueError(f"--set {option}: {key} is {given[key]!r} already; leave one out")
        try:
            given[key], unclear = strict_yaml.load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {option}: the value is not YAML: {' '.join(str(error).split())}") from error
        if unclear:
            raise ValueError(f"--set {option}: {'; '.join(unclear)}")
    size = {"size": given.pop("size")} if "size" in given else {}
    try:
        entry = BenchmarkEntry.model_validate({"name": name, **size, "options": given})
    except ValidationError as error:
        raise ValueError("; ".join(map(_in_words, error.errors()))) from None
    copy = copy_of(entry, path or cache_folder() / entry.slug)
    if not copy.benchmark.needs_root:
        return copy
    if path is None:
        raise ValueError(f"benchmark {name} reads data from disk: give --data PATH")
    if not path.is_dir():
        raise FileNotFoundError(f"--data {path}: no such folder")
    return replace(copy, root=path.resolve())


def _in_words(mistake: Any) -> str:
    message = in_words(mistake)
    return message if mistake["type"] == "value_error" else f"--set {'.'.join(map(str, mistake['loc']))}: {message}"


def prepared_in(cache: Path | None) -> tuple[Path, ...]:
    """The folders where prepared data may be: this node's scratch ($MTLBENCH_SCRATCH, $TMPDIR), and then the cache."""
    scratch = (os.environ.get(name) for name in ("MTLBENCH_SCRATCH", "TMPDIR"))
    return tuple(Path(path) for path in [*scratch, cache] if path)
