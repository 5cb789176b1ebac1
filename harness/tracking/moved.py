"""A store that was moved or copied: MLflow's database in it still says where it was.

The database holds absolute addresses: a tag of every experiment names the store, and experiments and runs know the
folders of their artifacts. MLflow has no call that changes them, so they are changed in the database.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.connection import default_uri
from mtlbench.results.records import files


def adopt(uri: str, url: str) -> None:
    """Where `uri` is the database in the store at `url`: make it say where the store is now.

    What another store tracks into this database stays as it is: experiments of matrices that this store does not have,
    and those of a store that is still where they say and has no database of its own.
    """
    store = Store(url)
    database = Path(store.path(files.DATABASE))
    if not store.local or uri != default_uri(url) or not database.is_file():
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        if not _has_tables(connection):
            return
        found = connection.execute(
            "SELECT experiment_id, name, value FROM experiment_tags JOIN experiments USING (experiment_id)"
            " WHERE key = 'store'"
        ).fetchall()
        for experiment, name, where in found:
            ours = where != store.url and store.exists(files.matrix(name))
            if ours and not _tracks_elsewhere(Path(where)):
                _move(connection, experiment, where, store.url)


def _has_tables(connection: sqlite3.Connection) -> bool:
    """Whether MLflow has made its tables; a run that is killed early leaves an empty file."""
    wanted = {"experiments", "experiment_tags", "runs"}
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return wanted <= found


def _tracks_elsewhere(folder: Path) -> bool:
    """Whether there is a store in a folder that has no database of its own.

    A store with a database is the one that this store was copied from, or this store itself by another path.
    """
    return (folder / files.MATRICES).is_dir() and not (folder / files.DATABASE).exists()


def _move(connection: sqlite3.Connection, experiment: int, old: str, new: str) -> None:
    connection.execute(
        "UPDATE experiment_tags SET value = ? WHERE key = 'store' AND experiment_id = ?", (new, experiment)
    )
    before, after = (f"{Path(folder).as_uri()}/{files.ARTIFACTS}/" for folder in (old, new))
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
            f" WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
            (after, len(before) + 1, experiment, len(before), before),
        )
