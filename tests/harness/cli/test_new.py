"""`mtlbench new`: what it writes passes the checks of its kind at once, and nothing is written over."""

import functools
import subprocess
import sys

import pytest
import yaml

from cells import BACKBONE, SIZE
from command import invoke
from mtlbench import methods
from mtlbench.harness.inspect import conformance
from mtlbench.harness.matrix.file import read
from mtlbench.harness.start import files


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of a user's, in which modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - known:
        if name.startswith("written_"):
            del sys.modules[name]


def next_command(said):
    """The words of the command that `mtlbench new` proposes."""
    (line,) = [line for line in said.splitlines() if line.startswith("next   mtlbench ")]
    return line.split()[2:]


def test_the_method_passes_every_check(here, monkeypatch):
    done = invoke("new", "method", "written_net")
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(methods, "build", functools.partial(methods.build, backbone=BACKBONE))
    checked = invoke(*next_command(done.output))
    assert checked.exit_code == 0 and checked.output.count("ok  ") == len(conformance.RULES), checked.output


@pytest.mark.slow
def test_the_matrix_is_accepted_and_its_method_and_data_may_be_those_that_are_written(here):
    done = invoke("new", "matrix", "mine")
    assert done.exit_code == 0 and next_command(done.output) == ["run", "mine.yaml", "--dry-run"]
    planned = invoke(*next_command(done.output), "--set", f"size={list(SIZE)}", "--set", f"backbone={BACKBONE}")
    assert planned.exit_code == 0 and "12 cells, 12 to run" in planned.output, planned.output
    assert invoke("new", "method", "written_row").exit_code == invoke("new", "dataset", "written_data").exit_code == 0
    content = yaml.safe_load((here / "mine.yaml").read_text())
    content["methods"].append({"name": "written_row:WrittenRow", "options": {"width": 32}})
    content["benchmark"] = {"name": "written_data:WrittenData"}
    (here / "both.yaml").write_text(yaml.safe_dump(content))
    assert read("both.yaml").benchmarks[0].task_sets == [("semseg", "depth")]


def test_the_data_set_is_verified_and_checked(here):
    done = invoke("new", "dataset", "written_rooms")
    assert done.exit_code == 0, done.output
    verified = invoke(*next_command(done.output))
    assert verified.exit_code == 0 and "nothing is wrong" in verified.output, verified.output
    assert "train: 4 images (4 of 64 x 96)" in verified.output and "3 classes" in verified.output
    checked = invoke("check", "written_rooms:WrittenRooms", "--data", "written_rooms_sample")
    assert checked.exit_code == 0 and "FAIL" not in checked.output, checked.output


def test_a_written_file_is_formatted_as_ours_are(tmp_path):
    for kind in (files.method, files.dataset):
        for path, content in kind("written_so").items():
            if path.suffix == ".py":
                (tmp_path / path.name).write_bytes(content)
    ruff = [sys.executable, "-m", "ruff"]
    done = subprocess.run([*ruff, "format", "--check", "--line-length=120", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*ruff, "check", "--line-length=120", "--select=E,F,UP,B", tmp_path], capture_output=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["my table", "a: b #c", "it's", 'say "so"', "1e3"])
def test_the_matrix_has_its_name_whatever_yaml_reads_in_it(here, name):
    done = invoke("new", "matrix", name, "--out", "deep/er")
    assert done.exit_code == 0, done.output
    matrix = read(str(here / "deep" / "er" / f"{name}.yaml"))
    assert (matrix.name, matrix.title) == (name, name)


@pytest.mark.parametrize("kind, file", [("method", "taken.py"), ("matrix", "taken.yaml"), ("dataset", "taken.py")])
def test_nothing_is_written_over(here, kind, file):
    (here / file).write_text("mine")
    done = invoke("new", kind, "taken")
    assert done.exit_code == 2
    assert done.stderr == (
        f"mtlbench: {file}: exists already, and is not written over; give another name, or another --out\n"
    )
    assert [path.name for path in here.iterdir()] == [file] and (here / file).read_text() == "mine"


@pytest.mark.parametrize(
    "kind, name, said",
    [
        ("method", "3d", "'3d' cannot be the name of a Python module and of its class"),
        ("method", "my-net", "such as my_net"),
        ("method", "none", "'none' cannot be"),
        ("method", "class", "'class' cannot be"),
        ("method", "method", "the file itself imports a Method; give another name, as my_method"),
        ("dataset", "field", "the file itself imports a Field"),
        ("dataset", "yaml", "yaml/__init__.py first; give another name, such as my_yaml"),
        ("method", "sys", "'sys': Python would find the module sys of Python itself first; give another name, such as"),
        ("method", "abc", "'abc': Python would find the module abc of Python itself first"),
        ("method", "json", "'json': Python would find the module json of Python itself first"),
        ("matrix", "a/b", "'a/b': records, tables and figures are put under this name"),
        ("matrix", "", "'': records"),
    ],
)
def test_a_name_that_will_not_do_is_one_line_with_the_way_out(here, kind, name, said):
    done = invoke("new", kind, name)
    assert done.exit_code == 2 and said in done.stderr and "give" in done.stderr and done.stderr.count("\n") == 1
    assert [*here.iterdir()] == []
