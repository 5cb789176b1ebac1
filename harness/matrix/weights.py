"""A backbone's initial weights: a matrix names a file, a cell its content, and a place knows where the content lies."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtlbench.harness.matrix.cell import BackboneConfig

NAMES = ("none", "imagenet")
PREFIX = "sha256:"
DIGITS = 12


def by_content(backbone: BackboneConfig) -> BackboneConfig:
    """As a cell holds it: the path of a file becomes sha256:..., so that copies of a file make the same cell.

    Raises FileNotFoundError where there is no such file.
    """
    if backbone.weights in NAMES:
        return backbone
    return backbone.model_copy(update={"weights": PREFIX + digest(Path(backbone.weights))[:DIGITS]})


def files(backbone: BackboneConfig) -> dict[str, str]:
    """What a cell calls the file of a matrix's backbone -> its absolute path; {} where it has none."""
    if backbone.weights in NAMES:
        return {}
    return {by_content(backbone).weights: str(Path(backbone.weights).resolve())}


def locate(backbone: BackboneConfig, known: Mapping[str, str]) -> str | None:
    """The path of the file that a cell's backbone starts from; None where it starts from no file.

    Raises FileNotFoundError where its path is not `known`, ValueError where its content has changed.
    """
    if backbone.weights in NAMES:
        return None
    if backbone.weights not in known:
        raise FileNotFoundError(f"no file is known for the weights {backbone.weights} of {backbone.name}")
    path = known[backbone.weights]
    found = PREFIX + digest(Path(path))[:DIGITS]
    if found != backbone.weights:
        raise ValueError(f"{path} is {found} now and was {backbone.weights} when its cell was made; restore the file")
    return path


def origin(backbone: BackboneConfig, known: Mapping[str, str]) -> dict[str, Any] | None:
    """For a record: where initial weights came from, and the SHA-256 of the file; None where there were none."""
    if backbone.weights == "imagenet":
        from huggingface_hub import constants, try_to_load_from_cache

        from mtlbench.methods.weights import pretrained_source

        tag, repository, file = pretrained_source(backbone.name)
        path = try_to_load_from_cache(repository, file, cache_dir=constants.HF_HUB_CACHE) if repository else None
        return {"tag": tag, "sha256": digest(Path(path)) if isinstance(path, str) else None}
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
