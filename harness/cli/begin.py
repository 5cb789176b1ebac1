"""Commands for a beginning: the schema of a matrix, and files to start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from mtlbench.harness.cli.shell.commands import Command
from mtlbench.harness.cli.usage import fail, one_line, opening

app = typer.Typer(
    help="Write a commented file to start from; it works as it is.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

FolderOption = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to write; default: here.")]
ModuleArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the Python file, as my_net; the class is MyNet.")
]


def schema() -> None:
    """Print the JSON schema of a matrix, with which an editor completes keys, shows their meaning and marks mistakes.

    Begin a matrix with `# yaml-language-server: $schema=mtlbench.schema.json`. The page docs/matrix.md says the same.

    Example:  mtlbench schema > mtlbench.schema.json
    """
    from importlib import resources

    file = resources.files("mtlbench.harness.matrix.reference") / "schema.json"
    typer.echo(file.read_text(encoding="utf-8"), nl=False)


@app.command(cls=Command)
@one_line
def method(name: ModuleArgument, out: FolderOption = Path()) -> None:
    """Write NAME.py with a method that passes `mtlbench check`.

    Example:  mtlbench new method my_net
    """
    from mtlbench.harness.start import files

    _new(out, lambda: files.method(name), f"mtlbench check {name}:{files.class_name(name)}", module=name)


@app.command(cls=Command)
@one_line
def matrix(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the matrix and, with .yaml, of its file.")],
    out: FolderOption = Path(),
) -> None:
    """Write NAME.yaml with a matrix that `mtlbench run` accepts.

    Example:  mtlbench new matrix mine
    """
    import shlex

    from mtlbench.harness.start import files

    stem = name.removesuffix(".yaml")
    _new(out, lambda: files.matrix(stem), f"mtlbench run {shlex.quote(stem + '.yaml')} --dry-run")


@app.command(cls=Command)
@one_line
def dataset(name: ModuleArgument, out: FolderOption = Path()) -> None:
    """Write NAME.py with a benchmark of files, and images for it.

    The images are six small ones in the folder NAME_sample.

    Example:  mtlbench new dataset my_rooms
    """
    from mtlbench.harness.start import files

    opening(f"making {name}.py and images for it", "torch")
    then = f"mtlbench data verify {name}:{files.class_name(name)} --data {name}_sample"
    _new(out, lambda: files.dataset(name), then, module=name)


def _new(out: Path, make: Callable[[], Mapping[Path, bytes]], then: str, module: str = "") -> None:
    """Write all files into a folder, or none where one is there or where the name of a module will not do."""
    import shlex

    from mtlbench.harness.start import files

    try:
        made = {out / path: content for path, content in make().items()}
        if existing := next((str(path) for path in made if path.exists()), ""):
            raise ValueError(
                f"{existing}: exists already, and is not written over; give another name, or another --out"
            )
        if module:
            files.require_free(module, out)
    except ValueError as error:
        raise fail(str(error)) from None
    for path, content in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    tops = dict.fromkeys(out / path.relative_to(out).parts[0] for path in made)
    typer.echo("\n".join(f"wrote  {path}" for path in tops))
    typer.echo(f"next   {'' if out == Path() else f'cd {shlex.quote(str(out))} && '}{then}")
