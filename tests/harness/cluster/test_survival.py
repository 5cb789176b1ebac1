"""What Ray lets through ends no run: its cells are tried again or fail, the others go on, the report is written."""

import contextlib
import errno
import io
import itertools
import os
import time
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray
import torch
from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.execution import tune_controller
from rich.console import Console

from cells import small_cell, small_matrix
from mtlbench.harness.cluster import head, stages
from mtlbench.harness.cluster import log as log_module
from mtlbench.harness.cluster import tell as tell_module
from mtlbench.harness.cluster.attempt import Halved, _halved, attempt, pulse_before, reason, score
from mtlbench.harness.cluster.log import Log
from mtlbench.harness.cluster.schedule import OnRay
from mtlbench.harness.cluster.scheduler import Cluster
from mtlbench.harness.cluster.stages import HALVED, WAITS, run_stage
from mtlbench.harness.cluster.tell import DIED, KILLED, Actors, Tell
from mtlbench.harness.driver import run as driver
from mtlbench.harness.driver.progress import Watch
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store import patience
from mtlbench.harness.store.keeper import ENDED
from mtlbench.harness.store.patience import DiskFull
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.harness.training import judge
from mtlbench.harness.training import progress as progress_module
from mtlbench.harness.training.checkpoint import Parts
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.progress import Pulse
from mtlbench.methods.baseline import MultiTask
from mtlbench.results.records import files

pytestmark = pytest.mark.usefixtures("undrawn")

METHODS = [{"name": "single_task", "label": "Single task"}, {"name": "multi_task", "label": "Multi-task"}]
OF_MEMORY = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID: e548) was "
    "22.61GB used / 23.54GB limit (0.960652)\nOOM kill reason: Memory usage exceeded threshold\nRefer to the docs"
)


class Loop(OnRay):
    """OnRay without Ray: a loop as Tune's, in this process. `trip` is called before each trial and may raise.

    ahead: how many trials are asked for before the first of them starts.
    """

    def __init__(self, trip=lambda cell_id: None, joins=10, ahead=1):
        super().__init__()
        self.trip, self.joins, self.ahead, self.trials = trip, joins, ahead, []

    def join(self):
        self.joins -= 1
        if self.joins < 0:
            raise ConnectionError("Ray does not start on this machine: it timed out")
        return Cluster(total={"CPU": 1.0}, nodes=[{"CPU": 1.0}])

    def leave(self):
        pass

    def watched(self):
        return contextlib.nullcontext()

    def _fit(self, cells, environment, tell):
        self.trip(None)
        names, asked = itertools.count(), []
        while True:
            while len(asked) < self.ahead and isinstance(config := cells.suggest(name := str(next(names))), dict):
                asked.append((name, config))
            if not asked:
                return
            name, config = asked.pop(0)
            self.trials.append((config["cell"], config["stage"]))
            tell.on_trial_start(0, [], SimpleNamespace(config=config))
            self.trip(config["cell"])
            with contextlib.suppress(RuntimeError):
                if config["stage"] == "train":
                    attempt(cells.store.cell(config["cell"]), environment, lambda progress: None)
                else:
                    score(config["cell"], environment, lambda done, images: None)
            cells.on_trial_complete(name)
            tell.on_trial_complete(0, [], SimpleNamespace(config=config))


class Trips:
    """Raises for some cells, the first `times`."""

    def __init__(self, word, error, times=1):
        self.word, self.error, self.times, self.seen = word, error, times, Counter()

    def __call__(self, cell_id):
        if self.word is None if cell_id is None else self.word is not None and self.word in cell_id:
            self.seen[cell_id] += 1
            if self.seen[cell_id] <= self.times:
                raise self.error


TUNES = RuntimeError("Caught unexpected exception: something\nand a page of explanation")


def test_a_cell_during_which_tune_failed_is_tried_again_and_the_others_go_on(go, tmp_path):
    loop = Loop(Trips("multi_task", TUNES))
    outcome, said = go(small_matrix(), scheduler=lambda: loop)
    assert outcome.finished == 2 and not outcome.missing and not outcome.stopped
    assert "trying again from its last checkpoint: Ray Tune failed: RuntimeError: Caught unexpected exception" in said
    assert "page of explanation" not in said and "Traceback" not in said
    assert Counter(stage for _, stage in loop.trials) == {"train": 3}
    assert loop.joins == 8  # Ray was left and joined again, so that no process of the cell was left


