"""The history of a cell: losses, learning rates and validation scores by step."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files


class History:
    """The history of a cell that is trained. Events after the step that training resumes from are dropped.

    A file with unreadable lines is set aside, and `warnings` says so. Training goes on with a gap in the curve.
    """

    def __init__(self, store: Store, cell_id: str, step: int, *, writes: bool) -> None:
        self.store, self.name, self.writes = store, files.history(cell_id), writes
        text = store.get(self.name) if writes and step and store.exists(self.name) else b""
        found = files.read_history(text)
        self.lines = [json.dumps(row) for row in found.rows if row["step"] <= step]
        self.warnings: list[str] = []
        if found.unreadable:
            aside = store.set_aside(self.name)
            self.warnings.append(
                f"history without {len(found.unreadable)} lines that cannot be read; the file is kept as {aside}"
            )

    def add(self, step: int, epoch: int, values: Mapping[str, float | None]) -> None:
        """Add values by name. The whole file is written again, because an object store cannot append."""
        self.lines += [
            json.dumps({"step": step, "epoch": epoch, "name": name, "value": value}) for name, value in values.items()
        ]
        if self.writes:
            self.store.put(self.name, "".join(line + "\n" for line in self.lines))
