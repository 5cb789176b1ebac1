"""Where a cell runs: its store, its data, and how much of the machine it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtlbench.harness.matrix.entries import Resources


@dataclass(frozen=True)
class Environment:
    """Where a cell runs. Nothing here changes a number beyond its last digits. It is sent to other machines."""

    store: str  # the address of a Store
    roots: Mapping[str, Path]  # benchmark -> the folder of its data
    resources: Resources = field(default_factory=Resources)
    cache: Path | None = None  # prepared data may lie below it; each machine also looks into its own scratch
    weights: Mapping[str, str] = field(default_factory=dict)  # sha256:... of a file of weights -> its path

    @property
    def device(self) -> str:
        return "cuda" if self.resources.gpus else "cpu"
