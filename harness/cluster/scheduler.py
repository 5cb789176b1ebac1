"""What a run needs of a scheduler, which places cells on machines. `schedule.OnRay` is one; tests hand in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from mtlbench.harness.matrix.cell import Cell
from mtlbench.harness.training.environment import Environment


class Cluster(NamedTuple):
    """Resources by kind: of all nodes together, and of each."""

    total: dict[str, float]
    nodes: list[dict[str, float]]
    grows: bool = False  # whether nodes may be added when cells wait


class Board(Protocol):
    """Is told about the progress of every cell."""

    def started(self, cell_id: str) -> None: ...
    def progressed(self, cell_id: str, progress: dict[str, Any]) -> None: ...
    def scoring(self, cell_id: str, done: int, images: int, split: str = "test") -> None: ...
    def retried(self, cell_id: str, error: str) -> None: ...
    def waits(self, what: str) -> None: ...
    def put_back(self, cell_id: str, why: str) -> None: ...
    def ended(self, cell_id: str) -> None: ...


class Gone(RuntimeError):
    """The scheduler cannot go on; the message says why. Cells without a record are left."""


class Scheduler(Protocol):
    """Places cells on machines. It decides nothing: a cell is done when the store has its record."""

    def join(self) -> Cluster:
        """Begin. Raises ConnectionError, naming the address, where there is no cluster."""

    def ask(self, environment: Environment, cells: Sequence[Cell], sign: str) -> list[str]:
        """A line for everything that keeps a machine from running cells; [] where all machines can.

        cells: those that are to run. sign: a file that is in the store.
        """

    def run(self, ready: Callable[[], Sequence[Cell]], environment: Environment, board: Board) -> None:
        """Run what `ready` returns until it returns nothing new; it is asked again after each cell that ends.

        Raises Gone where it cannot go on, and StoreError where the store cannot be used.
        """

    def leave(self) -> None:
        """End, whatever has happened."""
