"""What is wrong with a value of a matrix, in place of pydantic's words, which are those of Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The kind of mistake, as pydantic calls it -> what to say. `value` is written as in YAML.
WORDS = {
    "string_type": "{value} is no text; write it in quotes",
    "string_too_short": "{value} is empty; write a text, or leave the key out",
    "string_too_long": "{value} is too long; give {max_length} characters at most",
    "bool_type": "{value} is neither true nor false; write one of them",
    "bool_parsing": "{value} is neither true nor false; write one of them",
    "int_type": "{value} is no whole number; write one",
    "int_parsing": "{value} is no whole number; write one",
    "int_parsing_size": "{value} is too large for a whole number",
    "int_from_float": "{value} is no whole number; write one",
    "float_type": "{value} is no number; write one",
    "float_parsing": "{value} is no number; write one",
    "finite_number": "{value} is not finite; write a number",
    "greater_than": "{value} is too small; give a number above {gt}",
    "greater_than_equal": "{value} is too small; give {ge} or more",
    "less_than": "{value} is too large; give a number below {lt}",
    "less_than_equal": "{value} is too large; give {le} or less",
    "literal_error": "{value} is not possible; write {expected}",
    "list_type": "{value} is no list; write one in brackets",
    "tuple_type": "{value} is no list; write one in brackets, such as [64, 96]",
    "too_short": "{value} has too few entries; give {min_length} or more",
    "too_long": "{value} has too many entries; give {max_length} at most",
    "model_type": "{value} is no mapping; write keys with values in braces",
    "dict_type": "{value} is no mapping; write keys with values in braces",
    "invalid_key": "this key is no text; write it in quotes",
}


def in_words(mistake: Any) -> str:
    """What is wrong, without the path of the value. mistake: one of `ValidationError.errors()`."""
    message = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "value_error":  # our own message, which says everything
        return message
    limits = {name: _short(limit) for name, limit in mistake.get("ctx", {}).items()}
    return WORDS.get(mistake["type"], f"{{value}}: {message}").format(value=as_yaml(mistake["input"]), **limits)


def as_yaml(value: Any) -> str:
    """A value as a matrix has it: true and null, and not Python's True and None."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {as_yaml(part)}' for key, part in value.items())}}}"
    return "null" if value is None else repr(value)


def _short(limit: Any) -> Any:
    """4.0 as 4: the limits of numbers are floats."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit
