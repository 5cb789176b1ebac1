"""What is known in one place: kinds of label are told apart by kinds.py alone, which alone writes the ignore code."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from paths import ROOT

KINDS = "benchmarks/tasks/kinds.py"
NAMES = {"label", "scalar", "vector", "Label", "Scalar", "Vector"}
FILES = {
    file.relative_to(ROOT).as_posix(): file
    for package in ("benchmarks", "methods", "results", "harness")
    for file in sorted((ROOT / package).rglob("*.py"))
}

# Where 255 is something else than the ignore code and neither a factor nor a bound of `clip`: file -> how often.
LARGEST_BYTES = {
    "benchmarks/nyud.py": 1,  # the white of a picture of edges
    "benchmarks/pascal_context.py": 1,  # a class of PASCAL-Context's own numbering
    "harness/bench/loading.py": 1,  # the white of a picture of edges
}


def parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def codes(source: str) -> list[int]:
    """The lines with a number 255 that is neither a factor or divisor nor a bound, as of pictures of 8 bits."""
    tree = ast.parse(source)
    above = parents(tree)

    def scales(node: ast.AST) -> bool:
        user = above[node]
        if isinstance(user, ast.BinOp):
            return isinstance(user.op, ast.Mult | ast.Div)
        clips = isinstance(user, ast.Call) and isinstance(user.func, ast.Attribute)
        return clips and user.func.attr in ("clip", "clamp", "clamp_")

    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value == 255
        if not scales(node)
    ]


def is_kind(node: ast.AST) -> bool:
    """Whether an expression is the kind of a task, something of it, or its type; not NumPy's or a parameter's kind."""
    return any(
        isinstance(part, ast.Attribute)
        and part.attr == "kind"
        and not (isinstance(part.value, ast.Attribute) and part.value.attr == "dtype")
        for part in ast.walk(node)
    )


def names_a_kind(node: ast.AST) -> bool:
    return any(
        (isinstance(part, ast.Constant) and part.value in NAMES and type(part.value) is str)
        or (isinstance(part, ast.Name) and part.id in NAMES)
        for part in ast.walk(node)
    )


def is_harmless(node: ast.AST) -> bool:
    """Whether a comparison with this tells no kinds of label apart: None, or kinds of inspect.Parameter in capitals."""
    members = node.elts if isinstance(node, ast.Tuple) else [node]
    parameters = all(isinstance(one, ast.Attribute) and one.attr.isupper() for one in members)
    return parameters or (isinstance(node, ast.Constant) and node.value is None)


def branches(source: str) -> list[int]:
    """The lines that tell kinds of label apart: by a comparison, `isinstance`, `match`, or as the key of a table."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            about = any(map(is_kind, sides)) and not all(map(is_harmless, node.comparators))
            named = any("kind" in ast.unparse(side).lower() for side in sides) and any(map(names_a_kind, sides))
            if about or named:
                found.append(node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            if any(map(is_kind, node.args)) or names_a_kind(node.args[1]):
                found.append(node.lineno)
        elif (isinstance(node, ast.Match) and is_kind(node.subject)) or (
            isinstance(node, ast.Subscript) and is_kind(node.slice)
        ):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "source",
    [
        'if task.kind == "label": pass',
        'if "label" != task.kind: pass',
        "x = 1 if task.kind is Label else 2",
        'if task.kind.name in ("scalar", "vector"): pass',
        'if kinds[name] == "label": pass',
        'if kind == "vector": pass',
        "if type(task.kind) is Scalar: pass",
        "if isinstance(task.kind, Vector): pass",
        "if isinstance(kind, Vector): pass",
        'fill = {"label": 255, "scalar": 0}[task.kind]',
        "match task.kind:\n    case Label(): pass",
    ],
)
def test_the_reader_of_sources_sees_a_branch_on_a_kind(source):
    assert branches(source) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "if array.dtype.kind not in 'biuf': pass",
        "if p.kind is p.VAR_KEYWORD: pass",
        "if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD): pass",
        'if kind == "sgd": pass',
        "if self.kind is None: pass",
        'if entry["label"] == "scalar": pass',
    ],
)
def test_the_reader_of_sources_leaves_other_kinds_alone(source):
    assert branches(source) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("VOID = 255", [1]),
        ("x = 0xff", [1]),
        ("valid = label != 255.0", [1]),
        ("y = torch.full(size, 255)\nz = label.fill_(255)", [1, 2]),
        ("classes = range(255 + 1)", [1]),
        ("image = (x / 255).clip(0, 255) * 255", []),
        ("x = 254\ny = '255'\nz = True", []),
    ],
)
def test_the_reader_of_sources_sees_an_ignore_code(source, lines):
    assert codes(source) == lines


@pytest.mark.parametrize("name", FILES)
def test_no_file_tells_kinds_of_label_apart(name):
    lines = branches(FILES[name].read_text())
    assert not lines, f"{name}, lines {lines}: ask the kind; what differs between kinds is a method in {KINDS}"


def test_the_ignore_code_is_written_once():
    found = {name: len(codes(file.read_text())) for name, file in FILES.items()}
    assert Counter(found) == Counter(LARGEST_BYTES | {KINDS: 1}), f"import IGNORE from {KINDS}"


def assigned(file: Path) -> set[str]:
    """The names for the ignore code that a file makes: usual ones, whatever they stand for, and others of `IGNORE`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            given = {target.id for target in targets if isinstance(target, ast.Name)}
            found |= given & {"IGNORE", "VOID", "INVALID"}
            if isinstance(node.value, ast.Name) and node.value.id == "IGNORE":
                found |= given
    return found


def test_the_ignore_code_has_one_name_and_comes_from_one_file():
    for name, file in FILES.items():
        if name != KINDS:
            assert not assigned(file), f"{name} gives the ignore code another name"
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "IGNORE" for alias in node.names):
                assert node.module == "mtlbench.benchmarks.tasks.kinds", f"{name} imports IGNORE from {node.module}"
                assert not any(alias.asname for alias in node.names if alias.name == "IGNORE"), name
