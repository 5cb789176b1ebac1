"""A command that waits for a library that takes seconds says first what it does."""

import json
import os
import subprocess
import sys

import pytest

import make_records
from mtlbench.harness.driver.standing import digest
from mtlbench.harness.matrix.text.written import load
from mtlbench.harness.store import process
from mtlbench.harness.store.claim import Claim, Claims
from mtlbench.harness.store.store import Store

# The library that a command waits for, the stream, and what it says. pandas comes first: other commands import it too.
COMMANDS = {
    "report rooms": ("pandas", "stderr", "writing the report of rooms in runs"),
    "run smoke --store s": ("PyTorch", "stdout", "smoke: 3 methods, 1 seed, on rooms; store s"),
    "run rooms --dry-run --set seeds=[3,4]": ("PyTorch", "stderr", "methods, 2 seeds, on rooms; store runs"),
    "run rooms --set benchmark=nyud --dry-run": ("PyTorch", "stderr", "on nyud"),
    "doctor smoke": ("PyTorch", "stderr", "smoke: 3 methods"),
    "status smoke": ("PyTorch", "stderr", "smoke: 3 methods"),
    "list": ("PyTorch", "stderr", "listing"),
    "describe pad_net atrc --json": ("PyTorch", "stderr", "counting what pad_net, atrc costs on rooms"),
    "check my_net:MyNet": ("PyTorch", "stderr", "checking my_net:MyNet"),
    "new dataset my_rooms": ("PyTorch", "stderr", "making my_rooms.py and images for it"),
    "data verify nyud --json": ("PyTorch", "stderr", "reading every file of nyud"),
    "data doctor nyud --json": ("PyTorch", "stderr", "looking at up to 24 images of nyud"),
    "data prepare nyud": ("PyTorch", "stderr", "preparing nyud"),
    "track rooms": ("MLflow", "stderr", "bringing MLflow up to date with rooms in runs"),
}

# Slips in a matrix: each is said before other mistakes are looked for, which takes PyTorch.
SLIPS = {
    "run smoke --set trian.epochs=1": "trian: unknown key",
    "doctor smoke --set methods=[singel_task]": "methods.0.name: unknown method 'singel_task'",
}

# What is wrong with the command, and said without a library that takes seconds.
REFUSED = {
    "predict Single·task·semseg·seed·0 nofile.jpg --store kept": (
        "torch",
        "nofile.jpg: No such file or directory; nothing was predicted",
    ),
    "predict Single·task·semseg·seed·0 a/x.png b/x.png --store kept": (
        "torch",
        "a/x.png and b/x.png would both become x.png",
    ),
    "predict Single·task·semseg·seed·0 --test 99 --store kept": (
        "torch",
        "--test 99: the test split of rooms has the images 0 to 11",
    ),
    "run smoke --only zzz --store kept": ("torch", "labels: Single task; ids: single_task-semseg-rooms-0, single"),
    "run smoke --only zzz --dry-run --store kept": (
        "torch",
        "--only zzz: fits no cell's id and no label; labels: Sing",
    ),
    "run smoke --store driven": ("torch", "driven is driven by process"),
    "run smoke --store /proc/nothing": (
        "torch",
        "cannot write into the store /proc/nothing: there is no room in /proc",
    ),
    "report --paper foo --store kept": ("pandas", "--paper: 'foo' is neither neurips, cvpr, ieee nor a width such as"),
}

# What is not known to be wrong, though a store holds cells: it waits for PyTorch, as everything else.
PASSED = [
    "run smoke --only task --store kept",
    "run smoke --only zzz --store other",
    "predict Single·task·semseg·seed·0 --test 11 --store kept",
]

MODULES = {"PyTorch": "torch", "MLflow": "mlflow", "pandas": "pandas"}

# Runs each command until it imports its library, and prints what it has said by then.
UNTIL = """
import contextlib, io, json, sys

from mtlbench.harness.cli.app import app


class Reached(BaseException):
    pass


class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == library:
            raise Reached


sys.meta_path.insert(0, Stop())
said = {}
for command, library in json.loads(sys.argv[1]).items():
    streams = io.StringIO(), io.StringIO()
    reached = False
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            app([word.replace("·", " ") for word in command.split()], standalone_mode=False)
        except Reached:
            reached = True
    said[command] = (reached, *(stream.getvalue() for stream in streams))
print(json.dumps(said))
"""


def stores_in(folder):
    """A store with the cells of a matrix, another one that this process drives, and one with another matrix."""
    for name, written in (("kept", digest(load("smoke"))), ("other", "")):
        store = make_records.Store(folder / name, "smoke", written=written)
        cell, data = {"benchmark": {"name": "rooms"}}, {"data": {"images": [48, 12]}}
        store.single(("semseg", "depth"), 0, only=("semseg",), cell=cell, provenance=data)
        store.single(("semseg", "depth"), 1, cell=cell, provenance=data)
        store.close()
    driven = Store(folder / "driven")
    Claims(driven).write(Claim("0" * 32, process.this(), "matrix m", driven.url, holds=True))


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    libraries = {command: MODULES[library] for command, (library, *_) in COMMANDS.items()}
    libraries |= dict.fromkeys([*SLIPS, *PASSED], "torch") | {
        command: library for command, (library, _) in REFUSED.items()
    }
    command = [sys.executable, "-c", UNTIL, json.dumps(libraries)]
    folder = tmp_path_factory.mktemp("here")
    stores_in(folder)
    unknown = {
        **os.environ,
        "MTLBENCH_CACHE": str(folder / "cache"),
    }  # else status may know the cells of a matrix already
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, timeout=100, env=unknown)
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_what_it_does_before_it_waits(said, command):
    library, stream, expected = COMMANDS[command]
    reached, stdout, stderr = said[command]
    assert reached or command == "track rooms"  # the folder holds nothing to track
    text, other = (stdout, stderr) if stream == "stdout" else (stderr, stdout)
    first, *more = text.splitlines()
    assert expected in first and first.endswith(f"; loading {library}")
    assert other == "" and (not more or not reached)


@pytest.mark.parametrize("command", SLIPS)
def test_a_slip_is_said_before_other_mistakes_are_looked_for(said, command):
    reached, stdout, stderr = said[command]
    first, slip, last = stderr.splitlines()
    assert reached and stdout == "" and first.endswith("smoke.yaml: 1 mistake")
    assert slip.startswith(f"  {SLIPS[command]}") and last == "looking for more mistakes; loading PyTorch"


@pytest.mark.parametrize("command", REFUSED)
def test_what_can_be_known_without_a_library_is_refused_before_it_is_loaded(said, command):
    reached, stdout, stderr = said[command]
    assert not reached and stdout == ""
    assert stderr.startswith("mtlbench: ") and stderr.count("\n") == 1 and REFUSED[command][1] in stderr


@pytest.mark.parametrize("command", PASSED)
def test_what_is_not_known_to_be_wrong_is_not_refused(said, command):
    reached, _, stderr = said[command]
    assert reached and "mtlbench: " not in stderr
