"""Commands for a beginning: the schema of a matrix, and files to start from."""

from __future__ import annotations

from importlib import resources

import typer


def schema() -> None:
    """Print the JSON schema of a matrix, with which an editor completes keys, shows their meaning and marks mistakes.

    Begin a matrix with `# yaml-language-server: $schema=mtlbench.schema.json`. The page docs/matrix.md says the same.

    Example:  mtlbench schema > mtlbench.schema.json
    """
    file = resources.files("mtlbench.harness.matrix.reference") / "schema.json"
    typer.echo(file.read_text(encoding="utf-8"), nl=False)
