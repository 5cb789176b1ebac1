"""The command line as a whole: every command says what it is for, and waits only for the libraries that it needs."""

import importlib
import json
import re
import subprocess
import sys
from functools import partial
from importlib import metadata

import pytest
from typer.testing import CliRunner

import make_records
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.harness.cli import methods as methods_commands
from mtlbench.harness.cli import usage
from mtlbench.harness.cli.app import COMMANDS, app
from mtlbench.harness.inspect import listing
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES
from mtlbench.harness.matrix.text.written import embedded
from mtlbench.methods import METHODS
from mtlbench.methods.weights import WEIGHTS_TAG

EVERY = [*([name] for name in COMMANDS), *(["data", name] for name in ("verify", "doctor", "prepare"))]

# Libraries that take a second or more to import, and those that each command may import.
HEAVY = {"torch", "torchvision", "timm", "ray", "mlflow", "accelerate", "sklearn", "pandas", "matplotlib", "scipy"}
MAY_IMPORT = [
    (["plan", "--difference", "1", "--sd", "0.82"], {"scipy"}),
    (["audit"], {"pandas"}),
    (["status", "smoke"], {"torch", "scipy", "pandas"}),
    (["status"], {"pandas"}),
    (["gc", "--store", "nowhere"], {"pandas"}),
    (["show", "nothing", "--store", "nowhere"], {"pandas"}),  # a refusal waits for no more than a success
]

IMPORTED = """
import json, sys
from mtlbench.harness.cli.app import app

for command in json.loads(sys.argv[1]):
    try:
        app(command, standalone_mode=False)
    except SystemExit:
        pass
print(json.dumps(sorted(set(sys.argv[2].split()) & sys.modules.keys())), file=sys.stderr)
"""


def imported(*commands):
    """The heavy libraries that are imported by commands that run in one new process."""
    arguments = [json.dumps(commands), " ".join(HEAVY)]
    done = subprocess.run([sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_help_of_every_command_shows_an_example(command):
    said = CliRunner().invoke(app, [*command, "--help"])
    assert said.exit_code == 0
    assert f"Example:  mtlbench {' '.join(command)}" in said.stdout


def test_no_command_is_left_out():
    assert {name for name, *_ in EVERY} == {*COMMANDS, "data"}
    listed = CliRunner().invoke(app, ["--help"]).stdout
    assert all(f"  {name} " in listed for name in (*COMMANDS, "data"))


def test_help_waits_for_no_heavy_library():
    assert imported(["--help"], *([*command, "--help"] for command in EVERY)) == set()


@pytest.mark.parametrize(("module", "name"), usage.ERRORS_OF_THE_USER)
def test_errors_of_the_user_exist(module, name):
    assert issubclass(getattr(importlib.import_module(module), name), Exception)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "allowed"), MAY_IMPORT, ids=[" ".join(command) for command, _ in MAY_IMPORT])
def test_a_command_waits_for_no_library_that_it_does_not_need(command, allowed):
    assert imported(command) == allowed


def test_list_shows_everything_that_a_matrix_can_choose():
    said = CliRunner().invoke(app, ["list"]).stdout
    for names in (METHODS, WEIGHTS_TAG, BENCHMARKS, OPTIMIZERS, SCHEDULES, embedded()):
        assert all(re.search(rf"\b{name}\b", said) for name in names)
    assert (
        "hrnet_w18_small_v2.ms_in1k" in said
        and "protocol: mtl, atrc" in said
        and "csam: true or false (default true)" in said
    )
    assert said.count("published on resnet18 and resnet50 with output_stride 8 and head deeplab; anything else is") == 3
    assert said.count("or package.module:Name") == 5


def test_a_list_on_a_terminal_of_80_columns_has_whole_words_and_whole_sentences(monkeypatch):
    monkeypatch.setattr(methods_commands, "fitted", partial(usage.fitted, width=80))
    said = CliRunner().invoke(app, ["list"]).stdout
    assert max(map(len, said.splitlines())) <= 80 and "Literal[" not in said
    assert "head: hrnet or fcn_atrc or deeplab (default hrnet)" in said
    for section in listing.sections():
        for entry in section.entries:
            assert all(" ".join(text.split()) in " ".join(said.split()) for text in entry.texts), entry
            assert section.title != "Matrices" or entry.texts[0].endswith((".", "?")), entry
    assert "  smoke              Three methods on a handful of rooms" in said


WIDTH = 78  # of a help on a terminal of 80 columns


def test_the_list_of_commands_fits_a_terminal_of_80_columns():
    listed = CliRunner().invoke(app, ["--help"], terminal_width=WIDTH).output
    commands = listed.partition("Commands:")[2].splitlines()
    # data, new and launch have commands of their own
    assert len([line for line in commands if line.strip()]) == len(COMMANDS) + 3
    assert "..." not in "".join(commands) and max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize("group", ["data", "new", "launch"])
def test_the_list_of_commands_of_a_group_fits_a_terminal_of_80_columns(group):
    listed = CliRunner().invoke(app, [group, "--help"], terminal_width=WIDTH).output
    commands = listed.partition("Commands:")[2]
    assert commands.count("\n") > 3 and "..." not in commands and max(map(len, listed.splitlines())) <= 80


def test_the_version_is_that_of_the_package():
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0 and done.output == f"mtlbench {metadata.version('mtlbench')}\n"