def test_a_cell_during_which_tune_always_fails_fails_alone_with_the_first_line(go, tmp_path):
    loop = Loop(Trips("multi_task", TUNES, times=99))
    outcome, _ = go(small_matrix(), scheduler=lambda: loop)
    assert outcome.finished == 1 and len(outcome.missing) == 1
    (error,) = outcome.failures.values()
    assert error == "Ray Tune failed: RuntimeError: Caught unexpected exception: something"
    failure = Store(tmp_path / "s").failure(outcome.missing[0])
    assert "Traceback" in failure["traceback"] and "page of explanation" in failure["traceback"]
    assert outcome.report.markdown and (tmp_path / "out" / "m").is_dir()
    outcome, _ = go(small_matrix(), scheduler=Loop)  # the same command goes on
    assert outcome.finished == 2


def test_what_tune_says_of_its_failure_is_cut_where_a_cell_is_tried_again(go):
    _, said = go(small_matrix(), scheduler=lambda: Loop(Trips("multi_task", RuntimeError(1000 * "x"))))
    (line,) = [line for line in said.replace("\n", "").split("[") if "trying again" in line]
    assert line.partition("checkpoint: ")[2].count("x") < 400 and "xxx..." in line


def test_a_cell_that_was_not_started_yet_when_tune_failed_is_not_blamed(go):
    loop = Loop(Trips("single_task", TUNES, times=99), ahead=2)
    outcome, said = go(small_matrix(), scheduler=lambda: loop)
    assert outcome.finished == 1 and ["single_task" in cell_id for cell_id in outcome.missing] == [True]
    assert "Multi-task · depth · seed 0: failed" not in said


@pytest.mark.parametrize("error", [TUNES, TypeError("unexpected keyword"), OSError(errno.ENOSPC, "No space left")])
def test_a_tune_that_cannot_start_a_cell_fails_all_that_wait_after_another_try(go, error):
    loop = Loop(Trips(None, error, times=99))
    outcome, _ = go(small_matrix(), scheduler=lambda: loop)
    assert len(outcome.missing) == 2 and loop.trials == []
    assert set(outcome.failures.values()) == {f"Ray Tune failed: {reason(error)}"}
    assert loop.joins == 8  # at first, and for the second try


def test_a_ray_that_is_gone_is_one_line_and_the_report_is_written(go, tmp_path):
    loop = Loop(Trips("multi_task", TUNES), joins=1)
    outcome, _ = go(small_matrix(), scheduler=lambda: loop)
    assert outcome.finished == 1 and len(outcome.missing) == 1
    assert "Caught unexpected exception: something; Ray does not start on this machine" in outcome.stopped
    assert "\n" not in outcome.stopped and (tmp_path / "out" / "m").is_dir()


def test_scores_that_were_left_when_tune_failed_are_computed_without_training_again(go):
    class Once:
        stages = 0

        def __call__(self, cell_id):
            self.stages += cell_id is not None
            if self.stages == 2 and cell_id:
                raise TUNES

    loop = Loop(Once())
    matrix = small_matrix(methods=METHODS[:1], benchmark={"name": "rooms", "tasks": ["edge"], "options": ROOMS})
    outcome, _ = go(matrix, scheduler=lambda: loop)
    assert outcome.finished == 1
    assert [stage for _, stage in loop.trials] == ["train", "score", "score"]


ROOMS = {"train": 6, "val": 2, "test": 4}
FULL = StoreError("cannot write s/a: No space left on device (disk /data: 0.0 of 10.0 GB free)")


def test_a_store_whose_disk_stays_full_stops_the_run_in_one_line_and_what_is_done_is_reported(go):
    outcome, said = go(small_matrix(), scheduler=lambda: Loop(Trips("multi_task", FULL)))
    assert outcome.stopped == str(FULL) and outcome.finished == 1 and "Traceback" not in said


