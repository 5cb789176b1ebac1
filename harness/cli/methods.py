"""Commands that need no store: what there is to compare, what it costs, and what a comparison needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mtlbench.harness.cli.data import OptionOption, PathOption
from mtlbench.harness.cli.shell import completion
from mtlbench.harness.cli.usage import fail, fitted, opening, terminal_width

if TYPE_CHECKING:
    from mtlbench.harness.inspect.remedies import Verdict


LEFT = 21  # where the texts of a list begin

# What a matrix that says nothing else does with every network.
RULES = """\
Training leaves out images without a label of any task of the network (`benchmark: {unlabelled: keep}` keeps them).
A network of one task has weight 1 (`train: {weights: {TASK: 2.0}}` in its row changes it)."""


def list_() -> None:
    """List what a matrix can choose: methods, backbones, benchmarks, optimisers, schedules, and embedded matrices.

    Example:  mtlbench list
    """
    from mtlbench.harness.inspect.listing import sections

    for number, section in enumerate(sections(partial(opening, "listing what a matrix can choose", "torch"))):
        typer.echo(("\n" if number else "") + fitted(section.title))
        for entry in section.entries:
            for place, text in enumerate(entry.texts):
                begun = f"  {entry.name:18} " if place == 0 else " " * LEFT
                typer.echo(fitted(begun + text, indent=LEFT if place == 0 else LEFT + 2))


def describe(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="METHOD", help="Default: all methods.", autocompletion=completion.method_names),
    ] = None,
    benchmark: Annotated[str, typer.Option(help="A name from `list`, or package.module:Name.")] = "rooms",
    tasks: Annotated[
        list[str], typer.Option(help="A task set, as semseg,depth; repeatable; default: the benchmark's.")
    ] = [],
    size: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS, multiples of 32; default: the benchmark's.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images of the training step.")] = 8,
    backbone: Annotated[str, typer.Option(help="A network of timm, or package.module:Name.")] = "hrnet_w18_small_v2",
    measured: Annotated[bool, typer.Option("--measure", help="Time training steps on this machine's GPU too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
) -> None:
    """Count what methods cost: parameters, multiply-accumulates, and memory and operators of a training step.

    No GPU is needed. Multiply-accumulates are those of convolutions, matrix and attention products for one image. The
    step is in float32 with Adam; its memory leaves out the work space that convolutions take on a GPU.

    Example:  mtlbench describe mti_net sca_mtl --benchmark nyud --tasks semseg,depth --tasks semseg,depth,normals
    """
    opening(f"counting what {', '.join(names or ['every method'])} costs on {benchmark}", "torch")
    from rich.console import Console

    from mtlbench.harness.driver.bars import bars
    from mtlbench.harness.inspect.describe import describe, named_benchmark, table
    from mtlbench.methods import METHODS

    try:
        made, sets = named_benchmark(benchmark, size), [words.split(",") for words in tasks]
        rows, left_out, chosen = [], [], names or list(METHODS)
        with bars(Console(stderr=True)) as told:
            for number, name in enumerate(chosen):
                told("methods", number, len(chosen))
                try:
                    rows += list(describe([name], made, sets, backbone=backbone, batch=batch, measured=measured))
                except ValueError as error:
                    left_out.append(f"{name} is left out: {error}")
                    if names:
                        raise
        if not rows:
            raise ValueError(left_out[0].partition(": ")[2])
    except ValueError as error:
        raise fail(str(error)) from None
    for line in left_out:
        typer.echo(line, err=True)
    if as_json:
        typer.echo(json.dumps([row.as_json() for row in rows], indent=1))
    else:
        typer.echo(f"{table(rows, terminal_width())}\n\n{fitted(RULES)}")


def check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A method or a benchmark: package.module:Name, or a name from `list`.")
    ],
    data: PathOption = None,
    options: OptionOption = [],
) -> None:
    """Check that a method or a benchmark of yours keeps the contract.

    Of a method: shapes, gradients, one task, any order of tasks, saving. Of a benchmark, whose data --data names if it
    does not make them: its attributes, the form of its samples, losses, metrics.

    Example:  mtlbench check my_package.my_method:MyMethod
    """
    opening(f"checking {name}", "torch")
    from mtlbench.benchmarks import BENCHMARKS, Benchmark
    from mtlbench.harness.data.places import named_copy
    from mtlbench.harness.inspect.benchmark_conformance import check_benchmark
    from mtlbench.harness.inspect.conformance import check_method
    from mtlbench.methods import METHODS, Method
    from mtlbench.methods.outside import classes, find

    try:
        known: dict[str, type] = {**METHODS, **BENCHMARKS}
        if name not in known and (whole := classes(name, (Method, Benchmark))):
            raise ValueError(f"{name} is a module; name a class of it: {', '.join(whole)}")
        found = find(name, "method or benchmark", known)
        results: Iterator[Verdict]
        if isinstance(found, type) and issubclass(found, Benchmark):
            results = check_benchmark(named_copy(name, data, options))
        elif data is not None or options:
            raise ValueError(f"--data and --set are for benchmarks, and {name} is none; leave them out")
        else:
            results = check_method(name)
        broken = False
        for verdict in results:
            typer.echo(_said_of(verdict))
            broken |= verdict.problem is not None
    except (ValueError, OSError) as error:
        raise fail(str(error)) from None
    if broken:
        raise typer.Exit(1)


def _said_of(verdict: Verdict) -> str:
    """A line for a rule; for a broken one two more, the cause and the remedy, which a terminal wraps."""
    if verdict.problem is None:
        state, why = ("ok", "") if verdict.checked else ("not checked", ": repair first what FAILs above")
        return fitted(f"{state:11}  {verdict.rule}{why}", indent=13)
    lines = [f"{'FAIL':11}  {verdict.rule}", f"{'':6}why:   {verdict.problem}", f"{'':6}to do: {verdict.remedy}"]
    return "\n".join(fitted(line, indent=13) for line in lines)


def plan(
    difference: Annotated[float, typer.Option(help="That is to be found, in points of Δm.")],
    sd: Annotated[float, typer.Option(help="Of the difference of two runs of one seed, in points.")],
    power: Annotated[float, typer.Option(help="The probability of finding it.")] = 0.8,
    rows: Annotated[int, typer.Option(help="Of the table, with the baseline; all pairs are judged at once.")] = 2,
) -> None:
    """Say how many seeds a question needs, before any is trained, by the rule of a table's verdicts.

    Example:  mtlbench plan --difference 1 --sd 0.82 --rows 6
    """
    opening("computing how many seeds the difference needs", "scipy")
    from mtlbench.results.statistics import planner

    try:
        typer.echo(fitted(planner.sentence(difference, sd, rows=rows, power=power), indent=0))
    except planner.BadPlan as error:
        raise fail(str(error)) from None
