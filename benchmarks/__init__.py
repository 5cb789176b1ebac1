"""What is measured: BENCHMARKS names the data sets. A data set is one file and one line here."""

from __future__ import annotations

from benchmarks.benchmark import Benchmark, Sample
from benchmarks.nyud import NYUD
from benchmarks.pascal_context import PascalContext
from benchmarks.rooms import Rooms

__all__ = ["BENCHMARKS", "Benchmark", "Sample"]

BENCHMARKS: dict[str, type[Benchmark]] = {
    "rooms": Rooms,
    "nyud": NYUD,
    "pascal_context": PascalContext,
}
