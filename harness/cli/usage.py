"""How commands refuse and stop: a line on stderr and an exit status."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import typer

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
WRONG = 2  # what was asked for makes no sense, and nothing was started


@contextmanager
def terminable() -> Iterator[Callable[[], int]]:
    """SIGTERM, as from SLURM, `timeout` or `docker stop`, ends what is in here as Ctrl-C does. For the main thread.

    Yields what says the exit status of a KeyboardInterrupt: Ray passes on no exception of another class.
    """
    status = INTERRUPTED

    def terminate(*_: object) -> None:
        nonlocal status
        status = TERMINATED
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, terminate)
    try:
        yield lambda: status
    finally:
        signal.signal(signal.SIGTERM, earlier)


def fail(message: str) -> typer.Exit:
    typer.echo(f"mtlbench: {message}", err=True)
    return typer.Exit(WRONG)


def one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    """Errors of the user's become their message and exit status 2; anything else is ours and keeps its traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            if isinstance(error, _of_the_user()):
                raise fail(_without_number(error)) from None
            raise

    return guarded


def _of_the_user() -> tuple[type[Exception], ...]:
    """Imported once something has failed: a command that only reads records never waits for torch."""
    from mtlbench.harness.data.places import NotReady
    from mtlbench.harness.matrix.problems import MatrixError
    from mtlbench.harness.store.store import StoreError
    from mtlbench.results.records.record import CorruptRecord, NewerRecord

    return MatrixError, NotReady, StoreError, CorruptRecord, NewerRecord, OSError


def _without_number(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return str(error)
