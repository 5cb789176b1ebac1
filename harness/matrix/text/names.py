"""Names that a matrix may use, told without an import of what they stand for."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]  # holds the four folders


def names_a_module(text: str) -> bool:
    """Whether a text is "package.module:Name". `methods.outside.is_outside` says the same and brings torch along."""
    module, _, attribute = text.partition(":")
    return all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()


@functools.cache
def known_names(file: str, dictionary: str) -> tuple[str, ...]:
    """The keys of a dictionary of ours, as METHODS in "methods/__init__.py", read from the text of its file."""
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == dictionary:
            assert isinstance(node.value, ast.Dict), f"{dictionary} in {file} is written in another way"
            return tuple(str(ast.literal_eval(key)) for key in node.value.keys if key is not None)
    raise LookupError(f"{file} has no dictionary {dictionary}")
