"""The README's map from equations and tables to code and tests is true."""

import re

import pytest

from paths import ROOT

README = (ROOT / "README.md").read_text()
ROWS = re.findall(r"^\| (Eq\. \(\d\)|Table \d)[^|]*\| ([^|]*)\| ([^|]*)\|$", README, flags=re.MULTILINE)


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_map_has_every_equation_and_table_once():
    assert sorted(name for name, _, _ in ROWS) == [f"Eq. ({n})" for n in range(1, 7)] + [
        f"Table {n}" for n in range(1, 6)
    ]


@pytest.mark.parametrize("number", range(1, 7))
def test_each_equation_opens_exactly_one_docstring(number):
    opening = f'"""Eq. ({number})'
    found = [path for path in sources("methods", "results", "harness", "benchmarks") if opening in path.read_text()]
    assert len(found) == 1, f"{opening} opens a docstring in {[str(path) for path in found]}"
    (where,) = [code for name, code, _ in ROWS if name == f"Eq. ({number})"]
    assert found[0].relative_to(ROOT).as_posix() in where


@pytest.mark.parametrize(("name", "code", "tests"), ROWS)
def test_whatever_the_map_names_exists(name, code, tests):
    for file in re.findall(r"`([\w/]+\.(?:py|yaml))`", code + tests):
        assert (ROOT / file).is_file(), f"{name}: {file} does not exist"
    module = re.search(r"`([\w/]+\.py)`", code)
    for symbol in re.findall(r"`(\w+)`", code):
        assert module and re.search(rf"^(class|def) {symbol}\b", (ROOT / module[1]).read_text(), re.MULTILINE), symbol
    for file in re.findall(r"`(tests/[\w/]+\.py)`", tests):
        if name.startswith("Eq."):
            assert name in (ROOT / file).read_text(), f"{file} does not name {name}"


def test_every_command_that_the_readme_shows_exists():
    from typer.testing import CliRunner

    from mtlbench.harness.cli.app import app

    for command in sorted(set(re.findall(r"^mtlbench ([a-z]+)", README, flags=re.MULTILINE))):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE)):
        assert f"\n{target}:" in makefile, target


def test_files_that_the_readme_links_to_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
