"""Objects from outside of the package, found by a name of the form "package.module:Name"."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from typing import Any


def is_outside(name: str) -> bool:
    """Whether `name` has the form "package.module:Name". Imports nothing."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()


def find(name: str, kind: str, known: Mapping[str, Any]) -> Any:
    """What `name` stands for: an entry of `known`, or the object "package.module:Name" from outside of the package.

    kind: the kind of object, such as "method"; the messages begin with it. Raises ValueError that lists the known names
    where `name` has neither form, and the ValueError of `load` where the object cannot be imported.
    """
    if name in known:
        return known[name]
    if not is_outside(name):
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}; or package.module:Name of your own")
    return load(name, kind)


def load(name: str, kind: str) -> Any:
    """The object "package.module:Name". Its module may lie anywhere on Python's search path.

    The command line and the processes that train look into the current folder too, after everything else.

    Raises ValueError that says why the object cannot be imported, and names the file and line of the mistake.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # the import runs the code of the module's author, which may do anything
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        # The first frame is this file.
        where = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
        raise ValueError(f"{kind} {name!r} cannot be imported: {type(error).__name__}: {error}{where}") from error
