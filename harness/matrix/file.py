"""A matrix file: YAML becomes a Matrix, or one error that lists every mistake with its path."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mtlbench.harness.matrix import strict_yaml
from mtlbench.harness.matrix.entries import Matrix
from mtlbench.harness.matrix.problems import MatrixError, cross_checks, describe_mistake


def read(source: str, overrides: Sequence[str] = ()) -> Matrix:
    """Read the matrix of a file, or of a name in benchmarks/matrices. `overrides` are ``a.b=value`` with YAML values.

    Raises FileNotFoundError with the embedded names, or MatrixError.
    """
    path = find(source)
    try:
        raw, repeated = strict_yaml.load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MatrixError(str(path), [f"not YAML: {error}"]) from error
    if repeated:  # only this is said, because nobody knows which of the two values is meant
        raise MatrixError(str(path), repeated)
    if not isinstance(raw, dict):
        raise MatrixError(str(path), [f"a mapping is expected at the top, not {type(raw).__name__}"])
    for override in overrides:
        _override(raw, override)
    raw.setdefault("name", path.stem)
    return check(raw, str(path))


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


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise MatrixError("--set", [f"{override!r}: write key=value, for example train.epochs=10"])
    try:
        value, repeated = strict_yaml.load(text)
    except yaml.YAMLError as error:
        raise MatrixError("--set", [f"{override!r}: the value is not YAML: {error}"]) from error
    if repeated:
        raise MatrixError("--set", [f"{override!r}: {line}" for line in repeated])
    node: Any = raw
    *parents, leaf = key.split(".")
    for part in parents:
        place = _place(node, part, override)
        child = node[place] if isinstance(node, list) else node.get(place)
        if isinstance(child, str):  # the short form of a benchmark, a backbone or a method
            child = {"name": child}
        node[place] = child = {} if child is None else child
        node = child
    node[_place(node, leaf, override)] = value


def _place(node: Any, part: str, override: str) -> Any:
    """`part` as a key of a mapping or an index of a list. Raises MatrixError where it is neither."""
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise MatrixError("--set", [f"{override!r}: there is nothing called {part!r} below {node!r}"])
    if not part.isdigit() or int(part) >= len(node):
        raise MatrixError("--set", [f"{override!r}: {part!r} is no place in a list of {len(node)}; they count from 0"])
    return int(part)
