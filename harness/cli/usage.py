"""What the commands share: options, how a store is opened, and how commands refuse and stop."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtlbench.harness.cli.shell import completion
from mtlbench.results.records.addresses import holds_secret, refusal

if TYPE_CHECKING:
    from mtlbench.harness.matrix.text.written import Written
    from mtlbench.harness.store.store import Store


MatrixArgument = Annotated[
    str,
    typer.Argument(
        metavar="MATRIX",
        help="A YAML file, or the name of an embedded matrix (see `list`).",
        autocompletion=completion.matrix_names,
    ),
]
HeldMatrixArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MATRIX",
        help="As for `run`; default: what the store holds.",
        autocompletion=completion.embedded_or_in_store,
    ),
]
MatricesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MATRIX",
        help="Names or files of matrices in the store; default: all.",
        autocompletion=completion.names_in_store,
    ),
]


def _without_password(url: str | None) -> str | None:
    """Refuse an address with a password before any line shows it."""
    if url is not None and holds_secret(url):
        raise fail(f"--{refusal(url)}")
    return url


StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        help="The folder of records, or an fsspec URL without a password.",
        envvar="MTLBENCH_STORE",
        callback=_without_password,
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="OLD_STORE",
        help="Also say what moved since this store of an older commit; cells are paired by their ids.",
        callback=_without_password,
    ),
]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change the matrix, as train.epochs=10; repeatable.")
]
DataOption = Annotated[
    list[str], typer.Option("--data", metavar="NAME=PATH", help="Where a benchmark's data lie; repeatable.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="The head of a Ray cluster, or `auto`; default: this machine alone."),
]
AutoscaledOption = Annotated[
    bool, typer.Option("--autoscaled", help="The cluster adds nodes for cells that wait; it may have none now.")
]
OutOption = Annotated[Path | None, typer.Option(help="Folder for tables and figures; default: STORE/report.")]
TrackingOption = Annotated[
    str | None, typer.Option(help="An MLflow server; default: sqlite in the store.", envvar="MLFLOW_TRACKING_URI")
]

INTERRUPTED = 128 + signal.SIGINT
ERRORS_OF_THE_USER = (  # module and class; OSError is one too
    ("mtlbench.harness.data.places", "NotReady"),
    ("mtlbench.harness.matrix.text.written", "MatrixError"),
    ("mtlbench.results.records.remote", "StoreError"),
    ("mtlbench.results.records.record", "CorruptRecord"),
    ("mtlbench.results.records.record", "NewerRecord"),
    ("mtlbench.results.questions.moved", "NothingInCommon"),
)
WRONG = 2  # the request makes no sense, and nothing was started


@contextmanager
def terminable(*others: signal.Signals) -> Iterator[Callable[[], int]]:
    """SIGTERM, as from SLURM, `timeout` or `docker stop`, ends the block as Ctrl-C does. Use it in the main thread.

    Yields a function that returns the exit status of a KeyboardInterrupt: Ray passes on no other class of exception.

    others: signals that end the block too, each unless the process was started to ignore it, as by nohup.
    """
    status = INTERRUPTED

    def terminate(number: int, _: object) -> None:
        nonlocal status
        status = 128 + number
        raise KeyboardInterrupt

    heeded = [signal.SIGTERM, *(each for each in others if signal.getsignal(each) is not signal.SIG_IGN)]
    earlier = {each: signal.signal(each, terminate) for each in heeded}
    try:
        yield lambda: status
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)


LIBRARIES = {"torch": "PyTorch", "scipy": "SciPy", "mlflow": "MLflow", "matplotlib": "Matplotlib", "pandas": "pandas"}


def opening(doing: str, library: str, *, err: bool = True) -> None:
    """Say at once what a command does, before it waits for a library. Where the library is here, nobody waits.

    err: on standard error, because standard output is data.
    """
    if library not in sys.modules:
        typer.echo(f"{doing}; loading {LIBRARIES[library]}", err=err)


def terminal_width(*, err: bool = False) -> int | None:
    """Characters of a line of the terminal; None for a file or a pipe, which get lines whole.

    err: of standard error.
    """
    return shutil.get_terminal_size().columns if (sys.stderr if err else sys.stdout).isatty() else None


def fitted(text: str, width: int | None = None, indent: int = 2) -> str:
    """A text whose lines end between words. width: default: that of the terminal; a file or a pipe gets lines whole.

    indent: spaces before the rest of a line that goes on.
    """
    room = width or terminal_width()
    if room is None:
        return text
    fill = partial(
        textwrap.fill, width=room, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(fill(line) if len(line) > room else line for line in text.split("\n"))


def fail(message: str) -> typer.Exit:
    said = f"mtlbench: {message}"
    width = terminal_width(err=True)
    typer.echo(said if width is None else fitted(said, width), err=True)
    return typer.Exit(WRONG)


def one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    """Mistakes of the user become a message and exit status 2. Any other error is our fault and keeps its traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except Exception as error:
            if _is_of_the_user(error):
                raise fail(_without_number(error)) from None
            raise

    return guarded


