"""Files that an earlier report of a matrix wrote and the new one does not: a reader would take them for current."""

from __future__ import annotations

import re
from collections.abc import Collection
from html import unescape
from pathlib import Path

# What a report writes for some records only. A file of a user stays, whatever its name is: only files go that the page
# of the earlier report names as written with it.
SOMETIMES = (
    "classes.csv",
    "overview.md",
    "overview.csv",
    "against.md",
    "against.csv",
    "against_cells.csv",
    "matrix.yaml",
)
BESIDE = re.compile(r"Files beside this\s+page: (.*?)\. Numbers are unrounded", re.DOTALL)
FIGURE = re.compile(r'<figcaption class="caption">[^<]* <a href="(figures/[^"/]+)\.pdf">PDF</a></figcaption>')


def files_of_earlier(folder: Path) -> list[Path]:
    """The files of the report in a folder that another report may not write. None where the folder has no page of ours.

    To be asked before the page is written anew.
    """
    page = folder / "report.html"
    if not page.is_file():
        return []
    text = page.read_text(encoding="utf-8", errors="replace")
    named = {unescape(name) for part in BESIDE.findall(text)[:1] for name in re.findall(r'href="([^"]+)"', part)}
    figures = [f"{unescape(stem)}.{kind}" for stem in FIGURE.findall(text) for kind in ("pdf", "png")]
    found = [folder / name for name in (*(name for name in SOMETIMES if name in named), *figures)]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def remove(earlier: Collection[Path], written: Collection[Path]) -> list[Path]:
    """Remove the files of an earlier report that the new report has not written. Returns them."""
    gone = [path for path in earlier if path not in written]
    for path in gone:
        path.unlink()
    return gone
