"""A backbone's initial weights. A matrix names a file, a cell names its content, and an environment knows the path."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mtlbench.harness.matrix.cell import NO_FILE, BackboneConfig
from mtlbench.methods.packaged import require

PREFIX = "sha256:"
DIGITS = 12


def by_content(backbone: BackboneConfig) -> BackboneConfig:
    """The backbone as a cell holds it: a path becomes sha256:..., so that copies of a file make the same cell.

    Raises FileNotFoundError where there is no such file.
    """
    if backbone.weights in NO_FILE:
        return backbone
    return backbone.model_copy(update={"weights": PREFIX + digest(Path(backbone.weights))[:DIGITS]})


def files(backbone: BackboneConfig) -> dict[str, str]:
    """sha256:... -> the absolute path, for the file of a matrix's backbone; {} where the backbone has no file."""
    if backbone.weights in NO_FILE:
        return {}
    return {by_content(backbone).weights: str(Path(backbone.weights).resolve())}


def locate(backbone: BackboneConfig, known: Mapping[str, str]) -> str | None:
    """The path of the file with the initial weights of a cell's backbone, or "package"; None where there is no file.

    Raises FileNotFoundError where its path is not `known`, ValueError where its content has changed.
    """
    if backbone.weights == "package":
        return backbone.weights
    if backbone.weights in NO_FILE:
        return None
    if backbone.weights not in known:
        raise FileNotFoundError(f"no file is known for the weights {backbone.weights} of {backbone.name}")
    path = known[backbone.weights]
    found = PREFIX + digest(Path(path))[:DIGITS]
    if found != backbone.weights:
        raise ValueError(f"{path} is {found} now and was {backbone.weights} when its cell was made; restore the file")
    return path


def origin(backbone: BackboneConfig, known: Mapping[str, str]) -> dict[str, Any] | None:
    """For a record: where the initial weights came from, and the SHA-256 of their file; None for random weights."""
    if backbone.weights == "imagenet":
        from huggingface_hub import constants, try_to_load_from_cache

        from mtlbench.methods.weights import pretrained_source

        tag, repository, file = pretrained_source(backbone.name)
        path = try_to_load_from_cache(repository, file, cache_dir=constants.HF_HUB_CACHE) if repository else None
        return {"tag": tag, "sha256": digest(Path(path)) if isinstance(path, str) else None}
    if backbone.weights == "package":
        packaged = require(backbone.name)
        return {"package": f"{packaged.package} {version(packaged.package)}", "sha256": packaged.sha256}
    path = locate(backbone, known)
    return None if path is None else {"file": Path(path).name, "sha256": digest(Path(path))}


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    status = path.stat()
    return _digest(path.resolve(), status.st_mtime_ns, status.st_size)


@functools.cache  # a matrix is expanded again after every record
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
