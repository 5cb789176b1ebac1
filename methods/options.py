"""The options of a method: the keyword-only arguments of its constructor, read from its signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

from mtlbench.methods.method import Method
from mtlbench.methods.outside import is_outside


def options_of(method: type[Method]) -> dict[str, Any]:
    """The options of a method with their types.

    Raises ValueError where a type cannot be read.
    """
    parameters = inspect.signature(method).parameters.values()
    annotations = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    # Only the types of options are resolved: a method may import its other types under TYPE_CHECKING alone.
    namespace = SimpleNamespace(__annotations__=annotations)
    constructor: Any = method.__init__  # a subclass in another module may inherit the constructor
    try:
        return typing.get_type_hints(namespace, globalns=getattr(constructor, "__globals__", {}))
    except Exception as error:  # an annotation can be any expression, and it is evaluated here
        raise ValueError(
            f"{method.__name__}: the type of an option cannot be read ({error}); import it there"
        ) from error


def misfits(name: str, method: type[Method], options: Mapping[str, Any]) -> list[str]:
    """A message for each misfit of `options` and the signature of `method`: a wrong name or type, or a missing option.

    name: the name of the method in the messages. Raises ValueError where a type cannot be read.
    """
    hints = options_of(method)
    found = []
    for option, value in options.items():
        if option not in hints:
            found.append(f"{name} has no option {option!r}; it has: {', '.join(hints) or 'none'}")
            if is_outside(name):
                found[-1] += " (an option is a keyword-only argument of the constructor, after `*`)"
        elif not _fits(value, hints[option]):
            found.append(f"{name}: option {option} is {value!r}; it takes {_describe(hints[option])}")
    for parameter in inspect.signature(method).parameters.values():
        if parameter.name in hints and parameter.default is parameter.empty and parameter.name not in options:
            kind = _describe(hints[parameter.name])
            found.append(f"{name}: option {parameter.name} ({kind}) is not given and has no default")
    return found


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint in (bool, int, str):
        return type(value) is hint
    return True  # the method itself checks other types, when it is built


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    return str(getattr(hint, "__name__", hint))