def test_a_report_that_finds_no_room_either_names_the_disk(go, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(driver, "report", full)
    with pytest.raises(driver.Stopped, match=r"disk /data: 0\.0 of 10\.0 GB"):
        go(small_matrix(), scheduler=lambda: Loop(Trips("multi_task", FULL)))
    with pytest.raises(driver.Stopped, match=r"cannot write the report in .*out: No space left"):
        go(small_matrix(), scheduler=Loop)


@pytest.mark.parametrize("error", [FULL, TUNES])
def test_what_tune_has_wrapped_into_a_traceback_is_told_as_it_was(go, error):
    def trip(cell_id):
        if cell_id and "multi_task" in cell_id:
            try:
                raise error
            except Exception:
                raise tune.TuneError(traceback.format_exc()) from None  # as Tune does for errors of its callbacks

    outcome, said = go(small_matrix(), scheduler=lambda: Loop(trip))
    assert "Traceback" not in said + outcome.stopped
    if error is FULL:
        assert outcome.stopped == str(FULL)
    else:
        assert set(outcome.failures.values()) == {
            "Ray Tune failed: RuntimeError: Caught unexpected exception: something"
        }


# ----------------------------------------------------------------------------------------------------------------------


class Heard:
    """A board."""

    def __init__(self):
        self.lines = []

    def started(self, cell_id): ...

    def retried(self, cell_id, error):
        self.lines.append(error)

    def ended(self, cell_id):
        self.lines.append("ended")


def trial(cell_id, folder, text, error=None, stage="train"):
    """A trial of Tune whose last attempt failed."""
    file = folder / "error.txt"
    with file.open("a") as written:
        written.write(f"Failure # 1 (occurred at 2026-01-01)\n{text}\n")
    config = {"cell": cell_id, "stage": stage}
    pickled = folder / "error.pkl"
    pickled.write_bytes(ray.cloudpickle.dumps(error))
    return SimpleNamespace(config=config, error_file=str(file), pickled_error_file=str(pickled))


@pytest.fixture
def told(tmp_path):
    """(store, board, tell, id of a cell that has begun)"""
    store, board, cell = Store(tmp_path / "s"), Heard(), small_cell()
    store.put_cell(cell)
    store.put(files.history(cell.id), "")
    return store, board, Tell(board, store, Resources()), cell.id


def start(tell, cell_id):
    tell.on_trial_start(0, [], SimpleNamespace(config={"cell": cell_id, "stage": "train"}))


def test_a_cell_that_the_memory_monitor_killed_says_how_much_memory_there_was(told, tmp_path):
    store, _, tell, cell_id = told
    start(tell, cell_id)
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, OF_MEMORY))
    assert store.failure(cell_id)["error"] == f"{KILLED} (22.6 of 23.5 GB)"
    assert store.failure(cell_id)["traceback"].startswith("1 worker(s) were killed")


def test_a_cell_that_was_killed_is_not_said_to_have_failed_as_the_attempt_before(told, tmp_path):
    store, board, tell, cell_id = told
    start(tell, cell_id)
    store.put_failure(cell_id, "RuntimeError: the first", "trace")  # by the attempt itself
    tell.on_trial_recover(0, [], trial(cell_id, tmp_path, "RuntimeError: the first"))
    start(tell, cell_id)
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, OF_MEMORY))
    assert board.lines == ["RuntimeError: the first", "ended"]
    failure = store.failure(cell_id)
    assert failure["error"].startswith(KILLED) and failure["attempts"] == 2


def test_a_process_that_dies_before_its_attempt_starts_is_not_said_to_have_failed_as_the_attempt_before(told, tmp_path):
    store, _, tell, cell_id = told
    start(tell, cell_id)
    store.put_failure(cell_id, "RuntimeError: the first", "trace")
    tell.on_trial_recover(0, [], trial(cell_id, tmp_path, "RuntimeError: the first"))
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, "died", ActorDiedError()))  # while it was being started
    assert store.failure(cell_id)["error"].startswith("its process died")


def test_of_a_group_the_process_that_was_killed_names_the_cause_and_not_those_that_waited_for_it(told, tmp_path):
    store, _, tell, cell_id = told
    start(tell, cell_id)
    store.put_failure(cell_id, "RuntimeError: Connection closed by peer", "trace")
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, OF_MEMORY))
    assert store.failure(cell_id)["error"].startswith(KILLED) and store.failure(cell_id)["attempts"] == 1


