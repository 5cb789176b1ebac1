"""YAML without what PyYAML reads in silence otherwise than it is written.

* A key that is written twice is a mistake; PyYAML takes the last.
* A number that begins with a zero (010) and one with a colon (1:30) are mistakes; PyYAML reads 8 and 90.
* 1e-3 is a number; PyYAML reads a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
FROM_ZERO = re.compile(r"[-+]?0[0-9_]+")


class Loader(yaml.SafeLoader):
    """SafeLoader, for which a number with an exponent needs neither a point nor the exponent's sign, as in YAML 1.2."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load(text: str) -> tuple[Any, list[str]]:
    """The content of a document, and a line for each part of it that may mean another thing than what is read.

    A key that `<<` merges in and that is also written is no repetition: the written value replaces the merged one.
    Raises yaml.YAMLError.
    """
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, []
        unclear = list(_unclear(node, "", set()))  # before construction, which merges `<<` into the nodes
        return loader.construct_document(node), unclear
    finally:
        loader.dispose()


def in_a_line(error: yaml.YAMLError) -> str:
    """What is wrong with a document, and where, in one line: PyYAML writes several."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    place = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    if "character '\\t'" in str(error.problem):
        return f"{place}: a tab stands where only spaces may stand; write spaces"
    return ": ".join(filter(None, [place, error.context, error.problem]))


def _unclear(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:  # an alias of a node that was looked at already
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode) and node.style is None:  # None: without quotes
        yield from _unclear_number(node, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _unclear(item, f"{path}{index}.", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], list[int]] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                lines.setdefault((key.tag, key.value), []).append(key.start_mark.line + 1)
                yield from _unclear(value, f"{path}{key.value}.", seen)
        for (_, key), found in lines.items():
            if len(found) > 1:
                *first, last = map(str, found)
                where = f"lines {', '.join(first)} and {last}" if len(set(found)) > 1 else f"line {last}"
                yield f"{path}{key}: written {len(found)} times, in {where}; keep one"


def _unclear_number(node: yaml.ScalarNode, path: str) -> Iterator[str]:
    written, where = node.value, f"{path.removesuffix('.')}: " if path else ""
    if FROM_ZERO.fullmatch(written):
        meant = written.lstrip("-+0_") or "0"
        yield f"{where}{written} begins with a zero, which makes it octal in YAML; write {meant}, or a word in quotes"
    elif node.tag in NUMBERS and ":" in written:
        yield f"{where}{written} is a number to the base of 60 in YAML; write it out, or as a word in quotes"
