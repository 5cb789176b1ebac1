"""Objects from outside of the package, found by a name of the form "package.module:Name"."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        raise ValueError(f"{kind} {name!r} cannot be imported: {_why(module, error)}") from error


def classes(module: str, kinds: tuple[type, ...]) -> list[str]:
    """ "module:Class" for each class of these kinds that a module defines; [] where there is no such module.

    Raises ValueError that says why the module cannot be imported.
    """
    try:
        found = vars(importlib.import_module(module))
    except (Exception, SystemExit) as error:  # as in `load`
        if _is_missing(module, error):
            return []
        raise ValueError(f"module {module!r} cannot be imported: {_why(module, error)}") from error
    own = [each for each in found.values() if isinstance(each, type) and each.__module__ == module]
    return [f"{module}:{each.__name__}" for each in own if issubclass(each, kinds)]


@contextmanager
def mistakes_of(names: Sequence[str], doing: str) -> Iterator[None]:
    """Run what calls code from outside. Its exceptions become a ValueError that names the code, the file and the line.

    names: "package.module:Name" of the code; where there is none, an exception is a mistake of ours, and goes on.
    doing: what is done with the code, such as "counting a training step".
    """
    try:
        yield
    except ValueError:  # says what is wrong already
        raise
    except Exception as error:
        if not names:
            raise
        files = {getattr(sys.modules.get(name.partition(":")[0]), "__file__", None) for name in names}
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
        mistake = f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
        checks = " and ".join(f"`mtlbench check {name}`" for name in names)
        raise ValueError(f"{' and '.join(names)}: {doing} ends with {mistake}; correct it, and see {checks}") from error


def _is_missing(module: str, error: BaseException) -> bool:
    """Whether an error of an import says that there is no such module, or none of the packages that it lies in."""
    return isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")


def _why(module: str, error: BaseException) -> str:
    """What keeps a module, or something in it, from being imported, and the place of the mistake."""
    if _is_missing(module, error):
        here = os.path.abspath("")
        also = " and not" if here not in map(os.path.abspath, sys.path) else ", and"
        return (
            f"{error}; Python looked in what is installed{also} in the current folder, {here}; run the command in the "
            "folder that holds the module, or put this folder into PYTHONPATH"
        )
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    # The first frame is this file.
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {error}{where}"
