"""`mtlbench data`: check and prepare copies of data sets. Heavy imports stay inside the commands that need them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtlbench.harness.cli.shell.commands import Command
from mtlbench.harness.cli.usage import INTERRUPTED, fail, fitted, one_line, opening

if TYPE_CHECKING:
    from mtlbench.benchmarks.copies.evidence import Finding
    from mtlbench.benchmarks.copies.verify import Report
    from mtlbench.harness.data.copy import Copy

app = typer.Typer(
    help="Check and prepare copies of data sets.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A benchmark (see `list`), or package.module:Name.")]
PathOption = Annotated[Path | None, typer.Option("--data", metavar="PATH", help="The folder of the copy.")]
OptionOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Of the benchmark, as layout=NYUDv2; repeatable.")
]
TaskOption = Annotated[
    list[str], typer.Option("--task", help="A task whose labels are needed; repeatable. Default: all the layout has.")
]


@app.command(cls=Command)
@one_line
def verify(
    name: NameArgument,
    data: PathOption = None,
    options: OptionOption = [],
    tasks: TaskOption = [],
    as_json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Read every file of a copy and say what is wrong.

    Shown are counts, sizes, types, ranges, invalid pixels, twins, and what cannot be read.
    The exit status is 1 when something is wrong, and 2 when there is nothing to read.

    Example:  mtlbench data verify nyud --data /data/NYUD_MT
    """
    opening(f"reading every file of {name}", "torch")
    from mtlbench.benchmarks.copies.verify import verify as run_verify

    try:
        with _bars() as told:
            copy = _copy(name, data, options, told)
            report = run_verify(copy.benchmark, copy.root, told, tasks or None)
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    typer.echo(json.dumps(asdict(report), indent=1, allow_nan=False) if as_json else verification(report))
    if report.problems:
        raise typer.Exit(1)


