"""The shape of the project, read off its syntax trees: three leaves that do not know each other, and one trunk.

Imports inside functions and for type checkers count too: a circle that hides there is a circle.
"""

import ast
import sys
from pathlib import Path

import pytest

from mtlbench.benchmarks import BENCHMARKS
from mtlbench.methods import METHODS
from paths import ROOT

PACKAGES = ("benchmarks", "methods", "results", "harness")

# The floors of each package, ground floor first. A file imports from its own room and from lower floors. A name is a
# folder or a file; what is not named stands on the floor "*".
FLOORS = {
    "benchmarks": ["tasks", "rendering", "transforms", "benchmark", "copies", "*", "__init__"],
    "methods": [
        "outside",
        "method",
        "packaged",
        "weights",
        "options",
        "stages",
        "feature_maps",
        "backbone",
        "parts",
        "*",
        "__init__",
    ],
    "results": ["records", "statistics", "papers", "summary", "questions", "report", "__init__"],
    "harness": [
        *("search_path", "seeds", "matrix", "store", "data", "tracking", "scoring", "training"),
        *("inspect", "cluster", "driver", "export", "launch", "start", "cli", "bench"),
        "__init__",
    ],
}

# Doors that stay shut although the floors would allow them.
SHUT = {("harness/tracking", "harness/data"), ("harness/bench", "harness/cli"), ("results/summary", "results/papers")}

# What a leaf may import besides itself and the standard library.
LEAVES = {
    "benchmarks": {"torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "h5py", "pyarrow"},
    "methods": {"torch", "timm", "huggingface_hub", "safetensors"},
    "results": {"numpy", "pandas", "pyarrow", "scipy", "PIL", "matplotlib", "seaborn", "jinja2", "fsspec"}
    | {"pydantic", "pydantic_core", "lxml", "markdown_it", "pylatexenc", "plotly"},
}

# A framework is known in one place.
VENDORS = {
    "accelerate": "harness/training/",
    "ray": "harness/cluster/",
    "mlflow": "harness/tracking/",
    "tensorboardX": "harness/export/",
    "wandb": "harness/export/",
}


def name_of(file: Path) -> str:
    """As it is imported: mtlbench.harness.seeds."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(("mtlbench", *(part for part in parts if part != "__init__")))


FILES = {name_of(file): file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))}


def imported(tree: ast.AST) -> set[str]:
    """The modules that a syntax tree imports, ours by their file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in names}
    return found


IMPORTS = {name: imported(ast.parse(file.read_text())) for name, file in FILES.items()}


def place(name: str) -> tuple[str, str, int]:
    """Package, room and floor of a file of ours."""
    _, package, *rest = name.split(".")
    floors = FLOORS[package]
    room = rest[0] if rest else "__init__"
    return package, room, floors.index(room if room in floors else "*")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a graph, each once, by Tarjan's strongly connected components."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in graph[name] & graph.keys():
            if other not in order:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == order[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1 or name in graph[name]:
                found.append(members)

    for name in graph:
        if name not in order:
            visit(name)
    return found


def test_no_file_imports_itself_by_a_detour():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    assert circles(IMPORTS) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_imported_from_a_higher_floor(package):
    for name, others in IMPORTS.items():
        for other in others & FILES.keys():
            here, there = place(name), place(other)
            if here[0] != package or there[0] != package or other == f"mtlbench.{package}" == name:
                continue
            same_room = here[1] == there[1]
            assert same_room or here[2] > there[2], f"{name} imports {other}, which is not below it"
            assert (f"{package}/{here[1]}", f"{package}/{there[1]}") not in SHUT, f"{name} imports {other}"


@pytest.mark.parametrize("package", LEAVES)
def test_a_leaf_imports_neither_its_siblings_nor_what_it_does_not_need(package):
    for name, others in IMPORTS.items():
        if name.split(".")[1] != package:
            continue
        for other in others:
            if other.startswith("mtlbench"):
                assert other.startswith(f"mtlbench.{package}"), f"{name} imports {other}"
            else:
                vendor = other.partition(".")[0]
                assert vendor in LEAVES[package] | sys.stdlib_module_names, f"{name} imports {vendor}"


@pytest.mark.parametrize("vendor", VENDORS)
def test_one_place_knows_a_framework(vendor):
    users = {
        FILES[name].relative_to(ROOT).as_posix()
        for name, others in IMPORTS.items()
        if vendor in {other.partition(".")[0] for other in others}
    }
    assert users
    assert all(user.startswith(VENDORS[vendor]) for user in users), f"{users}, not only {VENDORS[vendor]}"


def test_the_trunk_gets_methods_and_benchmarks_by_name_only():
    competitors = {made.__module__ for made in (*METHODS.values(), *BENCHMARKS.values())}
    assert {"mtlbench.methods.sca_mtl", "mtlbench.benchmarks.nyud"} <= competitors
    for name, others in IMPORTS.items():
        if name.startswith("mtlbench.harness.") and not name.startswith("mtlbench.harness.bench."):
            assert not others & competitors, f"{name} imports {others & competitors}"
