"""Where Python looks for modules: what lies outside of the package, "package.module:Name", is found there.

A user's folder may hold any names: `results.py`, `types.py`, a package `yaml`. So it is looked into after everything
else. Nothing in it can then stand in for a module of ours, of a library or of Python itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def look_here_last() -> None:
    """Find modules of the current folder too, but only those that are found nowhere else.

    For a process that is ours from its start: it changes the order. `python -m` puts the current folder first, and so
    does PYTHONPATH where one of its entries is empty.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # the folder was removed under us, and there is nothing to find in it
        return
    sys.path[:] = [*(entry for entry in sys.path if os.path.realpath(entry) != here), here]


def look_also_in(folders: Sequence[str]) -> None:
    """Find modules of these folders too, after those of the folders that are looked into already."""
    sys.path += [folder for folder in folders if folder not in sys.path]
