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
from mtlbench.results.records.addresses import public

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# MLflow sends no telemetry and prints nothing between the lines of the driver's table. A server that is down costs
# seconds, and not the ten minutes that MLflow would wait.
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
    """Raise ValueError where nothing can be tracked to `uri`, in one line that says what to give instead.

    A server or a shared database must answer. An sqlite file need not exist yet, but its folder must be writable.
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
    unusable = errors()
    try:
        if scheme in DATABASES:
            _connect(uri)
        client(uri).search_experiments(max_results=1)
    except ImportError as error:
        way = "install mtlbench[postgres]" if scheme == "postgresql" else "install the driver of that database"
        raise ValueError(f"tracking URI {shown} needs {error.name}; {way}") from error
    except unusable as error:
        raise ValueError(f"tracking URI {shown} does not answer: {reason(error, uri)}") from error


def _connect(uri: str) -> None:
    """Connect to a database once. MLflow tries ten times, which takes minutes where a password is wrong."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def absent(uri: str) -> bool:
    """Whether `uri` is an sqlite file that does not exist, which MLflow would make."""
    return urlsplit(uri).scheme.split("+")[0] == "sqlite" and not _sqlite_file(uri).exists()


def _sqlite_file(uri: str) -> Path:
    return Path(uri.partition("://")[2].removeprefix("/"))


def _check_sqlite(uri: str) -> None:
    path = _sqlite_file(uri)
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
    """Import MLflow without its messages. This takes a second, so only code that speaks to MLflow calls it."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow 3.17 maps a relation in a way that SQLAlchemy 2.1 advises against.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
    import mlflow

    # They print a line for every migration of a new database, and the traceback of every error that they raise too.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # A line for each try at a server that is down. The error at the end says it once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return mlflow


def client(uri: str) -> MlflowClient:
    client: MlflowClient = _mlflow().MlflowClient(uri)
    return client


def errors() -> tuple[type[Exception], ...]:
    """The errors of MLflow, and those of libraries below that MLflow lets through."""
    _mlflow()
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError


def reason(error: Exception, uri: str) -> str:
    """An error's first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return public(lines[0], uri)[:300]
