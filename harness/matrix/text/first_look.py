"""A first look at a matrix, which needs no torch: mistakes in the form of the file, and names that nothing has.

A slip of the pen is said in a second. Whether options, tasks and sizes fit the classes that are named is for file.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from mtlbench.harness.matrix.cell import BackboneConfig, TrainConfig
from mtlbench.harness.matrix.entries import (
    FORM_ONLY,
    SHORT_FORMS,
    BenchmarkEntry,
    Controls,
    Matrix,
    MethodEntry,
    Resources,
    TaskSet,
    in_full,
)
from mtlbench.harness.matrix.text.names import known_names, names_a_module
from mtlbench.harness.matrix.text.words import as_yaml, in_words
from mtlbench.harness.matrix.text.written import MatrixError, Written
from mtlbench.harness.matrix.tuning import Tuning

# Where the names that a matrix may use are written down: what they name, the file, and the dictionary in it.
METHODS = ("method", "methods/__init__.py", "METHODS")
BENCHMARKS = ("benchmark", "benchmarks/__init__.py", "BENCHMARKS")
OPTIMIZERS = ("optimizer", "harness/matrix/optimization.py", "OPTIMIZERS")
SCHEDULES = ("schedule", "harness/matrix/optimization.py", "SCHEDULES")


def first_look(written: Written) -> Written:
    """What is written, unchanged. Raises MatrixError that names every mistake that can be found without torch."""
    problems = []
    try:
        Matrix.model_validate(written.content, context=FORM_ONLY)
    except ValidationError as error:
        problems = [describe_mistake(mistake) for mistake in error.errors()]
    problems += _unknown_names(in_full(written.content))
    if problems:
        raise MatrixError(written.path, problems)
    return written


def _unknown_names(raw: dict[str, Any]) -> list[str]:
    """A line for each name that is neither in our dictionaries nor package.module:Name."""
    found = []
    for path, name, (kind, file, dictionary) in _names(raw):
        known = known_names(file, dictionary)
        if isinstance(name, str) and name not in known and not names_a_module(name):
            found.append(
                f"{path}: unknown {kind} {name!r}; known: {', '.join(known)}; or package.module:Name of your own"
            )
    return found


def _names(raw: dict[str, Any]) -> Iterator[tuple[str, Any, tuple[str, str, str]]]:
    """(path, value, dictionary) of everything in a matrix that names something of ours."""
    for key, dictionary in (("methods", METHODS), ("benchmarks", BENCHMARKS)):
        entries = raw.get(key)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                yield f"{key}.{index}.name", entry.get("name"), dictionary
                yield from _of_recipe(f"{key}.{index}.train", entry.get("train"))
    yield from _of_recipe("train", raw.get("train"))


def _of_recipe(path: str, recipe: Any) -> Iterator[tuple[str, Any, tuple[str, str, str]]]:
    if isinstance(recipe, dict):
        yield f"{path}.optimizer", recipe.get("optimizer"), OPTIMIZERS
        yield f"{path}.schedule", recipe.get("schedule"), SCHEDULES


def describe_mistake(mistake: Any, above: tuple[str | int, ...] = ()) -> str:
    """A line for a mistake that pydantic found below the path `above`."""
    loc = (*above, *mistake["loc"])
    path = ".".join(map(str, loc))
    if mistake["type"] == "extra_forbidden":
        message = f"unknown key{_allowed(loc)}"
    elif mistake["type"] == "missing":
        message = "missing"
    elif mistake["type"] == "list_type" and isinstance(mistake["input"], str | int | float):
        value = mistake["input"]
        message = f"{as_yaml(value)} is no list; write {loc[-1]}: [{value}], or --set {path}=[{value}]"
    else:
        message = in_words(mistake)
    return f"{path}: {message}" if path else message


def _allowed(loc: tuple[Any, ...]) -> str:
    """The keys allowed where an unknown one stood."""
    model: Any = Matrix
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        found = {
            "benchmarks": BenchmarkEntry, "methods": MethodEntry, "train": TrainConfig,
            "resources": Resources, "backbone": BackboneConfig, "tune": Tuning,
            "controls": Controls, "relatedness": TaskSet,
        }  # fmt: skip
        model = found.get(part)
    if model is None:
        return ""
    keys = list(model.model_fields)
    if model is Matrix:
        keys += SHORT_FORMS
    meant = get_close_matches(str(loc[-1]), keys, n=1)
    return f"{''.join(f', perhaps {key} is meant' for key in meant)}; allowed: {', '.join(sorted(keys))}"
