"""The options of a method in words: types and defaults from its signature, meanings from its docstring."""

from __future__ import annotations

import inspect
import re
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml

from mtlbench.methods import Method, options_of

HEADING = "Options:"  # the title of the last part of a docstring, in which `name: meaning.` begins with an option
NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null"}


class Option(NamedTuple):
    """An option of a method."""

    name: str
    type: str  # in words; choices as `a` or `b`
    default: str  # as it is written in a matrix
    meaning: str  # "": the docstring does not say it


def described(method: type[Method]) -> list[Option]:
    """The options of a method in the order of its signature. Raises ValueError where a type cannot be read."""
    types, parameters = options_of(method), inspect.signature(method).parameters
    return [
        Option(name, in_words(hint), plain(parameters[name].default), _meaning(method, name))
        for name, hint in types.items()
    ]


def defaults(method: type[Method]) -> dict[str, Any]:
    """The default of each option of a method."""
    parameters = inspect.signature(method).parameters
    return {name: parameters[name].default for name in options_of(method)}


def text_of(method: type[Method]) -> tuple[str, str]:
    """The first line of a method's docstring, and the rest without its options."""
    first, _, rest = (inspect.getdoc(method) or "").partition("\n")  # `python -OO` leaves docstrings out
    return first, _parted(rest)[0]


def plain(value: Any) -> str:
    """A value as it is written in a matrix, on one line."""
    return str(yaml.safe_dump(value, default_flow_style=True)).removesuffix("\n").removesuffix("\n...")


def in_words(hint: Any) -> str:
    """A type as a person reads it."""
    if get_origin(hint) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(hint))
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return " or ".join(map(in_words, get_args(hint)))
    return NAMES.get(hint, "mapping")


def _meaning(method: type[Method], option: str) -> str:
    """What the docstring of a method says of an option, or the docstring of the nearest class that it is made from."""
    for cls in method.__mro__:
        found = _parted(inspect.cleandoc(cls.__doc__ or ""))[1].get(option)
        if found:
            return found
    return ""


def _parted(text: str) -> tuple[str, dict[str, str]]:
    """A docstring without its options, and what it says of each of them, on one line."""
    before, _, block = f"\n{text}".partition(f"\n{HEADING}\n")
    _, *parts = re.split(r"^(\w+): ", inspect.cleandoc(f"\n{block}"), flags=re.MULTILINE)
    return before.strip("\n"), {name: _sentence(said) for name, said in zip(parts[::2], parts[1::2], strict=True)}


def _sentence(text: str) -> str:
    """A text on one line, with a capital letter at its beginning."""
    words = " ".join(text.split())
    return words[:1].upper() + words[1:]
