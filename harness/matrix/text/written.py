"""A matrix as it is written: the content of a file with its overrides, before any check. Nothing here needs torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml

from mtlbench.harness.matrix.text import strict_yaml
from mtlbench.harness.matrix.text.names import ROOT

EMBEDDED = ROOT / "benchmarks" / "matrices"  # importlib.resources would import the package, and torch with it

SIBLINGS = {"benchmark": "benchmarks", "benchmarks": "benchmark"}  # two ways to write the same; a file has one of them

SHARED = ("size", "tasks")  # at the top they are for every benchmark without its own


class MatrixError(ValueError):
    """What is wrong with a matrix file: one line a mistake."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))


class Override(NamedTuple):
    """A change of the file's content that was asked for as ``a.b=value``."""

    text: str
    parts: tuple[str, ...]  # of the key
    value: Any

    def refused(self, why: str) -> MatrixError:
        return MatrixError("--set", [f"{self.text!r}: {why}"])


class Written(NamedTuple):
    """A matrix before it is checked."""

    path: str
    content: dict[str, Any]
    changes: list[Override]


def require_file_name(name: str) -> str:
    """The name of a matrix, unchanged. Raises ValueError where no file can have it."""
    if not re.fullmatch(r"\w[^/\\\x00-\x1f]{0,79}", name):
        raise ValueError(
            f"{name!r}: records, tables and figures are put under this name; give one of at most 80 characters "
            "that begins with a letter, a digit or _ and has no slash"
        )
    return name


def load(source: str, overrides: Sequence[str] = ()) -> Written:
    """The matrix of a file, or of a name in benchmarks/matrices. `overrides` are ``a.b=value`` with YAML values.

    Raises FileNotFoundError with the embedded names, or MatrixError for what is no YAML and for an override that has no
    place in it.
    """
    path = find(source)
    try:
        raw, unclear = strict_yaml.load(path.read_text())
    except UnicodeDecodeError as error:
        raise MatrixError(str(path), ["not YAML: it is no text in UTF-8"]) from error
    except yaml.YAMLError as error:
        raise MatrixError(str(path), [f"not YAML: {strict_yaml.in_a_line(error)}"]) from error
    if raw is None:
        raise MatrixError(str(path), ["it is empty; `mtlbench new matrix NAME` writes one to start from"])
    if unclear:  # only this is said, because nobody knows which value is meant
        raise MatrixError(str(path), unclear)
    if not isinstance(raw, dict):
        raise MatrixError(str(path), [f"keys with values are expected, such as methods: [...], not {str(raw)[:40]!r}"])
    if idle := [f"{key}: {why}" for key in SHARED if (why := taken_by_none(raw, key))]:
        raise MatrixError(str(path), idle)
    changes = [_parsed(override) for override in overrides]
    _require_that_each_lasts(changes)
    for change in changes:
        raw = _applied(raw, change)
    raw.setdefault("name", path.stem)
    return Written(str(path), raw, changes)


def as_yaml(written: Written) -> str:
    """The matrix with all of its overrides, for who reads its report: it makes the same cells.

    What belongs to the machine or to a person is left out: the folders of files, and what stands before the host and
    after the path of an address.
    """
    head = "# What `mtlbench run` was asked for, with all changes by --set. Files are named without their folders.\n"
    return head + yaml.safe_dump(_shareable(written.content), sort_keys=False, allow_unicode=True, width=100)


def _shareable(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _shareable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_shareable(value) for value in node]
    if not isinstance(node, str):
        return node
    if re.fullmatch(r"(~|\.{1,2})?/\S+|\S+/\S+\.safetensors", node):
        return PurePath(node).name
    return re.sub(r"(\w+://)(?:[^\s/@]*@)?([^\s?]*)(?:\?\S*)?", r"\1\2", node)


def embedded() -> list[str]:
    """Names of the matrices that come with the package."""
    return sorted(file.stem for file in EMBEDDED.glob("*.yaml"))


def find(source: str) -> Path:
    if Path(source).is_file():
        return Path(source)
    if source in embedded():
        return EMBEDDED / f"{source}.yaml"
    stem, written = Path(source).stem, Path(f"{source}.yaml")
    hint = (
        f"; perhaps {written} is meant"
        if written.is_file()
        else f"; perhaps {stem} is meant"
        if stem in embedded()
        else ""
    )
    what = f"{source!r} is a folder and no matrix file" if Path(source).is_dir() else f"no matrix file {source!r}"
    raise FileNotFoundError(f"{what}, and no embedded one of that name: {', '.join(embedded())}{hint}")


def _parsed(override: str) -> Override:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise MatrixError("--set", [f"{override!r}: write key=value, for example train.epochs=10"])
    try:
        value, unclear = strict_yaml.load(text)
    except yaml.YAMLError as error:
        raise MatrixError("--set", [f"{override!r}: the value is not YAML: {strict_yaml.in_a_line(error)}"]) from error
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


def taken_by_none(raw: Mapping[str, Any], key: str) -> str:
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
