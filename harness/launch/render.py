"""What the templates of this folder share, and YAML as people write it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import yaml


def render(template: str, **values: Any) -> str:
    """Fill a template. `quote` in a template quotes a value for the shell, and `command` a list of words."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mtlbench.harness.launch"),
        undefined=jinja2.StrictUndefined,
        comment_start_string="{##",  # the usual one begins ${#array[@]} of bash too
        comment_end_string="##}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the texts are shell and Containerfiles, and no HTML
    )
    environment.filters["quote"] = shlex.quote
    environment.filters["command"] = shlex.join
    return environment.get_template(template).render(**values)


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(comment: str, *documents: Mapping[str, Any]) -> str:
    """Documents of one file, after lines of comment."""
    head = "".join(f"# {line}\n" if line else "#\n" for line in comment.splitlines())
    parts = [yaml.dump(each, Dumper=_Dumper, sort_keys=False, width=1000) for each in documents]
    return head + "---\n".join(parts)


def script(words: Sequence[str]) -> str:
    """A script of bash that becomes a command, so that a signal to the script reaches the command."""
    return f"#!/bin/bash\nexec {shlex.join(words)}\n"