def test_a_failure_that_no_attempt_wrote_down_is_the_first_line_of_its_own_error(told, tmp_path):
    _, board, tell, cell_id = told
    start(tell, cell_id)
    text = "ray::train()\n  File ...\nStoreError: cannot write\n  See https://docs for help"
    error = RayTaskError("train", text, StoreError("cannot write x\nand more"))
    tell.on_trial_recover(0, [], trial(cell_id, tmp_path, text, error))
    assert board.lines == ["StoreError: cannot write x"]


def beat(store, cell_id, calls):
    store.put(files.pulse(cell_id), f"1 {calls}\n")


@pytest.fixture
def clock(monkeypatch):
    """What `tell` takes for the time, and the actors that it ends."""
    found = SimpleNamespace(now=1000.0, ended=[])
    monkeypatch.setattr(tell_module.time, "monotonic", lambda: found.now)
    monkeypatch.setattr(tell_module.ray, "kill", found.ended.append)
    return found


def running(cell_id):
    config, state = {"cell": cell_id, "stage": "train"}, SimpleNamespace(ray_actor="actor")
    return SimpleNamespace(config=config, temporary_state=state)


def test_a_cell_whose_pulse_stands_still_is_ended_after_the_deadline_and_not_before(told, tmp_path, clock):
    store, board, _, cell_id = told
    tell, trials = Tell(board, store, Resources(deadline=60.0)), [running(cell_id)]
    beat(store, cell_id, 7)  # of an earlier attempt
    tell.on_trial_start(0, [], trials[0])
    for second in range(0, 100, 10):
        clock.now = 1000.0 + second
        beat(store, cell_id, 8 + second)
        tell.on_step_begin(0, trials)
    for second in range(100, 150, 10):
        clock.now = 1000.0 + second
        tell.on_step_begin(0, trials)
    assert clock.ended == []
    clock.now = 1160.0
    tell.on_step_begin(0, trials)
    assert clock.ended == ["actor"]
    tell.on_trial_recover(0, [], trial(cell_id, tmp_path, "killed by `ray.kill`", ActorDiedError()))
    assert board.lines == ["no batch for 60 s, and so its process was ended (resources.deadline)"]
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, "died", ActorDiedError()))
    assert store.failure(cell_id)["error"].startswith("its process died")  # the next time it was something else
    assert store.failure(cell_id)["attempts"] == 2


def test_a_group_that_stands_still_after_one_process_has_said_why_fails_for_that_reason(told, tmp_path, clock):
    store, board, _, cell_id = told
    tell, trials = Tell(board, store, Resources(deadline=60.0)), [running(cell_id)]
    store.put_failure(cell_id, "OSError: of the attempt before", "")
    tell.on_trial_start(0, [], trials[0])
    store.put_failure(cell_id, "ValueError: the cause", "")
    clock.now = 1070.0
    tell.on_step_begin(0, trials)
    assert clock.ended == ["actor"]
    store.put_failure(cell_id, "RuntimeError: Connection closed by peer", "")
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, "killed by `ray.kill`", ActorDiedError()))
    assert store.failure(cell_id)["error"] == "ValueError: the cause" and store.failure(cell_id)["attempts"] == 2


def test_a_clock_that_jumps_and_a_pulse_that_cannot_be_read_end_no_cell(told, clock, monkeypatch):
    store, board, _, cell_id = told
    tell, trials = Tell(board, store, Resources(deadline=60.0)), [running(cell_id)]
    tell.on_trial_start(0, [], trials[0])
    monkeypatch.setattr(tell_module.time, "time", lambda: 0.0, raising=False)
    for second in range(0, 600, 30):
        clock.now = 1000.0 + second
        beat(store, cell_id, second)
        tell.on_step_begin(0, trials)
    assert clock.ended == []


def test_the_first_line_of_a_failure_is_short_and_all_of_it_is_in_the_traceback(told):
    store, _, _, cell_id = told
    store.put_failure(cell_id, "ValueError: " + 1000 * "x", "whole")
    assert len(store.failure(cell_id)["error"]) == 400 and store.failure(cell_id)["error"].endswith("x...")


