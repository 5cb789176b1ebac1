"""Where a number comes from: code, versions, machine."""

from __future__ import annotations

import functools
import inspect
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mtlbench.harness.store import source

LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "numpy")


def plugin_hash(method: type) -> str | None:
    """Of the files that a method from outside comes from; None for one of ours."""
    if method.__module__.startswith(f"{source.PACKAGE}."):
        return None
    return source.outside_hash(method.__module__, Path(inspect.getfile(method)))


def code_hash(method: type) -> str:
    """Of everything that can move the numbers of a network of this class."""
    plugin = plugin_hash(method)
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
