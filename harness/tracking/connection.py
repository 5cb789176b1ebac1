"""The way to MLflow: which addresses it can have, and what it raises."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# Nobody is told that a run took place, nothing is printed between the lines of the driver's table, and a server that
# is down costs seconds and not the ten minutes of MLflow's own patience.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def default_uri(store: str) -> str:
    """The database beside a store on a local disk: ``sqlite:////abs/store/mlflow.db``.

    Raises ValueError for a store that is not on a local disk.
    """
    local = Store(store)
    if not local.local:
        raise ValueError(
            f"store {store!r} is not on a local disk, where MLflow's database could lie beside it; "
            f"give --tracking-uri sqlite:////absolute/path/{files.DATABASE} or the http:// address of an MLflow server"
        )
    return f"sqlite:///{local.root}/{files.DATABASE}"


def check(uri: str) -> None:
    """Raise ValueError, in one line that says what to give instead, where `uri` is no place to track to.

    A server and a shared database are asked; an sqlite file need not exist yet, but its folder must, or be makeable.
    """
    scheme, shown = urlsplit(uri).scheme.split("+")[0], repr(public(uri, uri))
    if scheme == "sqlite":
        _check_sqlite(uri)
        return
    if scheme not in ("http", "https", *DATABASES):
        raise ValueError(
            f"tracking URI {shown}: unknown kind; give sqlite:////absolute/path/{files.DATABASE}, the http:// or "
            "https:// address of an MLflow server, or a postgresql:// or mysql:// database"
        )
    unusable: tuple[type[Exception], ...] = (*errors(), ImportError)  # a database driver may be missing
    try:
        client(uri).search_experiments(max_results=1)
    except unusable as error:
        raise ValueError(f"tracking URI {shown} does not answer: {reason(error, uri)}") from error


def _check_sqlite(uri: str) -> None:
    path = Path(uri.partition("://")[2].removeprefix("/"))
    if not path.is_absolute():
        raise ValueError(f"tracking URI {uri!r}: the path must be absolute: sqlite:///{path.absolute()}")
    if path.is_dir():
        raise ValueError(f"tracking URI {uri!r}: {path} is a folder")
    if path.exists():
        with path.open("rb") as file:
            if file.read(16) not in (b"", b"SQLite format 3\0"):
                raise ValueError(f"tracking URI {uri!r}: {path} is not an sqlite database")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"tracking URI {uri!r}: {folder} is not a folder that can be written to")


def _mlflow() -> ModuleType:
    """Imports MLflow, quietly; it takes a second, so only what speaks to it calls this."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow 3.17 maps a relation in a way that SQLAlchemy 2.1 advises against.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
    import mlflow

    for name in ("mlflow.store.db.utils", "alembic"):  # every migration of a new database is an INFO line
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def client(uri: str) -> MlflowClient:
    client: MlflowClient = _mlflow().MlflowClient(uri)
    return client


def errors() -> tuple[type[Exception], ...]:
    """What MLflow raises when it cannot do its work: its own errors, and those it lets through from below."""
    _mlflow()
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError


def public(text: str, uri: str) -> str:
    """A text as it may be shown: without the password of the tracking URI."""
    password = urlsplit(uri).password
    return text.replace(f":{password}@", ":***@") if password else text


def reason(error: Exception, uri: str) -> str:
    """An error's first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return public(lines[0], uri)[:300]
