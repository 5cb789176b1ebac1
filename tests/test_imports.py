"""The shape of the project, read off its syntax trees: three leaves that do not know each other, and one trunk."""

import ast
import inspect
import sys
from pathlib import Path

import pytest

from benchmarks import BENCHMARKS
from methods import METHODS

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "methods", "results", "harness")

# What a folder may import besides itself and the standard library.
ALLOWED = {
    "benchmarks": {"torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "h5py", "pyarrow"},
    "methods": {"torch", "timm", "huggingface_hub", "safetensors"},
    "results": {"numpy", "pandas", "pyarrow", "scipy", "matplotlib", "seaborn", "jinja2", "fsspec"},
}
ONLY_IN = {"accelerate": "harness/train.py", "ray": "harness/schedule.py", "mlflow": "harness/tracking.py"}


def imported(file):
    """Top-level names of everything that a file imports, inside functions too, but not for type checkers only."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module.partition(".")[0]


def sources(folder):
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_leaf_imports_neither_its_siblings_nor_what_it_does_not_need(folder):
    for file in sources(folder):
        strangers = set(imported(file)) - ALLOWED[folder] - {folder} - sys.stdlib_module_names
        assert not strangers, f"{file.relative_to(ROOT)} imports {', '.join(sorted(strangers))}"


@pytest.mark.parametrize("package", ONLY_IN)
def test_one_file_knows_a_framework(package):
    users = {
        file.relative_to(ROOT).as_posix() for folder in FOLDERS for file in sources(folder) if package in imported(file)
    }
    assert users == {ONLY_IN[package]}


def test_the_trunk_gets_methods_and_benchmarks_by_name_only():
    competitors = {method.__module__ for method in METHODS.values()}
    competitors |= {inspect.unwrap(make).__module__ for make in BENCHMARKS.values()}
    assert {"methods.sca_mtl", "benchmarks.nyud"} <= competitors
    for file in (file for file in sources("harness") if not file.stem.startswith("bench")):  # which time some of them
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                modules = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert not modules & competitors, f"{file.name} imports {modules & competitors}"
