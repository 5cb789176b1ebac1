"""The files that `mtlbench new` writes. Nothing here needs PyTorch."""

from __future__ import annotations

import ast
import importlib.util
import json
import keyword
import re
import shlex
import sys
from importlib import resources
from pathlib import Path
from string import Template

from mtlbench.harness.matrix.text.written import require_file_name

IDENTIFIER = re.compile(r"[A-Za-z]\w*", re.ASCII)


def method(name: str) -> dict[Path, bytes]:
    """A file with a method. Raises ValueError for a name that no module can have."""
    return {Path(f"{name}.py"): _module("method", name)}


def matrix(name: str) -> dict[Path, bytes]:
    """A matrix. Raises ValueError for a name that no matrix can have."""
    file = f"{require_file_name(name)}.yaml"
    # A text of JSON is one of YAML, whatever the name holds.
    title = json.dumps(name, ensure_ascii=False)
    return {Path(file): _filled("matrix.yaml", file=shlex.quote(file), title=title).encode()}


def dataset(name: str) -> dict[Path, bytes]:
    """A file with a benchmark, and a small copy of its data. Raises ValueError for a name that no module can have."""
    module = _module("dataset", name)
    from mtlbench.harness.start.sample import sample

    copy = {Path(f"{name}_sample") / path: content for path, content in sample().items()}
    return {Path(f"{name}.py"): module, **copy}


def class_name(name: str) -> str:
    """my_net -> MyNet."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _module(kind: str, name: str) -> bytes:
    if not IDENTIFIER.fullmatch(name) or keyword.iskeyword(name) or keyword.iskeyword(class_name(name)):
        raise ValueError(
            f"{name!r} cannot be the name of a Python module and of its class; give a word of letters, digits and _ "
            "that begins with a letter, such as my_net"
        )
    text = _filled(f"{kind}.py", name=name, made=class_name(name))
    if class_name(name) in _imported(text):
        raise ValueError(f"{name!r}: the file itself imports a {class_name(name)}; give another name, as my_{name}")
    return text.encode()


def require_free(name: str, folder: Path) -> None:
    """Raise ValueError where `name` is a module that would be found before the file of `folder`."""
    found = importlib.util.find_spec(name)
    here = found is not None and found.has_location and Path(str(found.origin)).resolve().parent == folder.resolve()
    if found is not None and not here:
        built_in = found.origin in ("built-in", "frozen") or name in sys.stdlib_module_names
        where = f"the module {name} of Python itself" if built_in else f"{found.origin or 'a folder of that name'}"
        raise ValueError(f"{name!r}: Python would find {where} first; give another name, such as my_{name}")


def _filled(template: str, **values: str) -> str:
    text = (resources.files("mtlbench.harness.start") / "templates" / f"{template}.template").read_text("utf-8")
    return Template(text).substitute(values)


def _imported(text: str) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name for node in nodes for alias in node.names}