@app.command(cls=Command)
@one_line
def doctor(
    name: NameArgument,
    data: PathOption = None,
    options: OptionOption = [],
    images: Annotated[int, typer.Option(min=1, help="Images that are looked at, evenly spaced over all splits.")] = 24,
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels; default: NYUD-v2's camera.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Look for wrong conventions in a copy.

    These are the frame of the normals, the unit and sense of depth, class ids, and swapped sides.
    The exit status is 1 when one is wrong. What the pictures do not tell is called undecided.

    Example:  mtlbench data doctor nyud --data /data/NYUD_MT
    """
    opening(f"looking at up to {images} images of {name}", "torch")
    from mtlbench.benchmarks.copies.doctor import examine
    from mtlbench.harness.data.prepare import available

    try:
        with _bars() as told:
            copy = _copy(name, data, options, told)
            findings, looked_at = examine(copy.benchmark, copy.root, available(copy)[0], images, focal)
    except (ValueError, OSError) as error:
        raise fail(f"{error}\n`mtlbench data verify` lists everything that cannot be read") from None
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        typer.echo(f"{diagnosis(findings)}\nimages looked at: {looked_at}")
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(1)


@app.command(cls=Command)
@one_line
def prepare(
    name: NameArgument,
    data: PathOption = None,
    options: OptionOption = [],
    tasks: TaskOption = [],
    cache: Annotated[
        Path | None, typer.Option(envvar="MTLBENCH_CACHE", help="Where to keep it; default: ~/.cache/mtlbench.")
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option(help="A disk of this node, as $TMPDIR, to copy it to as well.")
    ] = None,
) -> None:
    """Decode every image and label of a copy once.

    They are kept in memory-mapped files that all processes of a node share.
    Training reads there when it finds it, with $MTLBENCH_CACHE set as here, and reads $MTLBENCH_SCRATCH and $TMPDIR
    first; samples are the same either way. A killed run keeps the splits that it finished and starts the one it was at
    anew. With --task, files of other tasks are not read; a later run with more tasks makes the splits anew with all of
    them. Rooms are made by every command that needs them; here they can be made beforehand.

    Example:  mtlbench data prepare nyud --data /data/NYUD_MT --task semseg --task depth
    """
    opening(f"preparing {name}", "torch")
    from mtlbench.harness.data.places import named_copy
    from mtlbench.harness.data.prepare import prepare as run_prepare
    from mtlbench.harness.matrix.cell import slug
    from mtlbench.harness.store.kept import cache_folder

    try:
        with _bars() as told:
            kept_in = (cache or cache_folder()).expanduser().absolute()
            copy = named_copy(name, data, options)
            if not copy.benchmark.needs_root:
                if tasks:
                    raise ValueError(f"--task: {name} is made with the labels of all its tasks; leave it out")
                copy.benchmark.make(data or kept_in / slug(name), lambda done, total: told("rendering", done, total))
                return
            local = scratch and scratch.expanduser().absolute()
            found = run_prepare(copy, kept_in, told, only=tasks, scratch=local)
    except KeyboardInterrupt:
        typer.echo("\nstopped; the same command goes on with the split that it was at", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    counts = ", ".join(f"{count} {split}" for split, count in found.images.items())
    typer.echo(f"{counts}: {', '.join(found.tasks)}; {found.bytes / 1e9:.2f} GB in {found.folder}")
    for task, reason in found.lacking.items():
        typer.echo(f"without {task}: {reason}")
    if kept_in != cache_folder():
        typer.echo(f"for training: export MTLBENCH_CACHE={kept_in}")
    if scratch is not None:
        typer.echo(f"for training on this node: export MTLBENCH_SCRATCH={scratch.expanduser().absolute()}")


def _copy(name: str, data: Path | None, options: list[str], told: Callable[[str, int, int], None]) -> Copy:
    """A copy of a benchmark, made where the benchmark makes its data."""
    from mtlbench.harness.data.places import named_copy

    copy = named_copy(name, data, options)
    copy.benchmark.make(copy.root, lambda done, total: told("rendering", done, total))
    return copy


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """How far each thing is that is counted. It goes to standard error: the result may be JSON."""
    from rich.console import Console

    from mtlbench.harness.driver.bars import bars

    with bars(Console(stderr=True)) as told:
        yield told


def verification(report: Report) -> str:
    """A report as text: a table a split, and what is wrong."""
    reading = ", ".join(f"{name} {value}" for name, value in report.reading.items())
    lines = [f"{report.benchmark} in {report.root}" + (f": {reading}" if reading else "")]
    lines.append(f"fingerprint {report.fingerprint or 'unknown'}")
    for split in report.splits:
        expected = "" if split.expected in (None, split.images) else f" of {split.expected}"
        sizes = ", ".join(f"{count} of {size}" for size, count in list(split.sizes.items())[:3])
        more = len(split.sizes) - 3
        lines.append(
            f"\n{split.name}: {split.images} images{expected} ({sizes}{f', {more} more sizes' if more > 0 else ''})"
        )
        lines.append(f"  {'field':12} {'read':>6}  {'type':10} {'range of values':22} {'invalid':>8}  {'blank':>6}")
        for field in split.fields:
            span = "none valid" if field.least is None else f"{field.least:.4g} to {field.greatest:.4g}"
            span += f", {field.classes} classes" if field.classes is not None else ""
            kinds = ", ".join(field.dtypes)
            lines.append(
                f"  {field.name:12} {field.read:>6}  {kinds:10} {span:22} {field.invalid:>7.1%}  {field.blank:>6}"
            )
    for task, reason in report.lacking.items():
        lines.append(fitted(f"\nwithout {task}: {reason}"))
    lines.append("")
    lines += [fitted(f"wrong: {problem}", indent=7) for problem in report.problems]
    lines.append(f"{len(report.problems)} problems" if report.problems else "nothing is wrong")
    return "\n".join(lines)


def diagnosis(findings: Sequence[Finding]) -> str:
    """Findings as text, one a line."""
    lines = []
    for finding in findings:
        lines.append(fitted(f"{finding.verdict:9}  {finding.convention}: {finding.detail}", indent=11))
        if finding.remedy and finding.verdict == "wrong":
            lines.append(fitted(f"{'':9}  -> {finding.remedy}", indent=14))
    return "\n".join(lines)