def test_a_pulse_is_told_at_most_once_in_its_seconds(monkeypatch):
    now, heard = [0.0], []
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    pulse = Pulse(heard.append, 5.0)
    for second in range(12):
        now[0] = float(second)
        pulse()
    assert heard == [6, 11]


def test_a_cell_that_gets_ready_has_a_pulse_until_its_first_batch_and_not_for_ever():
    heard = []
    with Pulse(heard.append, 0.02) as pulse:
        time.sleep(0.3)
        assert len(heard) > 2 and len(set(heard)) == len(heard)
        pulse()
        silent = len(heard)
        time.sleep(0.1)  # a batch that never comes
        assert len(heard) == silent
    with Pulse(heard.append, 0.02, patience=0.1):
        time.sleep(0.2)
        silent = len(heard)
        time.sleep(0.1)
        assert len(heard) == silent


def test_a_trial_that_starts_a_group_has_a_pulse_until_the_group_has_one(told):
    store, _, _, cell_id = told
    beat(store, cell_id, 1)  # of an earlier attempt
    pulse = pulse_before(store, cell_id, 600.0)
    for calls in (1, 2):
        pulse.tell(calls)
        assert store.get(files.pulse(cell_id)) == f"{os.getpid()} starts {calls}\n".encode()
        assert not pulse.ready.is_set()
    beat(store, cell_id, 7)  # of the group
    pulse.tell(3)
    assert pulse.ready.is_set() and store.get(files.pulse(cell_id)) == b"1 7\n"


@pytest.mark.slow
def test_a_cell_leaves_no_pulse_whichever_way_an_attempt_at_it_ends(tmp_path, rooms, monkeypatch):
    store, cell = Store(tmp_path / "s"), small_cell(tasks=("depth", "edge"))
    environment, pulse = Environment(store.url, {"rooms": rooms}, Resources()), files.pulse(cell.id)
    short_of_memory(monkeypatch, 1)
    assert attempts_at(cell, store, rooms) == ["ended"] and not store.exists(pulse)
    monkeypatch.undo()
    assert attempt(cell, environment, lambda progress: None)
    assert store.state(cell.id) == "trained" and not store.exists(pulse)
    score(cell.id, environment, lambda done, images: None)
    assert store.state(cell.id) == "finished" and not store.exists(pulse)

    # Its process was killed when all was done, and the trial is tried again.
    beat(store, cell.id, 5)
    store.put(f"{files.checkpoints(cell.id)}/step-3", b"weights")
    assert attempt(cell, environment, lambda progress: None)
    assert not store.exists(pulse) and not store.exists(files.checkpoints(cell.id))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("The actor died unexpectedly before finishing this task.", "its process died, or was killed by the system"),
        ("The actor died because its node has died. Node Id: 1", "its node died"),
        ("The actor 2eef is unavailable: RpcError: Socket closed rpc_code: 14.", "its node does not answer"),
        ("The actor died: Worker exits with an exit code 3.", "its process ended with exit code 3"),
    ],
)
def test_what_ray_says_of_a_lost_process_becomes_a_line(told, tmp_path, text, line):
    store, _, tell, cell_id = told
    start(tell, cell_id)
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, text))
    assert store.failure(cell_id)["error"] == f"{line} (log.txt has its last lines)"


def test_where_the_process_dies_that_leads_a_group_the_line_says_it_as_of_any_other(told, tmp_path):
    store, _, tell, cell_id = told
    start(tell, cell_id)
    error = RayTaskError("fit", "The actor died unexpectedly", ActorDiedError())
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, "ray::run_stage()\nActorDiedError: The actor died", error))
    assert store.failure(cell_id)["error"].startswith("its process died, or was killed by the system")


def test_a_crash_is_named_by_the_signal_that_the_log_has(told, tmp_path):
    store, _, tell, cell_id = told
    start(tell, cell_id)
    store.put(files.log(cell_id), "--- 1\nFatal Python error: Aborted\n\n--- 2\nFatal Python error: Bus error\n\nStack")
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, "The actor died unexpectedly"))
    assert store.failure(cell_id)["error"] == "its process died: Bus error (log.txt has its last lines)"


