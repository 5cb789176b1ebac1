"""Small rooms: no folder, file, function or list of parameters is longer than a reader takes in at once.

A docstring may excuse a file or a function by a sentence that begins with "Long because".
"""

import ast
from collections import Counter
from pathlib import Path

import pytest

from paths import ROOT, TESTS

PACKAGES = ("benchmarks", "methods", "results", "harness")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

MOST_FILES, MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS = 12, 350, 60, 6
LONGEST = {"harness/training/train.py:train": 120}  # training, from top to bottom
# One folder holds a file for every competitor.
LARGE_ROOMS = {"methods"}
# The one way to make a network, which is its constructor.
CONSTRUCTORS = {"methods/__init__.py:build"}


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]


def excused(node) -> bool:
    return "Long because" in (ast.get_docstring(node) or "")


def parameters(function) -> list[str]:
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def too_many_parameters(name: str, function) -> bool:
    command = name.startswith("harness/cli/") and any(
        "Annotated" in ast.unparse(argument.annotation) or "Option" in ast.unparse(argument.annotation)
        for argument in function.args.args
        if argument.annotation
    )
    constructor = function.name == "__init__" or f"{name}:{function.name}" in CONSTRUCTORS
    return not command and not constructor and len(parameters(function)) > MOST_PARAMETERS


def test_the_measures_see_what_is_too_large():
    long = ast.parse("def f(a, b, *, c, d, **e):\n    '''Why.'''\n" + "    x = 1\n" * 70).body[0]
    assert parameters(long) == ["a", "b", "c", "d", "e"]
    assert long.end_lineno - long.lineno + 1 > MOST_LINES_OF_A_FUNCTION and not excused(long)
    assert excused(ast.parse("def f():\n    '''A table.\n\n    Long because it lists names.'''").body[0])
    assert too_many_parameters("harness/x.py", ast.parse("def f(a, b, c, d, e, f, g): ...").body[0])
    assert not too_many_parameters("harness/x.py", ast.parse("def f(self, b, c, d, e, f, g): ...").body[0])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_holds_more_files_than_a_reader_remembers(package):
    for folder in {file.parent for file in FILES if file.is_relative_to(ROOT / package)}:
        count = len(list(folder.glob("*.py")))
        assert count <= MOST_FILES or name_of(folder) in LARGE_ROOMS, f"{name_of(folder)}: {count} files"


def test_no_two_files_of_tests_have_one_name():
    """pytest imports each under its bare name, and refuses the second in the process that has collected the first."""
    names = Counter(file.name for file in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_folder_says_its_one_subject_in_a_sentence():
    for file in (file for file in FILES if file.name == "__init__.py"):
        said = ast.get_docstring(ast.parse(file.read_text()))
        assert said and said.splitlines()[0].endswith((".", "one.")), f"{name_of(file)}: {said!r}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_and_its_functions_are_short(file):
    tree, name = ast.parse(file.read_text()), name_of(file)
    lines = len(file.read_text().splitlines())
    assert lines <= MOST_LINES or excused(tree), f"{name}: {lines} lines"
    for function in functions(tree):
        length = function.end_lineno - function.lineno + 1
        most = LONGEST.get(f"{name}:{function.name}", MOST_LINES_OF_A_FUNCTION)
        assert length <= most or excused(function), f"{name}:{function.lineno} {function.name}: {length} lines"
        assert not too_many_parameters(name, function), f"{name}:{function.lineno} {function.name}: too many parameters"
