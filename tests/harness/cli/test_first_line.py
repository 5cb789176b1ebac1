"""A command that waits for a library that takes seconds says first what it does."""

import json
import os
import subprocess
import sys

import pytest

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
    "data doctor nyud --json": ("PyTorch", "stderr", "looking at 24 images of nyud"),
    "data prepare nyud": ("PyTorch", "stderr", "preparing nyud"),
    "track rooms": ("MLflow", "stderr", "bringing MLflow up to date with rooms in runs"),
}

# Slips in a matrix: each is said before other mistakes are looked for, which takes PyTorch.
SLIPS = {
    "run smoke --set trian.epochs=1": "trian: unknown key",
    "doctor smoke --set methods=[singel_task]": "methods.0.name: unknown method 'singel_task'",
}

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
            app(command.split(), standalone_mode=False)
        except Reached:
            reached = True
    said[command] = (reached, *(stream.getvalue() for stream in streams))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    libraries = {command: MODULES[library] for command, (library, *_) in COMMANDS.items()}
    libraries |= dict.fromkeys(SLIPS, "torch")
    command = [sys.executable, "-c", UNTIL, json.dumps(libraries)]
    folder = tmp_path_factory.mktemp("here")
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