@pytest.mark.parametrize(
    ("text", "log", "line"),
    [
        ("The actor died because its node has died.", "--- 1", "its node died (log.txt ends up to 60 s before)"),
        (
            "The actor died unexpectedly",
            "--- 1",
            f"{DIED}, or was killed by the system (log.txt ends up to 60 s before)",
        ),
        (
            "The actor died unexpectedly",
            f"--- 1\nFatal Python error: Bus error\n\n{ENDED.format(pid=1)}",
            f"{DIED}: Bus error (log.txt has its last lines)",
        ),
    ],
)
def test_off_a_local_disk_the_line_says_whether_the_log_is_whole(told, tmp_path, monkeypatch, text, log, line):
    _, board, _, cell_id = told
    store = Store(f"memory://{tmp_path.name}")
    tell = Tell(board, store, Resources())
    monkeypatch.setattr(log_module, "LATEST", 0.0)
    store.put(files.log(cell_id), log)
    start(tell, cell_id)
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, text))
    assert store.failure(cell_id)["error"] == line


def test_a_finished_cell_whose_process_dies_afterwards_did_not_fail(told, tmp_path):
    store, _, tell, cell_id = told
    start(tell, cell_id)
    store.put(files.record(cell_id), "{}")
    tell.on_trial_error(0, [], trial(cell_id, tmp_path, OF_MEMORY))
    assert store.failure(cell_id) is None


def test_tune_takes_the_error_of_the_memory_monitor_for_the_death_of_a_process(monkeypatch):
    found = []
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", lambda self, task, error: found.append(error))
    assert tune_controller.RayActorManager is Actors
    for error in (OutOfMemoryError(OF_MEMORY), ValueError("other")):
        Actors._actor_task_failed(Actors.__new__(Actors), None, error)
    killed, other = found
    assert isinstance(killed, RayActorError) and str(killed) == OF_MEMORY
    assert isinstance(other, ValueError)


def test_tune_waits_for_no_process_once_ray_is_lost(monkeypatch):
    waited = []
    monkeypatch.setattr(RayActorManager, "next", lambda self, timeout: waited.append(timeout) or True)
    manager, process = Actors.__new__(Actors), psutil.Process()
    monkeypatch.setattr(Actors, "servers", {"raylet": process})
    assert manager.next(timeout=0.1)
    monkeypatch.setattr(process, "is_running", lambda: False)
    with pytest.raises(head.Lost):
        manager.next(timeout=1)
    assert waited == [0.1]


# ----------------------------------------------------------------------------------------------------------------------


class Full(io.StringIO):
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_console_that_cannot_be_written_to_stops_nothing(tmp_path):
    cell = small_cell()
    watch = Watch({cell.id: (cell, "cell")}, Store(tmp_path / "s"), 1, console=Console(file=Full()))
    watch.started(cell.id)
    watch.retried(cell.id, "why")
    watch.ended(cell.id)


def test_a_log_that_cannot_be_written_ends_no_training(tmp_path):
    for path in (Path("/dev/full"), tmp_path / "log.txt"):
        with Log(path) as log, contextlib.redirect_stdout(log):
            print("a line")
            print("another", flush=True)
    assert (tmp_path / "log.txt").read_text() == "a line\nanother\n"


def test_a_cell_that_finds_no_room_in_its_store_has_not_failed_and_is_not_tried_again(told, tmp_path):
    store, board, tell, cell_id = told
    start(tell, cell_id)
    error = RayTaskError("train", "trace", DiskFull("cannot write s/a: No space left on device"))
    for tell_of in (tell.on_trial_recover, tell.on_trial_error):
        with pytest.raises(DiskFull, match=r"^cannot write s/a: No space left on device$"):
            tell_of(0, [], trial(cell_id, tmp_path, "DiskFull", error))
    assert store.failure(cell_id) is None and board.lines == []


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (lambda found: found.final, "forward returned dict, not methods.Outputs"),
        (
            lambda found: found._replace(final={"depth": found.final["depth"]}),
            "final has ['depth'], the tasks are ['dep",
        ),
        (
            lambda found: found._replace(final={name: maps[..., ::2] for name, maps in found.final.items()}),
            "final['semseg'] is [1, 14, 32, 32], not [1, 14, 32, 64]",
        ),
    ],
)
def test_a_method_that_breaks_the_contract_fails_for_good_and_says_how(tmp_path, monkeypatch, rooms, outputs, said):
    forward = MultiTask.forward
    monkeypatch.setattr(MultiTask, "forward", lambda self, image: outputs(forward(self, image)))
    cell, store = small_cell(), Store(tmp_path)
    store.put_cell(cell)
    assert not attempt(cell, Environment(str(tmp_path), {"rooms": rooms}, Resources()), lambda progress: None)
    assert store.failure(cell.id)["error"].startswith(f"ContractBroken: {cell.method}: {said}")


