"""YAML in which a key that is written twice is a mistake; PyYAML silently takes the last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"


def load(text: str) -> tuple[Any, list[str]]:
    """The content of a document, and a line for each key that a mapping holds twice. Raises yaml.YAMLError.

    A key that `<<` merges in and that is also written is no repetition: the written value replaces the merged one.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, []
        repeated = list(_repeated(node, "", set()))  # before construction, which merges `<<` into the nodes
        return loader.construct_document(node), repeated
    finally:
        loader.dispose()


def _repeated(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:  # an alias of a node that was looked at already
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated(item, f"{path}{index}.", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], list[int]] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                lines.setdefault((key.tag, key.value), []).append(key.start_mark.line + 1)
                yield from _repeated(value, f"{path}{key.value}.", seen)
        for (_, key), found in lines.items():
            if len(found) > 1:
                *first, last = map(str, found)
                where = f"lines {', '.join(first)} and {last}" if len(set(found)) > 1 else f"line {last}"
                yield f"{path}{key}: written {len(found)} times, in {where}; keep one"
