"""Which of our files can move a number, found from their imports, and a hash of what they do.

A record made by other code is shown as stale, and a checkpoint made by other code is not continued. So the hash covers
every file that training, scoring or an expensive metric can reach, and it does not move for a comment, a docstring or
the layout of a line.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mtlbench.harness.matrix.text.names import names_a_module
from mtlbench.harness.store.kept import remembered

PACKAGE = "mtlbench"
FOLDERS = ("benchmarks", "methods", "results", "harness")
ROOT = Path(__file__).resolve().parents[2]  # holds the four folders: a checkout, or the installed package

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)  # what can have a docstring

# Where numbers are made: a cell is trained and judged, and its expensive scores are computed.
STARTS = ("harness/training/train.py", "harness/scoring/expensive.py")

# Files that are reached from there and move no number, each with its reason.
EXCEPTIONS = {
    "harness/store/kept.py": "keeps answers as they are",
    "harness/store/store.py": "keeps bytes as they are",
    "harness/store/source.py": "finds these files",
    "harness/store/provenance.py": "says where a number comes from",
    "harness/training/history.py": "writes down losses that are computed elsewhere",
    "harness/training/progress.py": "tells the driver how far a cell has come",
    "results/records/files.py": "names the files of a store",
    "results/records/record.py": "holds scores that are computed elsewhere",
    "results/records/reading.py": "reads records",
}


@functools.cache
def source_hash(root: Path = ROOT) -> str:
    """A hash of the syntax trees of all `decisive_files`, without their docstrings."""
    return remembered("source", state(root), lambda: hash_of({name: root / name for name in decisive_files(root)}))


def state(root: Path = ROOT) -> str:
    """A hash of all our files as they are: while it stays, so does all that is found in them.

    Every cell needs hashes of syntax trees, which take a second to find, and this one takes hundredths.
    """
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def decisive_files(root: Path = ROOT) -> tuple[str, ...]:
    """The files that can move a number, as "harness/seeds.py", sorted: all that `STARTS` reach but `EXCEPTIONS`."""
    found = remembered("files", state(root), lambda: "\n".join(sorted(reached(root) - EXCEPTIONS.keys())))
    return tuple(found.split("\n"))


def reached(root: Path = ROOT, starts: Sequence[str] = STARTS) -> set[str]:
    """The files of ours that run when `starts` do, `EXCEPTIONS` among them."""
    modules = [".".join([PACKAGE, *Path(start).with_suffix("").parts]) for start in starts]
    found = _follow(modules, lambda module: _file(root, module.split(".")[1:]) if module != PACKAGE else None)
    return {file.relative_to(root).as_posix() for file in found.values()}


@functools.cache
def reading_hash(benchmark: str, root: Path = ROOT) -> str:
    """A hash of the code between the files of a data set and its samples.

    benchmark: the data set's module. The code is its file, if it is one of ours, and all of benchmarks/copies that our
    data sets reach; losses and metrics are left out.
    """
    prefix, _, rest = benchmark.partition(".")
    own = f"{rest.replace('.', '/')}.py" if prefix == PACKAGE else ""

    def find() -> str:
        ours = {name for name in reached(root, ["benchmarks"]) if name.startswith("benchmarks/copies/") or name == own}
        return hash_of({name: root / name for name in ours})

    return remembered(f"reading {own}", state(root), find)


def outside_hash(modules: Mapping[str, Path]) -> str:
    """A hash of modules from outside, given with their files, and of what they import from beside and below them.

    An installed module is followed within its own package only, because other projects lie beside it.
    """
    found: dict[str, Path] = {}
    for module, file in modules.items():
        depth = module.count(".") + (file.name == "__init__.py")
        base = file.resolve().parents[depth]  # holds the module's outermost package
        own = module.partition(".")[0] if base.name in ("site-packages", "dist-packages") else None
        found |= _follow([module], functools.partial(_file_beside, base, own)) or {module: file}
    return hash_of(found)


def _file_beside(base: Path, own: str | None, module: str) -> Path | None:
    parts = module.split(".")
    return _file(base, parts) if own in (None, parts[0]) else None


def hash_of(files: Mapping[str, Path]) -> str:
    """A hash of the names and the syntax trees of files."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{_digest(file.read_text())}\0".encode())
    return digest.hexdigest()[:12]


def _follow(starts: Iterable[str], find: Callable[[str], Path | None]) -> dict[str, Path]:
    """The modules that run when `starts` are imported or their functions are called, with their files.

    find: the file of a module; None for a module of somebody else, whose imports are not followed.
    """
    waiting, seen = list(starts), {""}
    found: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        if (file := find(module)) is None:
            continue
        found[module] = file
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        waiting += _imports(file.read_text(), package)
        waiting.append(module.rpartition(".")[0])  # importing a module runs the __init__ of its package first
    return found


def _file(base: Path, parts: Sequence[str]) -> Path | None:
    """The file of a module below a folder, None where there is none."""
    plain, package = base.joinpath(*parts).with_suffix(".py"), base.joinpath(*parts, "__init__.py")
    return package if package.is_file() else plain if plain.is_file() else None


@functools.cache
def _imports(text: str, package: str) -> tuple[str, ...]:
    """What a file of a package imports when it runs, inside of functions too. "from a import b" means a.b or a.

    A text that is "package.module:Name" counts as an import: so a method names an optimiser from outside.
    """
    found: list[str] = []
    for node in _running(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and names_a_module(node.value):
            found.append(node.value.partition(":")[0])
    return tuple(found)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """A node and all nodes below it, without the imports that only type checkers read."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            waiting += ast.iter_child_nodes(node)


@functools.cache
def _digest(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            del node.body[0]
    return hashlib.sha256(_written(tree).encode()).hexdigest()


class _Text(str):
    """A piece of the text that `_written` puts together, as it is."""


def _written(tree: ast.AST) -> str:
    """A syntax tree as text. Fields that are empty are left out: newer versions of Python have more of them.

    Every cell waits for it, so it visits each node once and makes no object that it can do without.
    """
    pieces: list[str] = []
    waiting: list[object] = [tree]  # and no recursion: a tree may be deeper than Python's stack
    while waiting:
        node = waiting.pop()
        if type(node) is _Text:
            pieces.append(node)
        elif isinstance(node, ast.AST):
            pieces.append(f"{type(node).__name__}(")
            waiting.append(CLOSED)
            for name in reversed(node._fields):
                value = getattr(node, name, None)
                if value is not None and value != []:
                    waiting += (value, _named(name))
        elif type(node) is list:
            pieces.append("[")
            waiting.append(END)
            waiting += reversed(node)
        else:
            pieces.append(repr(node))
    return "".join(pieces)


CLOSED, END = _Text(")"), _Text("]")


@functools.cache
def _named(field: str) -> _Text:
    return _Text(f" {field}=")