@pytest.mark.parametrize("stage", ["train", "score"])
def test_an_attempt_that_finds_no_room_writes_no_failure(tmp_path, monkeypatch, rooms, stage):
    from mtlbench.harness.scoring import expensive
    from mtlbench.harness.training import train

    def full(*_):
        raise DiskFull("no room")

    monkeypatch.setattr(train, "train", full)
    monkeypatch.setattr(expensive, "finish", full)
    environment, cell = Environment(str(tmp_path), {"rooms": rooms}, Resources()), small_cell()
    with pytest.raises(DiskFull):
        if stage == "train":
            attempt(cell, environment, lambda progress: None)
        else:
            score(cell.id, environment, lambda done, images: None)
    assert Store(tmp_path).failure(cell.id) is None


def test_a_cell_that_finds_the_disk_full_raises_its_own_error_and_not_that_of_its_report(tmp_path, monkeypatch, rooms):
    from mtlbench.harness.matrix.entries import Resources
    from mtlbench.harness.training import train
    from mtlbench.harness.training.environment import Environment

    def fails(*_):
        raise RuntimeError("the cause")

    def full(*_):
        raise FULL

    monkeypatch.setattr(train, "train", fails)
    monkeypatch.setattr(Store, "put_failure", full)
    with pytest.raises(RuntimeError, match="the cause"):
        attempt(small_cell(), Environment(str(tmp_path), {"rooms": rooms}, Resources()), lambda progress: None)


def test_the_reason_is_the_first_line_of_an_error():
    assert reason(RuntimeError("\n  one\ntwo")) == "RuntimeError: one"
    assert reason(ValueError()) == "ValueError"


# ----------------------------------------------------------------------------------------------------------------------


def short_of_memory(monkeypatch, most):
    """A device whose memory holds `most` images of a micro-batch."""
    from mtlbench.harness.training import train

    whole = train.backpropagate

    def backpropagate(accelerator, model, image, *more):
        if len(image) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return whole(accelerator, model, image, *more)

    monkeypatch.setattr(train, "backpropagate", backpropagate)


def attempts_at(cell, store, rooms, **resources):
    """What each attempt came to, as with retries: "done", "ended", or the class of the error."""
    environment, found = Environment(store.url, {"rooms": rooms}, Resources(**resources)), []
    store.put_cell(cell)
    for _ in range(6):
        try:
            found.append("done" if attempt(cell, environment, lambda progress: None) else "ended")
            return found
        except RuntimeError as error:
            found.append(type(error).__name__)
    return found


def test_memory_that_runs_out_fails_a_cell_at_once_and_says_what_to_do(tmp_path, rooms, monkeypatch):
    short_of_memory(monkeypatch, 1)
    store, cell = Store(tmp_path / "s"), small_cell()
    assert attempts_at(cell, store, rooms) == ["ended"]
    assert store.failure(cell.id)["error"] == (
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.; 2 images at once are too many for its memory; "
        "train.accumulate divides its batches, or resources.out_of_memory: halve divides them where memory runs out"
    )


def test_batches_are_halved_until_they_fit_where_the_matrix_asks_for_it_and_the_record_says_so(
    tmp_path, rooms, monkeypatch
):
    short_of_memory(monkeypatch, 1)
    store, cell = Store(tmp_path / "s"), small_cell(train={"batch": 4, "steps": 1})
    assert attempts_at(cell, store, rooms, out_of_memory="halve") == ["Halved", "Halved", "done"]
    record = store.record(cell.id)
    assert record.provenance["parts"] == 4 and record.cell["train"]["accumulate"] == 1
    divided = small_cell(train={"batch": 4, "steps": 1, "accumulate": 4})
    assert attempts_at(divided, store, rooms) == ["done"]
    assert record.scores == store.record(divided.id).scores  # the numbers are those of a recipe that accumulates
    assert "parts" not in store.record(divided.id).provenance


