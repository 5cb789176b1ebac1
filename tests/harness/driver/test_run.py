"""The command line and the scheduler on whole matrices: what fails is said, what is left goes on, nothing is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import make_records
from mtlbench.harness.driver import preflight
from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store.store import Store
from mtlbench.results.records.reading import read
from paths import PYTHONPATH

SMALL = {
    "benchmark": {"name": "rooms", "tasks": ["depth"], "options": {"train": 6, "val": 2, "test": 4}},
    "size": [32, 64],
    "methods": [{"name": "single_task", "label": "Single task"}, {"name": "multi_task", "label": "Multi-task"}],
    "train": {"epochs": 2, "batch": 2},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def mtlbench(cache, tmp_path):
    """Run the command in tmp_path; returns the finished process."""

    def call(*arguments, timeout=240, **options):
        environment = {**os.environ, "MTLBENCH_CACHE": str(cache), "PYTHONPATH": PYTHONPATH}
        command = [sys.executable, "-m", "mtlbench", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout, **options
        )

    return call


def matrix(folder, name="m", **changes):
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**SMALL, **changes}))
    return file


@pytest.mark.slow
def test_failures_of_every_kind_are_retried_reported_and_do_not_stop_the_rest(mtlbench, tmp_path):
    once, dies = tmp_path / "once", tmp_path / "dies"
    methods = [
        {"name": "single_task", "label": "Single task"},
        {"name": "plugin:AlwaysFails", "label": "always"},
        {"name": "plugin:Explodes", "label": "explodes"},
        {"name": "plugin:FailsOnce", "label": "once", "options": {"marker": str(once)}},
        {"name": "plugin:Dies", "label": "dies", "options": {"marker": str(dies)}},
        {"name": "plugin:Fine", "label": "fine"},
    ]
    done = mtlbench("run", matrix(tmp_path, methods=methods), "--store", "s")
    assert done.returncode == 1, done.stdout + done.stderr
    found = read(str(tmp_path / "s"), "m")
    by_label = {entry.label: entry.id for entry in found.manifest.entries}
    finished = {label for label, cell_id in by_label.items() if cell_id in found.records}
    assert finished == {"Single task", "once", "dies", "fine"}
    assert found.failures[by_label["always"]]["attempts"] == 2
    assert "never again" in found.failures[by_label["always"]]["traceback"]
    assert found.failures[by_label["explodes"]]["attempts"] == 1  # a retry would repeat it bit for bit
    assert "Diverged" in found.failures[by_label["explodes"]]["error"]
    assert "2 of 6 cells are missing" in done.stderr
    assert "never again" in done.stderr
    assert "failed" in done.stdout  # in the table
    for noise in ("Traceback", "did not complete"):  # `show` has the traceback
        assert noise not in done.stdout + done.stderr
    assert "Traceback" in Path(found.failures[by_label["always"]]["log"]).read_text()
    fine, again = found.records[by_label["fine"]], found.records[by_label["once"]]
    assert [s.value for s in again.scores] == [s.value for s in fine.scores]  # resumed to the same bits
    shown = mtlbench("show", "AlwaysFails", "--store", "s")
    assert shown.returncode == 0 and "never again" in shown.stdout


@pytest.mark.slow
def test_a_killed_driver_leaves_a_store_that_the_same_command_finishes(mtlbench, cache, tmp_path):
    file = matrix(tmp_path, train={"epochs": 60, "batch": 2}, methods=["single_task", "multi_task"])
    environment = {**os.environ, "MTLBENCH_CACHE": str(cache), "PYTHONPATH": PYTHONPATH}
    driver = subprocess.Popen(
        [sys.executable, "-m", "mtlbench", "run", str(file), "--store", "s"],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    store = Store(tmp_path / "s")
    deadline = time.monotonic() + 200
    while not any("checkpoints" in store.names(store.folder(cell_id)) for cell_id in store.cells()):
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.2)
    second = mtlbench("run", file, "--store", "s")
    assert second.returncode == 2 and f"driven by process {driver.pid}" in second.stderr
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = mtlbench("run", file, "--store", "s")
    assert done.returncode == 0, done.stdout + done.stderr
    started = time.monotonic()
    again = mtlbench("run", file, "--store", "s")
    assert again.returncode == 0
    assert "starting Ray" not in again.stdout
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_a_driver_that_is_told_to_end_does_so_as_by_an_interrupt(cache, tmp_path):
    file = matrix(tmp_path, train={"epochs": 200, "batch": 2}, methods=["single_task"])
    environment = {**os.environ, "MTLBENCH_CACHE": str(cache), "PYTHONPATH": PYTHONPATH}
    driver = subprocess.Popen(
        [sys.executable, "-m", "mtlbench", "run", str(file), "--store", "s"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert any(": started" in line for line in driver.stdout)
    driver.send_signal(signal.SIGTERM)
    said, _ = driver.communicate(timeout=60)
    assert driver.returncode == 128 + signal.SIGTERM
    assert said.strip().splitlines()[-1] == "stopped; the same command goes on from the last checkpoints"
    assert "SIGTERM" not in said
    assert not (tmp_path / "s" / "driver.json").exists()


def test_a_port_that_is_taken_is_refused_before_its_pages_are_named(mtlbench):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = mtlbench("ui", "--port", port)
    assert done.returncode == 2 and f"port {port} cannot be had" in done.stderr
    assert "http" not in done.stdout


@pytest.mark.slow
def test_two_processes_a_cell_train_through_ray_train_and_score_each_image_once(mtlbench, tmp_path):
    file = matrix(tmp_path, methods=["single_task"], resources={"workers": 2})
    done = mtlbench("run", file, "--store", "s", timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read(str(tmp_path / "s"), "m")
    (record,) = found.records.values()
    assert record.provenance["processes"] == 2
    import pyarrow.parquet as pq

    rows = pq.read_table(tmp_path / "s" / "cells" / record.id / "per_image.parquet").to_pandas()
    assert sorted(rows.image) == [f"test-{index:05d}" for index in range(4)]


@pytest.mark.slow
def test_edges_are_scored_after_training_by_trials_of_their_own(mtlbench, tmp_path):
    methods = ["single_task", "multi_task", {"name": "plugin:AlwaysFails", "label": "always"}]
    benchmark = {**SMALL["benchmark"], "tasks": ["depth", "edge"]}
    file = matrix(tmp_path, methods=methods, benchmark=benchmark, resources={"retries": 0})
    done = mtlbench("run", file, "--store", "s", timeout=400)
    assert done.returncode == 1, done.stdout + done.stderr
    found = read(str(tmp_path / "s"), "m")
    records = {tuple(record.cell["tasks"]): record for record in found.records.values()}
    assert set(records) == {("depth",), ("edge",), ("depth", "edge")}
    for tasks, record in records.items():
        assert tuple(record.primary()) == tasks
        assert all(score.protocol for score in record.scores)
        folder = tmp_path / "s" / "cells" / record.id
        assert not (folder / "to_score").exists() and not (folder / "trained.json").exists()
        assert "edge" not in tasks or folder.joinpath("log.txt").read_text().count("--- ") == 2  # two stages
    assert done.stdout.count("computing scores that need no GPU") == 2
    assert "edge odsF" in done.stdout


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
        (["run", "smoke", "--store", "/proc/nothing"], "cannot write"),
        (["run", "smoke", "--tracking-uri", "htp://x"], "htp"),
        (["status", "nowhere"], "no matrix file"),
        (["ui", "--tracking-uri", "foo"], "unknown kind"),
        (["gc", "--yes"], "no cell in this store"),
        (["show", "nothing"], "fits no cell"),
        (["report"], "no matrix was run into this store"),
        (["predict", "nothing", "x.jpg"], "fits no cell"),
        (["check", "no.such:Thing"], "cannot be imported"),
        (["run", "smoke", "--out", "/dev/null/x"], "/dev/null is no folder; give another"),
        (["ui", "--port", "70000"], "65535"),
    ],
)
def test_what_makes_no_sense_ends_in_one_clear_line_and_leaves_nothing(mtlbench, tmp_path, arguments, expected):
    done = mtlbench(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_list_names_methods_with_options_benchmarks_with_tasks_and_matrices(mtlbench):
    done = mtlbench("list")
    assert done.returncode == 0, done.stderr
    for word in ("pad_net", "head: ", "rooms", "edge", "--data needed", "smoke"):
        assert word in done.stdout
    assert "not scored" not in done.stdout


def test_status_knows_every_cell_before_anything_ran(mtlbench, tmp_path):
    done = mtlbench("status", matrix(tmp_path), "--json")
    assert {row["state"] for row in json.loads(done.stdout)} == {"new"}


def test_check_passes_a_method_that_keeps_the_contract_and_names_what_another_breaks(mtlbench):
    fine = mtlbench("check", "plugin:Fine")
    assert fine.returncode == 0, fine.stdout + fine.stderr
    broken = mtlbench("check", "plugin:Forgets")
    assert broken.returncode == 1
    assert "no gradient for unused" in broken.stdout
    by_place = mtlbench("check", "plugin:ByPlace")
    assert by_place.returncode == 1
    assert by_place.stdout.count("FAIL") == by_place.stdout.count("options are keyword-only") == 1
    unmade = mtlbench("check", "plugin:NeedsWidth")
    assert unmade.stdout.count("option width (int) is not given") == 1 and unmade.stdout.count(": the same") > 5


def test_what_no_node_can_hold_is_refused_and_not_waited_for():
    nodes = [{"CPU": 8.0}, {"CPU": 8.0}]
    total = {"CPU": 16.0, "launcher": 1.0}
    assert preflight.feasible(Resources(cpus=8, workers=2), total, nodes) == []
    assert "no node has as many" in preflight.feasible(Resources(cpus=16), total, nodes)[0]
    assert "2 x 9" in preflight.feasible(Resources(cpus=9, workers=2), total, nodes)[0].replace("workers ", "")
    assert "launcher" in preflight.feasible(Resources(cpus=1, workers=2), {"CPU": 16.0}, nodes)[0]


@pytest.mark.slow
def test_starting_anew_removes_nothing_before_it_is_known_to_be_possible(mtlbench, tmp_path):
    file = matrix(tmp_path, methods=["single_task"])
    assert mtlbench("run", file, "--store", "s").returncode == 0
    (cell_id,) = Store(tmp_path / "s").cells()
    refused = mtlbench("run", file, "--store", "s", "--rerun", "all", "--set", "resources.gpus=1")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "GPU" in refused.stderr
    assert Store(tmp_path / "s").state(cell_id) == "finished"


def test_a_matrix_without_a_baseline_has_no_deltas(tmp_path):
    made = make_records.Store(tmp_path, baseline="")
    made.run("SCA-MTL", ("semseg", "depth"), 0)
    assert deltas(Store(made.close()), "rooms") == {}
