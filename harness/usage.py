"""How commands refuse: one line on stderr and exit status 2."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

INTERRUPTED = 130
WRONG = 2  # what was asked for makes no sense, and nothing was started


def fail(message: str) -> typer.Exit:
    typer.echo(f"mtlbench: {message}", err=True)
    return typer.Exit(WRONG)


def one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    """Errors of the user's become their message and exit status 2; anything else is ours and keeps its traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        from harness.matrix import MatrixError
        from harness.preflight import NotReady
        from harness.store import StoreError
        from results.record import CorruptRecord, NewerRecord

        try:
            return command(*args, **kwargs)
        except (MatrixError, NotReady, StoreError, CorruptRecord, NewerRecord, OSError) as error:
            raise fail(str(error)) from None

    return guarded
