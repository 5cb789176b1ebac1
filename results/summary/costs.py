"""The cost of a row, and the devices that the cost was measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from mtlbench.results.records.record import Record
from mtlbench.results.summary.runs import Row, Run

COSTS = ("parameters", "macs", "seconds_per_step", "train_seconds")


def costs(row: Row, records: Mapping[str, Record]) -> dict[str, float]:
    """The cost of a row: a sum over the cells of each run, and a mean over the finished runs.

    The training time includes the cells from which the cells of a run are derived.
    """
    runs = [run for run in row.runs.values() if run.status == "finished"]
    if not runs:
        return dict.fromkeys(COSTS, math.nan)
    return {name: float(np.mean([_of_run(run, name, records) for run in runs])) for name in COSTS}


def before_the_start(row: Row, records: Mapping[str, Record]) -> float:
    """The seconds of a row's training time that trained the networks from which its own start: a mean over its runs."""
    runs = [run for run in row.runs.values() if run.status == "finished"]
    seconds = []
    for run in runs:
        initial = [record.provenance.get("initial_weights") or {} for record in run.records.values()]
        cells = {entry["cell"] for each in initial for entry in each.values()}
        seconds.append(math.fsum(records[i].cost.get("train_seconds", math.nan) for i in cells if i in records))
    return float(np.mean(seconds)) if seconds else 0.0


def devices(row: Row) -> tuple[str, ...]:
    """The devices that the finished runs of a row trained on, sorted."""
    records = [record for run in row.runs.values() if run.status == "finished" for record in run.records.values()]
    return tuple(sorted({str(record.provenance["device"]) for record in records if record.provenance.get("device")}))


def _of_run(run: Run, name: str, records: Mapping[str, Record]) -> float:
    cells = set(run.records)
    if name == "train_seconds":
        waiting = list(cells)
        while waiting:
            record = records.get(waiting.pop())
            if record is None:
                return math.nan
            fresh = set(record.derived_from) - cells
            cells |= fresh
            waiting += sorted(fresh)
    found = [records[cell_id].cost.get(name, math.nan) for cell_id in sorted(cells) if cell_id in records]
    return math.fsum(found) if len(found) == len(cells) else math.nan
