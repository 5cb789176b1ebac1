"""Files that a store does not need any more. They are found and shown with their sizes before anything is removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.reading import matrices, read


class Leftover(NamedTuple):
    name: str  # of a file or a folder, relative to the store
    size: int  # bytes
    reason: str


def find(store: Store, *, predictions: bool = False, orphans: bool = False) -> list[Leftover]:
    """Checkpoints and unscored images of finished cells, what is corrupt or half-written, sorted by name.

    predictions: also the saved predictions of finished cells. orphans: also cells and constants that no matrix needs.
    Raises CorruptRecord for a matrix that cannot be read.
    """
    sizes = {path.removeprefix(f"{store.root}/"): size for path, size in _files(store)}
    finished = {cell_id for cell_id in store.cells() if files.record(cell_id) in sizes}
    needed = _needed(store) if orphans else None
    found: dict[str, Leftover] = {}
    for name, size in sizes.items():
        verdict = _verdict(name.split("/"), finished, needed, predictions)
        if verdict is not None:
            whole, reason = verdict
            known = found.get(whole)
            found[whole] = Leftover(whole, size + (known.size if known else 0), reason)
    return [found[name] for name in sorted(found)]


def remove(store: Store, leftovers: Iterable[Leftover]) -> None:
    """Remove the files. The store must be leased, because a driver may still be writing them."""
    for leftover in leftovers:
        store.remove(leftover.name)


def _verdict(
    parts: list[str], finished: set[str], needed: set[str] | None, predictions: bool
) -> tuple[str, str] | None:
    """The file or folder to remove because of a file, and the reason; None where the file stays."""
    if needed is not None and parts[0] == files.CELLS and parts[1] not in needed:
        return "/".join(parts[:2]), "a cell of no matrix"
    if needed is not None and parts[0] == files.CONSTANTS and "/".join(parts) not in needed:
        return "/".join(parts[:2]), "a constant prediction of no matrix"
    if parts[0] == files.LEASE:
        return None  # drivers write there at any time, and remove what is left of the dead
    for depth, part in enumerate(parts, start=1):
        if files.ASIDE in part:
            return "/".join(parts[:depth]), "set aside because it was corrupt or of other code"
    if parts[-1].endswith(files.UNFINISHED) or parts[-1].startswith(files.PROBE):
        return "/".join(parts), "half-written when a process was killed"
    if parts[0] != files.CELLS or parts[1] not in finished or len(parts) < 3:
        return None
    whole = "/".join(parts[:3])
    if parts[2] == files.CHECKPOINTS:
        return whole, "checkpoints of a finished cell"
    if parts[2] in (files.TO_SCORE, files.TRAINED):
        return whole, "what the scores of a finished cell were computed from"
    if predictions and parts[2] == files.PREDICTIONS:
        return whole, "saved predictions"
    return None


def _files(store: Store) -> list[tuple[str, int]]:
    if not store.fs.isdir(store.root):
        return []
    return [(path, int(info["size"])) for path, info in store.fs.find(store.root, detail=True).items()]


def _needed(store: Store) -> set[str]:
    """Ids of the cells of all matrices and of their parents, and the files of constants."""
    found: set[str] = set()
    for name in matrices(store.url):
        results = read(store.url, name)
        found |= set(results.manifest.ids) | set(results.records)
        found |= {files.constant(name) for name in results.manifest.constants.values()}
    return found
