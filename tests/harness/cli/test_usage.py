"""What a command that cannot do what was asked for says, and what those that only look say."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cells import matrix_file
from command import invoke
from make_records import Store
from mtlbench.harness.cli import usage
from mtlbench.harness.cli.usage import fitted
from mtlbench.harness.store import kept


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, which is empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "nowhere"], "no matrix file 'nowhere'"),
        (["run", "smoke", "--set", "train.epochss=3"], "train.epochss: unknown key"),
        (["run", "smoke", "--set", "benchmark.tasks=[flow]"], "rooms has no task 'flow'"),
        (["run", "smoke", "--set", "size=[100,128]"], "multiples of 32"),
        (["run", "smoke", "--set", "backbone=resnet_9000"], "unknown backbone 'resnet_9000'"),
        (["run", "smoke", "--set", "benchmark=nyud"], "give --data nyud=PATH"),
        (["run", "smoke", "--set", "benchmark=nyud", "--data", "nyud=/no/such"], "/no/such: no such folder"),
        (["run", "smoke", "--set", "benchmark=nyud", "--data", "nyud=/usr"], "images"),
        (["run", "smoke", "--data", "kitti=/tmp"], "the matrix has rooms"),
        (["run", "smoke", "--only", "xyz"], "fits no cell's id and no label"),
        (["run", "smoke", "--store", "/proc/nothing"], "cannot write into the store /proc/nothing: there is no"),
        (["run", "smoke", "--rerun", "some"], "'--rerun': 'some' is not one of 'none', 'failed', 'stale', 'all'"),
        (["run", "smoke", "--set", "seeds=1"], "seeds: 1 is no list; write seeds: [1], or --set seeds=[1]"),
        (["run", "smoke", "--tracking-uri", "htp://x"], "htp"),
        (["status", "nowhere"], "no matrix file 'nowhere', and no embedded one of that name: ablation_rooms, "),
        (["status", "nowhere"], "/runs holds none either"),
        (["ui"], "no matrix was run into this store; check --store"),
        (["gc", "--yes"], "no cell in this store"),
        (["show", "nothing"], "fits no cell"),
        (["report"], "no matrix was run into this store"),
        (["predict", "nothing", "x.jpg"], "fits no cell"),
        (["check", "no.such:Thing"], "cannot be imported: No module named 'no'; Python looked in what is installed"),
        (["check", "no_such_thing"], "unknown method or benchmark 'no_such_thing'"),
        (["run", "smoke", "--out", "/dev/null/x"], "/dev/null is no folder; give another"),
        (["ui", "--port", "70000"], "65535"),
    ],
)
def test_what_makes_no_sense_ends_in_one_clear_line_and_leaves_nothing(here, arguments, expected):
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert list(here.iterdir()) == []
    assert {made.name for made in here.parent.glob("cache/*")} <= {kept.ANSWERS}


def test_the_status_and_the_line_of_a_mistake_are_those_of_the_process(here):
    command = [sys.executable, "-m", "mtlbench", "run", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no matrix file 'nowhere'" in done.stderr and "Traceback" not in done.stderr
    assert list(here.iterdir()) == []


def test_slips_are_said_before_torch_is_loaded_and_all_other_mistakes_after_them(here, monkeypatch):
    monkeypatch.setattr(usage, "opening", lambda doing, library: typer.echo(f"{doing}; {library}", err=True))
    done = invoke(
        "run", "smoke", *("--set", "seedz=[0]"), *("--set", "seeds=[1,1]"), *("--set", "benchmark.tasks=[flow]")
    )
    assert done.exit_code == 2 and done.stdout == ""
    first, slip, then, second, *rest = done.stderr.splitlines()
    assert first.startswith("mtlbench: ") and first.endswith("smoke.yaml: 1 mistake")
    assert slip.startswith("  seedz: unknown key") and then == "looking for more mistakes; torch"
    assert second.endswith("smoke.yaml: 2 more")
    assert [line.split(":")[0].strip() for line in rest] == ["benchmarks.0", "seeds"]
    only = invoke("run", "smoke", "--set", "seedz=[0]").stderr
    assert only.splitlines() == [first, slip, then, "mtlbench: no other mistake was found"]


def test_check_names_the_classes_of_a_module_whose_class_was_forgotten(here, monkeypatch):
    monkeypatch.syspath_prepend(here)
    (here / "my_two.py").write_text(
        "from mtlbench.methods import Method\nfrom mtlbench.methods.baseline import MultiTask\n"
        "class First(MultiTask): pass\nclass Second(Method): pass\nclass Other: pass\n"
    )
    (here / "my_slip.py").write_text("import nothing_of_this_name\n")
    done = invoke("check", "my_two")
    assert done.exit_code == 2
    assert done.stderr == "mtlbench: my_two is a module; name a class of it: my_two:First, my_two:Second\n"
    slip = invoke("check", "my_slip").stderr
    assert "module 'my_slip' cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'" in slip
    assert "my_slip.py:1" in slip and slip.count("\n") == 1
    missing = invoke("check", "my_too:First").stderr
    assert missing.count("\n") == 1 and f"and in the current folder, {here}; run the command in" in missing


@pytest.fixture
def untracked(here):
    """A store whose matrix was not tracked."""
    made = Store(here / "runs", "three")
    made.single(("semseg",), 0)
    return made.close()


def test_a_port_that_is_taken_is_refused_before_its_pages_are_named(untracked):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = invoke("ui", "--port", port)
    assert done.exit_code == 2 and f"port {port} cannot be had" in done.stderr
    assert "http" not in done.stdout


def test_status_lists_what_the_store_holds_beside_the_embedded_matrices(untracked):
    done = invoke("status", "nowhere", "--store", "runs")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "smoke" in done.stderr and "/runs holds: three; `mtlbench status` without a name" in done.stderr


def test_ui_refuses_a_store_that_shows_nothing_and_makes_no_database(untracked):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for options, expected in [
        (["--tracking-uri", "foo"], "unknown kind"),
        ([], "show it with: mtlbench track three --store runs\n"),
    ]:
        done = invoke("ui", "--port", port, *options)
        assert done.exit_code == 2 and expected in done.stderr and done.stderr.count("\n") == 1
        assert done.stdout == "" and not (Path(untracked) / "mlflow.db").exists()


def test_list_names_methods_with_options_benchmarks_with_tasks_and_matrices():
    done = invoke("list")
    assert done.exit_code == 0, done.stderr
    for word in ("pad_net", "head: ", "rooms", "edge", "--data needed", "smoke"):
        assert word in done.stdout
    assert "not scored" not in done.stdout
    of_jtrl = done.stdout[done.stdout.index("  jtrl ") :].splitlines()[1:3]
    assert [line.strip().split(",")[0] for line in of_jtrl] == [
        "exactly 2 tasks",
        "re-implemented from its description",
    ]


def test_status_knows_every_cell_before_anything_ran(here):
    done = invoke("status", matrix_file(here), "--json")
    assert {row["state"] for row in json.loads(done.stdout)} == {"new"}


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_check_passes_a_method_that_keeps_the_contract_and_names_what_another_breaks():
    fine = invoke("check", "plugin:Fine")
    assert fine.exit_code == 0, fine.stdout + fine.stderr
    broken = invoke("check", "plugin:Forgets")
    assert broken.exit_code == 1
    assert "no gradient for unused" in broken.stdout
    by_place = invoke("check", "plugin:ByPlace")
    assert by_place.exit_code == 1
    assert by_place.stdout.count("FAIL  ") == by_place.stdout.count("options are keyword-only") == 1
    unmade = invoke("check", "plugin:NeedsWidth")
    assert unmade.stdout.count("option width (int) is not given") == unmade.stdout.count("FAIL  ") == 1
    assert unmade.stdout.count("not checked") > 5


def test_the_address_of_tracking_may_come_from_the_variable_of_mlflow(here, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htp://x")
    done = invoke("run", "smoke")
    assert done.exit_code == 2 and "tracking URI 'htp://x': unknown kind" in done.stderr


@pytest.mark.parametrize("width", [80, 120])
def test_lines_end_between_words_on_a_terminal_and_stay_whole_in_a_pipe(width):
    text = "\n".join(
        ["new       PAD-Net · semseg+depth · seed 0  " + "some words of an error that is long " * 5, "", "short"]
    )
    lines = fitted(text, width).splitlines()
    assert max(map(len, lines)) <= width and lines[-2:] == ["", "short"]
    assert " ".join(fitted(text, width).split()) == " ".join(text.split())
    assert fitted(text) == text
