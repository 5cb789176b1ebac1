"""What fails in Ray itself, with Ray: its memory monitor kills a cell, and its raylet dies."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cells import matrix_file
from mtlbench.harness.store.store import Store

GIB = 2**30


def memory():
    """(bytes in all, bytes available), as Ray's memory monitor reads them on a machine that limits no group."""
    found = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return tuple(int(found[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))


@pytest.mark.drill
@pytest.mark.usefixtures("alone")  # what others take of the memory would count
def test_a_cell_that_the_memory_monitor_kills_is_tried_again_and_ends_no_run(commands, tmp_path, monkeypatch):
    total, available = memory()
    if available < 8 * GIB:
        pytest.skip("less than 8 GiB of memory are available")
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(total - available + 5 * GIB) / total:.3f}")
    methods = [
        {"name": "single_task", "label": "Single task"},
        {"name": "plugin:Eats", "label": "eats", "options": {"marker": str(tmp_path / "marker")}},
    ]
    file = matrix_file(tmp_path, methods=methods, train={"epochs": 2, "batch": 2})
    done = commands.run("run", file, "--store", "s")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "eats · depth · seed 0: failed, trying again from its last checkpoint: killed: the node ran out of" in said
    assert "Traceback" not in said


@pytest.mark.drill
@pytest.mark.usefixtures("in_turn")
@pytest.mark.timeout(1200)  # nine processes start, one after the other on a small machine
def test_a_cell_whose_process_stops_leaves_or_crashes_is_tried_again_and_the_line_says_why(commands, tmp_path):
    methods = [{"name": "single_task", "label": "Single task"}]
    methods += [
        {"name": f"plugin:{name}", "label": name, "options": {"marker": str(tmp_path / name)}}
        for name in ("Stops", "Leaves", "Crashes", "RunsOutAndLeaves")
    ]
    resources = {"deadline": 45, "retries": 1, "out_of_memory": "halve"}
    file = matrix_file(tmp_path, methods=methods, train={"epochs": 2, "batch": 2}, resources=resources)
    running = commands.start("run", file, "--store", "s")
    said, _ = running.communicate(timeout=1100)
    assert running.returncode == 0, said
    again = "· depth · seed 0: failed, trying again from its last checkpoint: "
    assert f"Stops {again}no batch for 45 s, and so its process was ended (resources.deadline)" in said
    assert f"Leaves {again}its process was ended by os._exit(7)" in said
    assert f"Crashes {again}its process died: Segmentation fault (log.txt has its last lines)" in said
    # A halving is none of the retries, so that this cell had two failures and only one retry.
    assert re.search(
        f"RunsOutAndLeaves {again}OutOfMemoryError: .*; going on with 1 images at once in place of 2", said
    )
    assert f"RunsOutAndLeaves {again}its process was ended by os._exit(7)" in said
    assert "Traceback" not in said and "raylet" not in said
    store = Store(tmp_path / "s")
    assert {store.state(cell_id) for cell_id in store.cells()} == {"finished"}
    assert not list((tmp_path / "s").glob("cells/*/pulse"))


# Ray on this machine has two CPUs, however many there are.
TWO_CPUS = """
import ray
from mtlbench.harness.cluster import joining

init = ray.init
ray.init = lambda address, **options: init(address, num_cpus=2, **options)
"""

# Python may look for garbage at any time after Ray was left. If some of it refers to Ray, Ray ends the process.
KILL_ONCE = """
import gc
from mtlbench.harness.cluster import head, schedule

def kill_once(self, *arguments, **options):
    schedule.Tell.on_trial_result = hear
    head.servers(local=True)["raylet"].kill()

def left(self):
    leave(self)
    gc.collect()

hear, schedule.Tell.on_trial_result = schedule.Tell.on_trial_result, kill_once
leave, schedule.OnRay.leave = schedule.OnRay.leave, left
"""


@pytest.mark.slow
@pytest.mark.usefixtures("in_turn")
def test_a_run_whose_raylet_dies_ends_tune_joins_ray_again_and_goes_on(commands, tmp_path):
    file = matrix_file(tmp_path, train={"epochs": 2, "batch": 2})
    done = replace(commands, first=KILL_ONCE).run("run", file, "--store", "s")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "trying again from its last checkpoint: Ray's process raylet on this machine has died or was killed" in said
    assert "Traceback" not in said and "core_worker" not in said
    store = Store(tmp_path / "s")
    assert [store.state(cell_id) for cell_id in store.cells()] == ["finished", "finished"]
    assert not list((tmp_path / "s" / "lease").iterdir())


@pytest.mark.drill
@pytest.mark.usefixtures("in_turn")
def test_cells_of_two_processes_that_wait_for_places_start_when_these_are_free_and_not_before(
    commands, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")  # far less than a cell waits for another one
    methods = [{"name": "multi_task", "label": f"row {n}", "train": {"lr": 1e-3 * n}} for n in (1, 2, 3)]
    resources = {"workers": 2, "retries": 0}
    file = matrix_file(tmp_path, methods=methods, baseline="row 1", resources=resources)
    done = replace(commands, first=TWO_CPUS).run("run", file, "--store", "s")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    store = Store(tmp_path / "s")
    assert [store.record(cell_id).provenance["processes"] for cell_id in store.cells()] == [2, 2, 2]
    assert "failed" not in said and "Traceback" not in said
    assert re.findall(r"· seed 0: (started|finished)", said) == ["started", "finished"] * 3, said


@pytest.mark.drill
@pytest.mark.usefixtures("in_turn")
@pytest.mark.timeout(1200)  # three groups start, one after the other
def test_a_group_of_which_one_process_stands_still_or_runs_out_of_memory_ends_while_the_other_waits(commands, tmp_path):
    methods = [
        {"name": f"plugin:{name}", "label": name, "options": {"marker": str(tmp_path / name)}}
        for name in ("SecondStops", "SecondRunsOut")
    ]
    resources = {"workers": 2, "deadline": 45, "retries": 1}
    train = {"epochs": 2, "batch": 2}
    file = matrix_file(tmp_path, methods=methods, baseline="SecondStops", train=train, resources=resources)
    running = replace(commands, first=TWO_CPUS).start("run", file, "--store", "s")
    said, _ = running.communicate(timeout=1100)
    again = "· depth · seed 0: failed, trying again from its last checkpoint: "
    assert f"SecondStops {again}no batch for 45 s, and so its process was ended (resources.deadline)" in said
    assert re.search("SecondStops · depth · seed 0: finished", said), said
    assert "SecondRunsOut · depth · seed 0: failed: OutOfMemoryError: CUDA out of memory. Tried to allocate" in said
    assert said.count("trying again") == 1 and "Traceback" not in said and running.returncode == 1, said
