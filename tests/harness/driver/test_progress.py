"""The time that is left comes from how long whole cells took, their start and their scoring included."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

import in_process
from cells import small_cell, small_matrix
from mtlbench.harness.cluster.tell import Tell
from mtlbench.harness.driver import run as driver
from mtlbench.harness.driver.progress import Watch
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.progress import Progress, Scoring
from mtlbench.results.records.reading import read


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched(tmp_path):
    """(watch, clock, ids of six cells of one kind, store, what was said); two run at once."""
    cells = [small_cell(seed=seed) for seed in range(6)]
    store, clock, said = Store(tmp_path), Clock(), io.StringIO()
    lines = {cell.id: (cell, f"cell {cell.seed}") for cell in cells}
    watch = Watch(lines, store, 2, console=Console(file=said, width=200), clock=clock)
    return watch, clock, [cell.id for cell in cells], store, said


def progress(step, seconds):
    return {"epoch": step / 10, "epochs": 10, "loss": 1.0, "seconds": seconds, "step": step, "steps": 100}


def finish(watch, store, cell_id):
    store.put(f"cells/{cell_id}/record.json", "{}")
    watch.ended(cell_id)


def test_nothing_is_promised_before_anything_is_known(watched):
    watch, _, (first, *_), _, said = watched
    watch.started(first)
    assert watch.remaining() is None and "left" not in said.getvalue()
    assert watch.lines[first].state == "starting"


def test_before_a_cell_has_finished_its_pace_and_its_start_are_those_of_all(watched):
    watch, clock, (first, *_), *_ = watched
    watch.started(first)
    clock.now = 10.0
    watch.progressed(first, progress(step=20, seconds=4.0))  # 6 s to start and 20 s to train, of which 10 s have gone
    assert watch.remaining() == (pytest.approx((6 * (6 + 20) - 10) / 2), True)
    assert str(watch.remaining()) == "at least 73 s left"


def test_the_time_that_is_left_does_not_rise_as_cells_finish_that_take_as_long_as_was_seen(watched):
    watch, clock, ids, store, _ = watched
    told = []
    for first, second in zip(ids[::2], ids[1::2], strict=True):
        began = clock.now
        watch.started(first), watch.started(second)
        for seconds in (5.0, 10.0, 20.0):
            clock.now = began + 30.0 + seconds  # a start takes longer than the training
            for cell_id in (first, second):
                watch.progressed(cell_id, progress(step=int(5 * seconds), seconds=seconds))
            told.append(clock.now + watch.remaining().seconds)
        clock.now = began + 60.0  # 10 s to score
        finish(watch, store, first), finish(watch, store, second)
    assert told[:3] == [pytest.approx(3 * 50)] * 3  # nobody knows by then how long scoring takes
    assert told[3:] == [pytest.approx(3 * 60)] * 6


def test_what_a_cell_was_trained_before_a_stop_is_not_counted_as_left(watched):
    watch, clock, (first, second, *others), store, _ = watched
    for cell_id in others:
        finish(watch, store, cell_id)
    watch.started(first)
    clock.now = 10.0
    watch.progressed(first, progress(step=50, seconds=15.0) | {"loss": None})
    assert watch.remaining().seconds == pytest.approx((15 + (10 + 30)) / 2)
    clock.now = 25.0
    watch.progressed(first, progress(step=100, seconds=30.0))
    finish(watch, store, first)
    watch.started(second)
    assert watch.remaining() == (pytest.approx(10 + 30), False)


def test_whole_cells_count_and_not_their_steps_alone(watched):
    watch, clock, (first, second, *_), store, _ = watched
    watch.started(first)
    watch.started(second)
    clock.now = 60.0
    watch.progressed(first, progress(step=100, seconds=10.0))  # most of a cell is no training
    finish(watch, store, first)
    assert watch.remaining() == (pytest.approx((5 * 60 - 60) / 2), False)
    clock.now = 90.0  # the second takes longer than the first did
    assert watch.remaining() == (pytest.approx(4 * 60 / 2), False)
    assert str(watch.remaining()) == "~2 min left"


def test_the_time_is_a_lower_bound_while_cells_of_sizes_are_left_that_were_never_seen(tmp_path):
    quick, same, *others = cells = [
        small_cell(tasks=("semseg",)), small_cell(tasks=("depth",)),
        small_cell(method="pad_net", tasks=("semseg", "depth")),
        small_cell(method="mti_net", tasks=("semseg", "depth")),
    ]  # fmt: skip
    store, clock, said = Store(tmp_path), Clock(), io.StringIO()
    watch = Watch({cell.id: (cell, "") for cell in cells}, store, 1, console=Console(file=said), clock=clock)
    watch.started(quick.id)
    clock.now = 10.0
    finish(watch, store, quick.id)
    assert watch.remaining() == (3 * 10.0, True)  # the others take at least as long as the quickest
    watch.started(same.id)
    clock.now = 20.0
    finish(watch, store, same.id)
    assert watch.remaining() == (2 * 10.0, True)
    watch.started(others[0].id)
    clock.now = 120.0
    finish(watch, store, others[0].id)
    assert watch.remaining() == (10.0, True)
    watch.started(others[1].id)
    watch.progressed(others[1].id, progress(step=10, seconds=9.0))  # by now its pace is known
    assert watch.remaining() == (pytest.approx(100 * 0.9), False)
    assert "at least 30 s left" in said.getvalue()


def test_what_processes_wait_for_is_said_once(watched):
    watch, *_, said = watched
    for _ in range(2):
        watch.waits("the disk of s is full")
    assert said.getvalue().count("warning: the disk of s is full") == 1


def test_a_cell_that_was_put_back_waits_and_the_reason_is_said(watched):
    watch, _, (first, *_), _, said = watched
    watch.started(first)
    watch.put_back(first, "node x gets no cells: no store")
    assert watch.lines[first].state == "waiting"
    assert "warning: node x gets no cells: no store" in said.getvalue()


def test_a_resumed_cell_says_at_once_where_it_goes_on(watched):
    watch, _, (first, *_), _, said = watched
    watch.started(first)
    watch.progressed(first, progress(step=30, seconds=6.0) | {"loss": None})
    assert "[0/6] cell 0: goes on after epoch 3/10, step 30 of 100  at least 57 s left" in said.getvalue()
    assert watch.lines[first].state == "running" and "None" not in said.getvalue()


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "TERM=dumb"])
def test_a_log_says_that_a_cell_starts_and_how_much_of_it_is_scored(tmp_path, terminal):
    cell, said, clock = small_cell(), io.StringIO(), Clock()
    console = Console(file=said, width=80, force_terminal=terminal, _environ={"TERM": "dumb"})
    with Watch({cell.id: (cell, "Multi-task")}, Store(tmp_path), 1, console=console, clock=clock) as watch:
        watch.started(cell.id)
        clock.now = 30.0
        watch.scoring(cell.id, 40, 200)
        assert watch.lines[cell.id].state == "scoring"
        clock.now = 60.0
        watch.scoring(cell.id, 8, 40, "val")
        assert watch.lines[cell.id].state == "validating"
    assert said.getvalue().splitlines() == [
        "[0/1] Multi-task: started",
        "[0/1] Multi-task: scored 40 of 200 images",
        "[0/1] Multi-task: scored 8 of 40 images of val",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_fits_and_shows_starting_and_scoring(tmp_path, width):
    cells, said = [small_cell(seed=seed) for seed in range(3)], io.StringIO()
    label = "A method of a very long name, deep supervision · semseg+depth+normals+edge · seed {}"
    console = Console(file=said, width=width, force_terminal=False)
    lines = {cell.id: (cell, label.format(cell.seed)) for cell in cells}
    watch = Watch(lines, Store(tmp_path), 3, console=console, clock=Clock())
    for cell in cells:
        watch.started(cell.id)
    watch.scoring(cells[1].id, 40, 200)
    watch.progressed(cells[2].id, progress(step=20, seconds=4.0))
    so_far = len(said.getvalue())
    console.print(watch.table())
    text = said.getvalue()[so_far:]
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for word in ("starting", "scoring", "40/200", "running", "16 s"):
        assert word in text


def test_a_run_with_nothing_to_train_says_so_before_it_writes_the_report(go, tmp_path, monkeypatch):
    matrix, command, said, before = small_matrix(), "mtlbench run m.yaml", io.StringIO(), []
    monkeypatch.setattr(driver, "report", lambda *asked: before.append(said.getvalue()))  # drawing it takes seconds
    monkeypatch.setattr(driver, "show_report", lambda *asked: None)
    _, first = go(matrix, command=command)
    assert "2 of 2 cells to run" in first and "writing the report" not in first
    assert read(str(tmp_path / "s"), "m").manifest.command == command
    monkeypatch.setattr(in_process, "StringIO", lambda: said)
    go(matrix)
    assert before == ["", "all 2 cells are finished; writing the report\n"]


def test_what_the_processes_of_a_cell_report_while_they_score_it_reaches_the_table(watched):
    watch, _, (first, *_), store, _ = watched
    tell, trial = Tell(watch, store, Resources()), SimpleNamespace(config={"cell": first, "stage": "train"})
    shown = []
    for said in (Scoring(8, 40, "val"), Progress(1, 2, 10, 20, 1.0, 3.0), Scoring(40, 200, "test")):
        tell.on_trial_result(0, [], trial, said._asdict())
        shown.append((watch.lines[first].state, watch.lines[first].epoch))
    assert shown == [("validating", "8/40 images"), ("running", "1/2"), ("scoring", "40/200 images")]
