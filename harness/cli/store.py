"""Commands on a store, which train nothing. Heavy imports stay inside the commands, so that --help is quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtlbench.harness.cli.shell import completion
from mtlbench.harness.cli.usage import (
    AgainstOption,
    DataOption,
    MatricesArgument,
    OutOption,
    StoreOption,
    fail,
    fitted,
    matrix_name,
    names_of,
    open_store,
    opening,
    refuse_unreadable,
    report_folder,
    say_left_out,
)  # fmt: skip

if TYPE_CHECKING:
    from mtlbench.results.report.web.links import Links


def report(
    matrices: MatricesArgument = None,
    url: StoreOption = "runs",
    out: OutOption = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="neurips|cvpr|ieee|WIDTH",
            help="Also write MATRIX/paper/: LaTeX tables, figures and BibTeX for a column of this template, or of this "
            "width, such as 5.5in, 84mm or 241pt.",
        ),
    ] = None,
    against: AgainstOption = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Link rows and cells of the pages to their runs in MLflow at this address, which must answer now.",
        ),
    ] = None,
) -> None:
    """Write tables (Markdown, LaTeX, CSV, HTML) and figures from a store's records. Trains nothing.

    Without a matrix, OUT/index.html shows all matrices of the store side by side. With --against, each page begins with
    what a change of the code moved. With --mlflow http://127.0.0.1:5000, while `mtlbench ui` runs, pages lead to runs.

    Example:  mtlbench report rooms --store runs --out results/rooms --paper neurips
    """
    from mtlbench.results.report.paper.widths import paper as width_of

    try:
        width = None if paper is None else width_of(paper)
    except ValueError as error:
        raise fail(f"--paper: {error}") from None
    opening(f"writing the report of {', '.join(matrices or ['all matrices'])} in {url}", "pandas")
    from rich.console import Console

    from mtlbench.harness.cli.outcome import say_where, show_report
    from mtlbench.results.report.write import report as write

    store = open_store(url)
    names = names_of(store, matrices)
    folder = report_folder(out, store)
    links = {} if mlflow is None else _links(mlflow, store.url, names)
    written = write(store.url, names if matrices else [], folder, width, against, links)
    show_report(written, Console(highlight=False))
    for name in names:
        typer.echo(f"report   {folder / name / 'report.html'}")
        if width is not None:
            typer.echo(f"paper    {folder / name / 'paper'} ({width.text} wide)")
        elif (folder / name / "paper").is_dir():
            typer.echo(f"paper    {folder / name / 'paper'} is of an earlier report; --paper writes it anew")
    say_where(written, url)
    refuse_unreadable(written.unreadable)


def _links(address: str, store: str, names: Sequence[str]) -> dict[str, Links]:
    from mtlbench.harness.tracking.links import links

    try:
        return links(address, store, names)
    except ValueError as error:
        raise fail(f"--mlflow: {error}") from None


def show(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD",
            help="Parts of its id or title that fit one cell only; a whole task set goes first.",
            autocompletion=completion.words_of_cells,
        ),
    ],
    url: StoreOption = "runs",
    matrix: Annotated[str | None, typer.Option(help="A matrix of the store, by name or file: only its cells.")] = None,
) -> None:
    """Show a cell: its configuration, scores or traceback, last losses, costs, the end of its log, and its folder.

    Example:  mtlbench show pad seed 1 --matrix rooms
    """
    from mtlbench.harness.inspect import shown
    from mtlbench.harness.store.cells import find_cell
    from mtlbench.results.records import files

    store = open_store(url)
    left_out: dict[str, str] = {}
    cell_id = find_cell(store, " ".join(words), None if matrix is None else matrix_name(matrix), left_out)
    say_left_out(left_out.values())
    typer.echo(f"{cell_id}: {store.state(cell_id)}\n{store.path(files.cell(cell_id))}\n")
    if store.exists(files.config(cell_id)):
        typer.echo(store.get(files.config(cell_id)).decode(errors="replace"))
    else:
        typer.echo(f"{files.CONFIG} is missing; a run that trains the cell writes it anew\n")
    if store.exists(files.history(cell_id)):
        typer.echo(_losses(files.read_history(store.get(files.history(cell_id))).rows))
    record, failure = store.record(cell_id), store.failure(cell_id)
    if record is not None:
        typer.echo("\n".join(shown.scores(record)))
        typer.echo("\n" + "\n".join(f"{name:20} {text}" for name, text in starmap(_cost, record.cost.items())))
        typer.echo("\n" + fitted("\n".join([*shown.provenance(record), ""])))
    if failure is not None:
        typer.echo(f"attempts: {failure['attempts']}\n{failure['traceback']}")
    if store.exists(files.log(cell_id)):
        lines = store.get(files.log(cell_id)).decode(errors="replace").splitlines()
        typer.echo("\n".join([f"end of {files.LOG}:", *lines[-20:]]))


def rescore(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME", help="Matrices of the store, or cells.", autocompletion=completion.names_or_cells
        ),
    ],
    url: StoreOption = "runs",
    predictions: Annotated[
        bool, typer.Option("--predictions", help="From saved predictions and the data, not from statistics.")
    ] = False,
    data: DataOption = [],
    evaluate: Annotated[
        Literal["native", "network", "published"] | None,
        typer.Option(help="Another rule, with --predictions; gives another cell."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Put the new records into the store.")] = False,
) -> None:
    """Compute the scores of finished cells anew, without a GPU, and say which differ. Trains nothing.

    From the statistics of each image, which every cell keeps, a change of a score's formula can be applied; from saved
    predictions (`mtlbench run --save-predictions`) another metric or another rule of evaluation too.

    Example:  mtlbench rescore rooms --store runs
    """
    opening(f"computing the scores of {', '.join(names)} anew", "torch")
    from contextlib import nullcontext

    from mtlbench.harness.inspect import rescore as again
    from mtlbench.harness.store.cells import find_cell
    from mtlbench.harness.store.lease import Lease

    store = open_store(url)
    if evaluate is not None and not predictions:
        raise fail("--evaluate needs --predictions: statistics are of the maps that were compared")
    cells = again.chosen(store, names, find_cell)
    try:
        folders = again.roots(store, cells, data) if predictions else {}
        changed = 0
        with Lease(store, "rescore") if write else nullcontext():
            for cell_id in cells:
                found = (
                    again.from_predictions(store, cell_id, folders[cell_id], evaluate)
                    if predictions
                    else again.from_statistics(store, cell_id)
                )
                lines = [f"{cell_id}:" if found.differences else f"{cell_id}: unchanged", *found.differences]
                if found.differences and found.rounded:
                    lines.append(f"({', '.join(found.rounded)}: from predictions of float16; last digits are rounding)")
                typer.echo("\n  ".join(lines))
                changed += bool(found.differences)
                if write and found.differences:
                    again.write(store, found)
    except (ValueError, FileExistsError) as error:
        raise fail(str(error)) from None
    then = "written" if write else "not written; --write puts the new records into the store"
    typer.echo(f"{changed} of {len(cells)} finished cells differ" + (f": {then}" if changed else ""))


def gc_(
    url: StoreOption = "runs",
    predictions: Annotated[bool, typer.Option("--predictions", help="Saved predictions too.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="Cells that no matrix of the store needs too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
) -> None:
    """Say what a store can do without, with its size; remove it with --yes.

    That is: checkpoints of finished cells, what was set aside as corrupt, and what was half-written.

    Example:  mtlbench gc --store runs --predictions --yes
    """
    from contextlib import nullcontext

    from mtlbench.harness.store import cleanup
    from mtlbench.harness.store.lease import Lease

    store = open_store(url)
    if not store.cells():
        raise fail(f"{store.url}: there is no cell in this store")
    with Lease(store, "gc") if yes else nullcontext():
        found = cleanup.find(store, predictions=predictions, orphans=orphans)
        for leftover in found:
            typer.echo(f"{_bytes(leftover.size):>10}  {leftover.name}  ({leftover.reason})")
        if yes:
            cleanup.remove(store, found)
    total = _bytes(sum(leftover.size for leftover in found))
    then = "removed" if yes else "would be removed; --yes removes it"
    typer.echo(f"{total} in {len(found)} places {then}" if found else "nothing to remove")


def predict(
    cell: Annotated[str, typer.Argument(help="Words of a finished cell's title or id that fit one cell only.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Image files.")] = None,
    url: StoreOption = "runs",
    out: Annotated[Path, typer.Option(help="Folder for the predictions.")] = Path("predictions"),
    test: Annotated[list[int], typer.Option(metavar="N", help="Image N of the test split, from 0; repeatable.")] = [],
    data: DataOption = [],
) -> None:
    """Predict all tasks of a cell for images of yours: a sheet (PNG, PDF) to look at and arrays (npz) for each image.

    With --test, images of the benchmark's own test split: each prediction stands between its label and its error.

    A cell with `resampling: cubic` needs images of about the size that it was trained on: larger ones become grainy.

    Example:  mtlbench predict mti_net-semseg-depth-s0 kitchen.jpg --out predictions
    """
    if bool(images) == bool(test):
        raise fail("give image files, or places of test images by --test N; one of both")
    from mtlbench.harness.inspect.requests.predictions import ENDINGS, require_images, require_places_of
    from mtlbench.harness.store.cells import find_cell

    store = open_store(url)
    cell_id = find_cell(store, cell)
    record = store.record(cell_id)
    if record is None:
        raise fail(f"{cell_id} is {store.state(cell_id)}: only a finished cell has weights")
    try:
        require_images(images or [], out)
        require_places_of(record, test)
        count = len(images or test)
        opening(f"predicting for {count} image{'s' if count > 1 else ''}", "torch")
        from mtlbench.harness.inspect import predict as inside
        from mtlbench.harness.inspect.rescore import roots

        if images:
            made = inside.predict(store, cell_id, images, out)
        else:
            made = inside.predict_test(store, cell_id, test, roots(store, [cell_id], data)[cell_id], out)
        for path in made:
            typer.echo("\n".join(str(path.with_suffix(f".{ending}")) for ending in ENDINGS))
    except ValueError as error:
        raise fail(str(error)) from None


def _losses(events: Sequence[Mapping[str, Any]]) -> str:
    """The last losses of a history: the sum, and each task and term."""
    last = {str(event["name"]).removeprefix("train/"): event for event in events if "loss" in str(event["name"])}
    lines = [
        f"  {name:26} {'undefined' if event['value'] is None else format(event['value'], '.4g'):>9}"
        f"  step {event['step']:,}, epoch {event['epoch']:,}"
        for name, event in last.items()
    ]
    return "\n".join(["last losses:", *lines, ""]) if lines else "no loss was written yet\n"


def _cost(name: str, value: float) -> tuple[str, str]:
    """The name of a cost without its unit, and its value with a unit."""
    from mtlbench.harness.driver.bars import duration

    if name.endswith("_bytes"):
        return name.removesuffix("_bytes").replace("_", " "), _bytes(value)
    if name == "seconds_per_step":
        return "a step", f"{1e3 * value:,.1f} ms"
    if name.endswith("_seconds"):
        return name.removesuffix("_seconds").replace("_", " "), duration(value)
    scaled = {"macs": ("multiply-accumulates", f"{value / 1e9:,.2f} G")}
    return scaled.get(name, (name.replace("_", " "), f"{value:,.0f}"))


def _bytes(size: float) -> str:
    """A size as people read it: 1.2 MB."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
