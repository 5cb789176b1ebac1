"""Where a number comes from: code, versions, machine."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mtlbench.harness.store import source
from mtlbench.methods.outside import is_outside, load

LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "numpy")


def names_from_outside(cell: Mapping[str, Any]) -> list[str]:
    """The "package.module:Name" of everything that a cell takes from outside of the package, sorted."""
    recipe = cell["train"]
    names = {cell["method"], cell["backbone"]["name"], cell["benchmark"]["name"]}
    return sorted(name for name in names | {recipe["optimizer"], recipe["schedule"]} if is_outside(name))


def plugin_hash(cell: Mapping[str, Any]) -> str | None:
    """A hash of the files of everything that a cell takes from outside; None where it takes nothing. cell: as JSON.

    Raises ValueError for what cannot be imported.
    """
    return outside_hash(names_from_outside(cell))


def outside_hash(names: Iterable[str]) -> str | None:
    """The same for the "package.module:Name" of anything from outside."""
    modules: list[str] = []
    for name in names:
        found = load(name, "plug-in")
        named, defined = name.partition(":")[0], getattr(found, "__module__", None) or ""
        modules += [named, defined]
    return modules_hash(modules)


def modules_hash(modules: Iterable[str]) -> str | None:
    """A hash of the files of imported modules; None where all modules are ours or of libraries.

    Libraries are those of Python, and those whose versions are in every record.
    """
    known = {source.PACKAGE, *LIBRARIES, *sys.stdlib_module_names}
    outside = [module for module in modules if module and module.partition(".")[0] not in known]
    paths = {module: getattr(sys.modules.get(module), "__file__", None) or "" for module in outside}
    files = {module: Path(path) for module, path in paths.items() if path.endswith(".py")}
    return source.outside_hash(files) if files else None


def code_hash(cell: Mapping[str, Any]) -> str:
    """A hash of all code that can move the numbers of a cell. cell: as JSON."""
    plugin = plugin_hash(cell)
    return source.source_hash() + (f"+{plugin}" if plugin else "")


@functools.cache
def commit() -> str | None:
    """The checkout's commit, with "+" where decisive files differ from it; None outside a git checkout."""
    git = ["git", "-C", str(source.ROOT)]
    try:
        top, head = subprocess.run(
            [*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.split("\n")[:2]
        if Path(top).resolve() != source.ROOT:
            return None  # installed below somebody else's checkout
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", *source.decisive_files()],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    return models[0].partition(":")[2].strip() if models else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}}


def describe(device: torch.device, **more: Any) -> dict[str, Any]:
    """What goes into a record."""
    return {
        "commit": commit(),
        "source": source.source_hash(),
        "versions": versions(),
        "device": device_name(device),
        **{key: value for key, value in more.items() if value is not None},
    }
