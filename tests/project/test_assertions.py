"""The program does the same under `python -O`, which leaves out every `assert`."""

import ast
import os
import subprocess
import sys

import pytest

from paths import PYTHONPATH, ROOT

PACKAGES = ("benchmarks", "methods", "results", "harness")

# What no input can break: a scene is closed, so that every ray meets a surface.
INVARIANTS = {("benchmarks/rendering/raycast.py", "(part >= 0).all()")}

# Quick tests of refusals, of what is computed, and of each rule of `mtlbench check`.
SELECTION = [
    "tests/benchmarks/tasks/test_losses.py",
    "tests/benchmarks/copies/test_cache.py",
    "tests/results/statistics/test_delta.py",
    "tests/harness/matrix/test_matrix.py",
    "tests/harness/inspect/test_conformance.py",
]


def narrows(test):
    """Whether a condition only tells a type checker what is known: `x is not None`, `isinstance(x, T)`, or both."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return all(narrows(value) for value in test.values)
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    return isinstance(test, ast.Compare) and ast.unparse(test).endswith(" is not None")


def conditions():
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Assert):
                    yield file.relative_to(ROOT).as_posix(), node.test


def test_an_assertion_refuses_no_input():
    found = {(file, ast.unparse(test)) for file, test in conditions() if not narrows(test)}
    assert found == INVARIANTS, "raise ValueError for what a user's input can break"


@pytest.mark.parametrize(
    ("text", "narrow"), [("a is not None and isinstance(b, C)", True), ("a.shape == b.shape", False)]
)
def test_narrowings_are_told_from_checks(text, narrow):
    assert narrows(ast.parse(text, mode="eval").body) == narrow


@pytest.mark.slow
def test_tests_pass_without_assertions():
    # pytest makes the assertions of test files into other statements, which stay, and warns of those that do not.
    command = [
        sys.executable,
        "-O",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not drill and not gpu and not nightly",
        *SELECTION,
    ]
    done = subprocess.run(
        [*command, "-W", "error", "-W", "ignore::pytest.PytestConfigWarning"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": PYTHONPATH}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