def _is_of_the_user(error: Exception) -> bool:
    """Whether an error says what a user did wrong.

    Only modules that are imported already can have raised it. So none is imported to ask, and a command that only reads
    records never waits for torch.
    """
    imported = [(sys.modules[module], name) for module, name in ERRORS_OF_THE_USER if module in sys.modules]
    return isinstance(error, (OSError, *(getattr(module, name) for module, name in imported)))


def _without_number(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return str(error)


def open_store(url: str) -> Store:
    from mtlbench.harness.store.store import Store

    store = Store(url)
    if store.local and Path(store.root).is_file():
        raise fail(f"--store {url}: it is a file; give a folder")
    return store


def refuse_unreadable(lines: Iterable[str]) -> None:
    """End with status 1 after a line for each record that cannot be read. The other records have been used by then.

    lines: each says the way out.
    """
    said = [f"mtlbench: left out: {line}" for line in lines]
    if said:
        typer.echo("\n".join(said), err=True)
        raise typer.Exit(1)


def say_left_out(lines: Iterable[str]) -> None:
    """A line on standard error for each file that is left out because it cannot be read."""
    for line in lines:
        typer.echo(f"mtlbench: {line}; left out", err=True)


def matrix_name(given: str) -> str:
    """The name under which a store keeps a matrix that is given as for `run`: by a name, or by a file."""
    if not Path(given).is_file():
        return given
    from mtlbench.harness.matrix.text.written import load

    return str(load(given).content["name"])


def names_of(store: Store, given: Sequence[str] | None) -> list[str]:
    """The names of the given matrices, or of all that a store holds. Refuses a store without one."""
    from mtlbench.results.records.reading import matrices

    names = [matrix_name(each) for each in given or matrices(store.url)]
    if not names:
        raise fail(f"{store.url}: no matrix was run into this store; check --store")
    return names


def written_matrix(matrix: str, overrides: Sequence[str]) -> Written:
    """A matrix as it is written. One with a slip of the pen is refused here.

    Slips are said before anything waits for torch, and all other mistakes after them.
    """
    from mtlbench.harness.matrix.text.first_look import first_look
    from mtlbench.harness.matrix.text.written import MatrixError, load

    written = load(matrix, overrides)
    try:
        return first_look(written)
    except MatrixError as error:
        slips = error
    typer.echo(f"mtlbench: {slips}", err=True)
    opening("looking for more mistakes", "torch")
    from mtlbench.harness.matrix.file import check

    try:
        check(written.content, written.path)
    except MatrixError as error:
        more = [line for line in error.problems if line not in slips.problems]
        if more:
            raise fail("\n  ".join([f"{written.path}: {len(more)} more", *more])) from None
    raise fail("no other mistake was found")


def at_a_glance(written: Written) -> str:
    """What a matrix compares, as far as it is known without torch: "rooms: 6 methods, 10 seeds, on rooms"."""
    from mtlbench.harness.matrix.entries import in_full

    content = in_full(written.content)
    benchmarks = ", ".join(entry["name"] for entry in content["benchmarks"])
    counts = (len(content["methods"]), "method"), (len(content.get("seeds") or [0]), "seed")
    said = ", ".join(f"{count} {what}" + ("s" if count != 1 else "") for count, what in counts)
    return f"{content['name']}: {said}, on {benchmarks}"


def report_folder(given: Path | None, store: Store) -> Path:
    """The folder of a report. A given folder that cannot be used is refused before a run, and not after it."""
    if given is None:
        from mtlbench.results.records import files

        return Path(store.url) / files.REPORT if store.local else Path(files.REPORT)
    existing = next(folder for folder in (given.absolute(), *given.absolute().parents) if os.path.lexists(folder))
    if not existing.is_dir():
        raise fail(f"--out {given}: {existing} is no folder; give another")
    if not os.access(existing, os.W_OK):
        raise fail(f"--out {given}: {existing} cannot be written to; give another folder")
    return given
