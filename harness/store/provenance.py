"""Where a number comes from: code, versions, machine."""

from __future__ import annotations

import functools
import hashlib
import inspect
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "numpy")
# The files that can move a number: how a cell is trained and scored, and not how it is scheduled, tracked or shown.
DECISIVE = (
    "benchmarks/**/*.py", "methods/**/*.py", "harness/seeds.py", "harness/matrix/cell.py", "harness/data/*.py",
    "harness/scoring/*.py", "harness/training/*.py",
)  # fmt: skip
NOT_DECISIVE = (
    "benchmarks/copies/doctor.py",
    "benchmarks/copies/evidence.py",
    "benchmarks/copies/verify.py",
)  # which only look


@functools.cache
def source_hash() -> str:
    """Of the files that can move a number; a record made by others is shown as stale."""
    digest = hashlib.sha256()
    for pattern in DECISIVE:
        for file in sorted(ROOT.glob(pattern)):
            name = file.relative_to(ROOT).as_posix()
            if name not in NOT_DECISIVE:
                digest.update(f"{name}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def plugin_hash(method: type) -> str | None:
    """Of the file that a method from outside comes from; None for our own."""
    if not method.__module__.startswith("mtlbench.methods."):
        return hashlib.sha256(Path(inspect.getfile(method)).read_bytes()).hexdigest()[:12]
    return None


def code_hash(method: type) -> str:
    """Of everything that can move the numbers of a network of this class."""
    plugin = plugin_hash(method)
    return source_hash() + (f"+{plugin}" if plugin else "")


@functools.cache
def commit() -> str | None:
    """The checkout's commit, with "+" where decisive files differ from it; None outside a git checkout."""
    git = ["git", "-C", str(ROOT)]
    try:
        top, head = subprocess.run(
            [*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.split("\n")[:2]
        if Path(top).resolve() != ROOT:
            return None  # installed below somebody else's checkout
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", *DECISIVE, *(f":(exclude){name}" for name in NOT_DECISIVE)],
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
        "source": source_hash(),
        "versions": versions(),
        "device": device_name(device),
        **{key: value for key, value in more.items() if value is not None},
    }
