"""Each file name of a store is written in one module."""

import ast
import re

import pytest

from mtlbench.results.records import files
from paths import ROOT

HOME = "results/records/files.py"
NAMES = {value for name, value in vars(files).items() if name.isupper()} - {files.ARRAYS, files.STATISTICS}
FOLDERS = {name for name in NAMES if "." not in name}

# Folders whose names the sources use as ordinary words too: only as a part of a path are they names of a store.
WORDS = {files.CELLS, files.DATA, files.MATRICES, files.PREDICTIONS, files.REPORT, files.ARTIFACTS, files.FITS}

# What is called the same and lies in no store.
OTHERS = {
    ("methods/weights.py", files.WEIGHTS): "how a file of weights is called on the Hugging Face hub",
    ("benchmarks/copies/parquet.py", files.DATA): "where a copy of a benchmark has its files",
    ("harness/tracking/entry.py", files.ARTIFACTS): "a part of the addresses of MLflow's server",
    ("harness/data/places.py", files.DATA): "an example of where a copy of a benchmark may be",
    ("results/report/frames.py", files.PIXELS): "a column of classes.csv",
    ("results/report/drawing/figures.py", files.CLASSES): "the name of a figure",
}


def literals(source: str) -> list[str]:
    """The string literals of a source, those inside of f-strings too; no docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node.value for node in strings if id(node) not in docstrings]


def named(source: str) -> set[str]:
    """The names of a store that a source writes down."""
    found = set()
    for literal in literals(source):
        for name in NAMES:
            if name in FOLDERS:
                in_path = re.search(rf"(^|/){name}/|/{name}$", literal)
                found |= {name} if in_path or (literal == name and name not in WORDS) else set()
            elif name in literal:
                found.add(name)
    return found


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_that_is_written_down_is_found(name):
    path = f"/{name}" if name in FOLDERS else name
    assert named(f'x = f"{{folder}}{path}"') == {name}
    assert named(f'def f(): "{path}"') == set()  # docstrings may tell of it


def test_no_other_module_writes_down_a_name_of_a_store():
    assert {files.RECORD, files.CHECKPOINTS, files.LEASE, files.ASIDE} <= NAMES
    assert len(named((ROOT / HOME).read_text())) >= len(NAMES - WORDS)
    found = {}
    for folder in ("benchmarks", "methods", "results", "harness"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            found |= {(file, name): "" for name in named(path.read_text()) if file != HOME}
    assert found.keys() == OTHERS.keys()


def test_functions_name_what_the_constants_name():
    assert files.record("a") == "cells/a/record.json"
    assert files.image(7, files.ARRAYS) == "000007.npz"
    assert files.image_numbers(["000007.npz", "000008.json", "x.npz", "1.npz.tmp"], files.ARRAYS) == [7]
    assert files.matrix_names(["b.json", "a.json", ".c.json", "d.json.1.tmp"]) == ["a", "b"]