# What a shell is offered from stores: all of it, in the order of the words.
OF_STORES = {
    "mtlbench report r": ["rooms", "roomy.yaml", "runs/"],
    "mtlbench report table1": [],
    "mtlbench report --store other t": ["theirs", "torn"],
    "mtlbench report --store nowhere t": [],
    "mtlbench status --store other th": ["theirs"],
    "mtlbench show p": ["pad-net", *(f"pad_net-semseg-depth-rooms-{seed}" for seed in range(3))],
    "mtlbench show P": ["PAD-Net"],
    "mtlbench show pad s": ["semseg+depth", "seed"],
    "mtlbench show pad seed 1": ["1"],
    "mtlbench show --store other pad-": ["pad-net"],
    "mtlbench show --store nowhere p": [],
    "mtlbench rescore roo": ["rooms"],
}


def stored(folder, name):
    """A store with a matrix of one cell, and one whose manifest is damaged."""
    made = make_records.Store(folder, name)
    made.run("PAD-Net", ("semseg", "depth"), 0)
    made.close()
    (folder / "matrices" / "torn.json").write_text("{")


@pytest.fixture(scope="module")
def completed(tmp_path_factory):
    """({words of a command: what bash is offered}, the heavy libraries that this took)."""
    folder = tmp_path_factory.mktemp("completed")
    (folder / "roomy.yaml").touch()
    (folder / "sub").mkdir()
    (folder / "sub" / "mine.yml").touch()
    make_records.three_seeds(folder / "runs")
    stored(folder / "other", "theirs")
    asked = ["mtlbench ru", "mtlbench run roo", "mtlbench run sub/m", "mtlbench status smo", "mtlbench describe pad",
             *OF_STORES]  # fmt: skip
    code = (
        "import contextlib, io, json, os, sys\nfrom mtlbench.harness.cli.app import app\nfound = {}\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    said = io.StringIO()\n"
        "    last = str(len(words.split()) - 1)\n"
        "    os.environ.update(_MTLBENCH_COMPLETE='complete_bash', COMP_WORDS=words, COMP_CWORD=last)\n"
        "    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):\n"
        "        app(prog_name='mtlbench')\n"
        "    found[words] = said.getvalue().split()\n"
        "print(json.dumps([found, sorted(set(sys.argv[2].split()) & sys.modules.keys())]))\n"
    )
    command = [sys.executable, "-c", code, json.dumps(asked), " ".join({*HEAVY, "numpy", "pyarrow"})]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, timeout=60)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("mtlbench ru", {"run"}),
        ("mtlbench run roo", {"rooms", "roomy.yaml"}),
        ("mtlbench run sub/m", {"sub/mine.yml"}),
        ("mtlbench status smo", {"smoke"}),
        ("mtlbench describe pad", {"pad_net"}),
    ],
)
def test_a_shell_completes_commands_matrices_and_methods_without_a_heavy_library(completed, words, offers):
    found, libraries = completed
    assert offers <= set(found[words]) and libraries == []
    assert all(offer.startswith(words.split()[-1]) for offer in found[words])


@pytest.mark.parametrize("words", OF_STORES)
def test_a_shell_is_offered_what_the_store_of_the_command_line_holds(completed, words):
    assert completed[0][words] == OF_STORES[words]


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        (["audit"], "audit [OPTIONS] [TABLE]"),
        (["run"], "run [OPTIONS] MATRIX"),
        (["report"], "report [OPTIONS] [MATRIX]..."),
        (["describe"], "describe [OPTIONS] [METHOD]..."),
        (["show"], "show [OPTIONS] WORD..."),
        (["rescore"], "rescore [OPTIONS] NAME..."),
        (["export"], "export [OPTIONS] FORMAT [MATRIX]..."),
        (["data", "verify"], "data verify [OPTIONS] NAME"),
        (["new", "method"], "new method [OPTIONS] NAME"),
        (["launch", "slurm"], "launch slurm [OPTIONS] MATRIX"),
    ],
    ids=" ".join,
)
def test_usage_reads_as_in_a_manual(command, usage):
    first = CliRunner().invoke(app, [*command, "--help"], prog_name="mtlbench").output.splitlines()[0]
    assert first == f"Usage: mtlbench {usage}"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["show"], "show needs WORD...; for example: mtlbench show pad seed 1 --matrix rooms"),
        (
            ["plan", "--sd", "1"],
            "plan needs --difference; for example: mtlbench plan --difference 1 --sd 0.82 --rows 6",
        ),
        (["data", "verify"], "data verify needs NAME; for example: mtlbench data verify nyud --data /data/NYUD_MT"),
    ],
    ids=str,
)
def test_a_missing_argument_is_one_line_with_an_example(command, said):
    done = CliRunner().invoke(app, command, prog_name="mtlbench")
    assert done.exit_code == 2 and done.stderr == f"mtlbench: {said}\n" and done.stdout == ""


def test_without_an_argument_the_commands_are_listed():
    done = CliRunner().invoke(app, [])
    assert "Commands:" in done.output and "mtlbench run smoke" in done.output


# Garbage that says when Python looks at it.
GARBAGE = """
import sys
from mtlbench.harness.cli.app import main

class Loop:
    def __del__(self):
        print("looked for garbage")

loop = Loop()
loop.itself = loop
sys.argv[1:] = ["--version"]
main()
"""


def test_a_command_ends_without_a_look_for_garbage():
    """Among the objects that a run has loaded, about a million, it would take seconds."""
    done = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True, check=True)
    assert done.stdout == f"mtlbench {metadata.version('mtlbench')}\n"
