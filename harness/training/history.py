"""The history of a cell: losses, learning rates and validation scores by step."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mtlbench.harness.store.store import Store


class History:
    """history.jsonl: {"step", "epoch", "name", "value"} a line. Rows after the step resumed from are dropped.

    A file with lines that cannot be read is kept aside, and `warnings` says so: a gap in a curve is no reason to stop.
    """

    def __init__(self, store: Store, cell_id: str, step: int, *, writes: bool) -> None:
        self.store, self.name, self.writes = store, f"{store.folder(cell_id)}/history.jsonl", writes
        text = store.get(self.name) if writes and step and store.exists(self.name) else b""
        steps = [(line, _step(line)) for line in text.decode(errors="replace").splitlines()]
        self.lines = [line for line, its_step in steps if its_step is not None and its_step <= step]
        unreadable = sum(its_step is None for _, its_step in steps)
        self.warnings: list[str] = []
        if unreadable:
            aside = store.set_aside(self.name)
            self.warnings.append(f"history without {unreadable} lines that cannot be read; the file is kept as {aside}")

    def add(self, step: int, epoch: int, values: Mapping[str, float | None]) -> None:
        """Values by name; the file is put whole, since an object store cannot append."""
        self.lines += [
            json.dumps({"step": step, "epoch": epoch, "name": name, "value": value}) for name, value in values.items()
        ]
        if self.writes:
            self.store.put(self.name, "".join(line + "\n" for line in self.lines))


def _step(line: str) -> float | None:
    """Of a line of history.jsonl; None where it is none."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    step = row.get("step") if isinstance(row, dict) and "\ufffd" not in line else None
    return step if isinstance(step, int | float) else None
