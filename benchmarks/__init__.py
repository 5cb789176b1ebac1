"""Benchmarks: what is measured. BENCHMARKS names the data sets; each has one file, and one line here."""

from __future__ import annotations

from mtlbench.benchmarks.benchmark import Benchmark, Sample
from mtlbench.benchmarks.nyud import NYUD
from mtlbench.benchmarks.nyuv2_13 import NYUv2With13Classes
from mtlbench.benchmarks.pascal_context import PascalContext
from mtlbench.benchmarks.rooms import Rooms

__all__ = ["BENCHMARKS", "Benchmark", "Sample"]

BENCHMARKS: dict[str, type[Benchmark]] = {
    "rooms": Rooms,
    "nyud": NYUD,
    "nyuv2_13": NYUv2With13Classes,
    "pascal_context": PascalContext,
}
