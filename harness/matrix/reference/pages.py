"""The pages docs/matrix.md and docs/methods.md, from the schema, and from the classes of the methods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel

from mtlbench.harness.matrix.reference.options import defaults, described, plain, text_of
from mtlbench.harness.matrix.reference.schema import SECTIONS, schema
from mtlbench.methods import METHODS, Method
from mtlbench.methods.feature_maps import strides_for

DEFAULT = "Default:"  # begins what the text of a key says of its default
# What a key means that is not written, where its text does not say it: by its path.
UNSET = {
    "caption": "nothing is put before them",
    "benchmarks": "`benchmark` names one",
    "controls": "no such comparison is made",
    "benchmark": "`benchmarks` lists them",
    "size": "each benchmark's own",
    "tasks": "each benchmark's own",
    "train.epochs": "`steps` says it",
    "train.steps": "`epochs` says it",
}

GENERATED = "<!-- Generated: python -m mtlbench.harness.matrix.reference -->"

OF_MATRIX = f"""{GENERATED}

# The keys of a matrix

A matrix is a YAML file. `mtlbench run FILE --dry-run` checks it, and names every mistake with its path and what is
allowed there. `--set train.epochs=10` changes a key from outside. For help while you write, give your editor the
schema:

```console
mtlbench schema > mtlbench.schema.json
```

and begin the file with `# yaml-language-server: $schema=mtlbench.schema.json`, which most editors with support for YAML
understand. This page and the schema are generated from the code that reads the file.

A key that is not written has its default. "None" stands for YAML's `null`, and behind it is what it means.
"""

OF_METHODS = f"""{GENERATED}

# Methods and their options

An option is written in a row of a matrix: `methods: [{{name: multi_task, options: {{head: deeplab}}}}]`. This page is
generated from the classes of the methods: types and defaults from their constructors, meanings from their docstrings.
For a method of yours, see [Your method in 10 minutes](your_method.md).
"""


def files() -> dict[str, str]:
    """The files of the pages with their text."""
    return {"docs/matrix.md": matrix_page(), "docs/methods.md": methods_page()}


def matrix_page() -> str:
    made = schema()
    parts = {section: made if not section else made["$defs"][model.__name__] for section, model in SECTIONS.items()}
    texts = [OF_MATRIX]
    for section, part in parts.items():
        title = f"`{section}`" if section else "At the top"
        said = "" if not section else f"{' '.join(part['description'].split())}\n\n"
        needed = part.get("required", [])
        rows = [_row(section, key, it, key in needed) for key, it in part["properties"].items()]
        header = "| key | type | default | meaning | example |\n|---|---|---|---|---|"
        texts.append(f"## {title}\n\n{said}{header}\n" + "\n".join(rows) + "\n")
    return "\n".join(texts)


def _row(section: str, key: str, described: Mapping[str, Any], needed: bool) -> str:
    written = yaml.safe_dump({key: described["examples"][0]}, default_flow_style=True, width=10**6, sort_keys=False)
    meaning, _, unset = described["description"].partition(f" {DEFAULT} ")
    path = f"{section}.{key}" if section else key
    default = "needed" if needed else default_of(section, key, unset.removesuffix("."))
    name = f"[`{key}`](#{section_anchor(path)})" if path in SECTIONS else f"`{key}`"
    cells = [name, kind(described), default, meaning, f"`{written.strip()[1:-1]}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def default_of(section: str, key: str, unset: str) -> str:
    """The default of a key that is not needed, and behind it what an empty one means.

    unset: what the text of the key says of its default; "" where it says nothing.
    """
    path = f"{section}.{key}" if section else key
    means = unset or UNSET.get(path, "")
    field = SECTIONS[section].model_fields.get(key)  # None: a short form, which is no field
    value = None if field is None or field.is_required() else field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"the defaults [below](#{section_anchor(path)})"
    shown = "none" if value is None else "empty" if value == "" else f"`{plain(value)}`"
    return f"{shown}: {means}" if means else shown


def section_anchor(section: str) -> str:
    """The anchor of a section's title, as Python-Markdown makes it."""
    return re.sub(r"[^\w]", "", section)


def kind(described: Mapping[str, Any]) -> str:
    """The type of a key in words."""
    if "anyOf" in described:
        return ", or ".join(dict.fromkeys(kind(each) for each in described["anyOf"] if each.get("type") != "null"))
    if "enum" in described:
        return " or ".join(f"`{choice}`" for choice in described["enum"])
    if "pattern" in described:
        return "`package.module:Name`"
    if "$ref" in described:
        return "mapping"
    match described.get("type"):
        case "array" if "prefixItems" in described:
            return f"list of {len(described['prefixItems'])} numbers"
        case "array":
            return f"list of: {kind(described['items'])}"
        case "object":
            of = described.get("additionalProperties", True)
            return "mapping" if isinstance(of, bool) else f"mapping of: {kind(of)}"
        case "integer" | "number" as name:
            return f"{'whole number' if name == 'integer' else 'number'}{_range(described)}"
        case "boolean":
            return "true or false"
        case _:
            return "text"


def _range(described: Mapping[str, Any]) -> str:
    words = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "up to", "exclusiveMaximum": "below"}
    return "".join(f", {word} {described[key]:g}" for key, word in words.items() if described.get(key, 2**32) != 2**32)


def methods_page() -> str:
    return "\n".join([OF_METHODS, *(_method(name, method) for name, method in METHODS.items())])


def _method(name: str, method: type[Method]) -> str:
    first, rest = text_of(method)
    lines = [f"## `{name}`", "", first, ""]
    if rest:
        lines += ["```text", *rest.splitlines(), "```", ""]
    lines.append(f"- A network has {tasks_of(method)}.")
    if method.published_on:
        lines.append(f"- It was published on {method.published_on}; anything else is a composition of ours.")
    if said := method.remark(defaults(method)):
        lines.append(f"- With the defaults, captions say: {said}.")
    if start := method.starts_from(defaults(method)):
        named = f" (`{plain(dict(start.options))}`)" if start.options else ""
        lines.append(f"- With the defaults, it starts from the trained networks of a row of `{start.method}`{named}.")
    for stride in (8, 16):
        if wrong := method.misfit(defaults(method), strides_for(stride)):
            lines.append(f"- A backbone with `output_stride: {stride}` is refused: {wrong}.")
    return "\n".join([*lines, *_options(method), ""])


def tasks_of(method: type[Method]) -> str:
    """How many tasks a network may have, with the noun: "exactly 1 task"."""
    return f"{method.counted()} task{'' if method.task_counts == (1, 1) else 's'}"


def _options(method: type[Method]) -> Sequence[str]:
    options = described(method)
    if not options:
        return ["- It has no options."]
    rows = [f"| `{it.name}` | {it.type} | `{it.default}` | {it.meaning} |" for it in options]
    return ["", "| option | type | default | meaning |", "|---|---|---|---|", *rows]
