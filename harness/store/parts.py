"""Into how many parts a cell divides its batches, after the memory of its device ran out. The store keeps it."""

from __future__ import annotations

from typing import NamedTuple

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files


class Parts(NamedTuple):
    training: int = 1  # of each micro-batch of the recipe
    scoring: int = 1  # of what is scored at once


WHOLE = Parts()


def parts_of(store: Store, cell_id: str) -> Parts:
    name = files.parts(cell_id)
    try:
        return Parts(*(max(1, int(word)) for word in store.get_those_there([name]).get(name, b"").split()))
    except (ValueError, TypeError):  # somebody has written into it
        return WHOLE


def put_parts(store: Store, cell_id: str, parts: Parts) -> None:
    store.put(files.parts(cell_id), f"{parts.training} {parts.scoring}\n")