def test_a_single_image_that_does_not_fit_is_not_halved(tmp_path, rooms, monkeypatch):
    short_of_memory(monkeypatch, 0)
    store, cell = Store(tmp_path / "s"), small_cell()
    assert attempts_at(cell, store, rooms, out_of_memory="halve") == ["Halved", "ended"]
    assert "1 images at once are too many for its memory, and cannot be halved" in store.failure(cell.id)["error"]


def test_a_head_that_needs_two_images_keeps_them_where_batches_are_halved(tmp_path):
    pair = small_cell(options={"head": "deeplab"}, train={"batch": 2, "steps": 1})
    store, halve = Store(tmp_path / "s"), Resources(out_of_memory="halve")
    again, said = _halved(store, pair, halve, Parts(), scoring=False)
    assert not again and said == "2 images at once are too many for its memory, and cannot be halved"
    plain = small_cell(train={"batch": 2, "steps": 1})
    assert _halved(store, plain, halve, Parts(), scoring=False)[0]


def test_what_is_scored_at_once_is_halved_by_itself_and_no_number_of_the_training_moves(tmp_path, rooms, monkeypatch):
    store, cell = Store(tmp_path / "s"), small_cell(train={"batch": 4, "steps": 1, "accumulate": 4})
    whole, seen = judge.statistics.collect, []

    def collect(predict, batches, *more, **options):
        batches = list(batches)
        seen.append(max(len(batch.image) for batch in batches))
        if seen[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return whole(predict, batches, *more, **options)

    monkeypatch.setattr(judge.statistics, "collect", collect)
    assert attempts_at(cell, store, rooms) == ["ended"]
    assert store.failure(cell.id)["error"].endswith(
        "Tried to allocate 2 GiB.; 4 images to be scored at once are too many for its memory; "
        "resources.out_of_memory: halve divides them where memory runs out"
    )
    assert attempts_at(cell, store, rooms, out_of_memory="halve") == ["Halved", "Halved", "done"]
    assert seen == [4, 4, 2, 1]
    said = store.record(cell.id).provenance
    assert said["scoring_parts"] == 4 and "parts" not in said
    monkeypatch.undo()
    other = Store(tmp_path / "other")
    assert attempts_at(cell, other, rooms) == ["done"]
    assert other.get(files.weights(cell.id)) == store.get(files.weights(cell.id))
    for one, same in zip(other.record(cell.id).scores, store.record(cell.id).scores, strict=True):
        assert one.value == same.value or one.value == pytest.approx(same.value, rel=1e-6), one


def test_a_halving_is_none_of_the_retries(told):
    _, _, tell, cell_id = told
    once = SimpleNamespace(config={"cell": cell_id, "stage": "train"}, max_failures=1)
    tell.on_trial_result(0, [], once, {HALVED: True})
    assert once.max_failures == 2


def test_a_trial_says_that_it_fails_since_its_batches_were_halved(tmp_path, monkeypatch):
    said, cell, store = [], small_cell(), Store(tmp_path / "s")

    def halves(*_):
        raise Halved("why")

    store.put_cell(cell)
    monkeypatch.setattr(stages, "attempt", halves)
    monkeypatch.setattr(stages.tune, "report", said.append)
    with pytest.raises(Halved):
        run_stage({"cell": cell.id, "stage": "train"}, Environment(store.url, {}, Resources()), [], None)
    assert said == [{HALVED: True}]


def test_a_trial_says_that_it_waits_for_room_and_the_board_is_told(told, monkeypatch):
    store, board, tell, cell_id = told
    said, heard = [], []

    def waits(*_):
        patience.log.warning("the disk is full")

    monkeypatch.setattr(stages, "attempt", waits)
    monkeypatch.setattr(stages.tune, "report", said.append)
    run_stage({"cell": cell_id, "stage": "train"}, Environment(store.url, {}, Resources()), [], None)
    assert said == [{WAITS: "the disk is full"}]
    board.waits = heard.append
    tell.on_trial_result(0, [], SimpleNamespace(config={"cell": cell_id, "stage": "train"}), said[0])
    assert heard == ["the disk is full"]
