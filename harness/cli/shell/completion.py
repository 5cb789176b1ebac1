"""How words of a command line go on, for the completion of a shell, which waits: no library is loaded for it.

So files of a store are read here as they are, and cells of a file that is damaged are not offered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from mtlbench.harness.matrix.text.written import embedded

HERE = "runs"  # the store of a command line without --store


def matrix_names(incomplete: str) -> list[str]:
    """Embedded matrices, and YAML files and folders that begin like this."""
    return [name for name in embedded() if name.startswith(incomplete)] + _files(incomplete)


def names_in_store(ctx: typer.Context, incomplete: str) -> list[str]:
    """The matrices that the store of the command line holds, and YAML files and folders, that begin like this."""
    return [name for name in _manifests(ctx) if name.startswith(incomplete)] + _files(incomplete)


def embedded_or_in_store(ctx: typer.Context, incomplete: str) -> list[str]:
    """All matrices that have a name, and YAML files and folders, that begin like this."""
    return list(dict.fromkeys(matrix_names(incomplete) + names_in_store(ctx, incomplete)))


def words_of_cells(ctx: typer.Context, incomplete: str) -> list[str]:
    """Words of the cells' labels, tasks and seeds, in lower case as long as no capital was typed, and ids of cells.

    Only of cells that fit the words before.
    """
    before = [word.lower() for word in ctx.params.get("words") or []]
    found: dict[str, None] = {}
    for entry in _entries(ctx):
        words = [*str(entry["label"]).split(), "+".join(entry["tasks"]), "seed", str(entry["seed"])]
        text = " ".join([*words, str(entry["id"])]).lower()
        if all(word in text for word in before):
            lower = incomplete == incomplete.lower()
            found |= dict.fromkeys(word.lower() if lower else word for word in [*words, str(entry["id"])])
    return [word for word in found if word.startswith(incomplete) and word.lower() not in before]


def names_or_cells(ctx: typer.Context, incomplete: str) -> list[str]:
    """Matrices of the store, and ids of its cells, that begin like this."""
    ids = dict.fromkeys(str(entry["id"]) for entry in _entries(ctx))
    return [name for name in [*_manifests(ctx), *ids] if name.startswith(incomplete)]


def method_names(incomplete: str) -> list[str]:
    from mtlbench.harness.matrix.text.first_look import METHODS
    from mtlbench.harness.matrix.text.names import known_names

    return [name for name in known_names(*METHODS[1:]) if name.startswith(incomplete)]


def _files(incomplete: str) -> list[str]:
    folder, _, start = incomplete.rpartition("/")
    there = Path(f"{folder}/") if folder or incomplete.startswith("/") else Path()
    with suppress(OSError):
        found = sorted(there.iterdir())
        files = [f"{path.name}/" if path.is_dir() else path.name for path in found if not path.name.startswith(".")]
        files = [name for name in files if name.endswith((".yaml", ".yml", "/")) and name.startswith(start)]
        before = incomplete[: len(incomplete) - len(start)]
        return [before + name for name in files]
    return []


def _manifests(ctx: typer.Context) -> dict[str, Path]:
    """Name -> file of the matrices of a store in a folder; a store behind a URL would take too long."""
    with suppress(OSError):
        folder = Path(ctx.params.get("url") or HERE).expanduser() / "matrices"
        return {path.stem: path for path in sorted(folder.glob("*.json"))}
    return {}


def _entries(ctx: typer.Context) -> Iterator[dict[str, Any]]:
    """The cells of the tables of a store's matrices, or of the one that --matrix names."""
    wanted = ctx.params.get("matrix")
    for name, path in _manifests(ctx).items():
        with suppress(OSError, ValueError, KeyError, TypeError):
            if wanted in (None, name):
                yield from json.loads(path.read_text(encoding="utf-8"))["entries"]
