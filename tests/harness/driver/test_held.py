"""`mtlbench status` without a matrix: states, age, Delta_m and the time that is left, by matrix."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

import make_records
from command import invoke
from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.driver.held import ago, held, shown
from mtlbench.harness.store import source
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

NOW = datetime(2026, 1, 1, 2, tzinfo=UTC)
TIMES = {"single": 100.0, "Multi task": 1000.0}


def record_of(label):
    """What differs in a record that our code has made, with a time of its row."""
    made = make_records.record("", ())
    provenance = {**made.provenance, "source": source.source_hash()}
    return {"cost": {**made.cost, "train_seconds": TIMES[label]}, "provenance": provenance}


@pytest.fixture
def partly(tmp_path):
    """A store in which two of three seeds are finished of one row, none of another, and a record is stale."""
    made, tasks = make_records.Store(tmp_path / "s"), ("semseg", "depth")
    for seed in range(3):
        made.single(tasks, seed, **record_of("single"))
        changes = record_of("Multi task") | ({} if seed else {"provenance": make_records.record("", ()).provenance})
        made.run("Multi task", tasks, seed, status="missing" if seed == 2 else "finished", **changes)
    return made


def test_states_are_those_of_status_of_the_matrix(partly):
    (one,) = held(Store(partly.close()), {})
    assert one["matrix"] == "rooms" and one["cells"] == {"finished": 7, "stale": 1, "new": 1}


def test_a_record_that_cannot_be_read_is_corrupt(partly):
    store = Store(partly.close())
    store.put(files.record(partly.entries[0].id), "{")
    assert held(store, {})[0]["cells"]["corrupt"] == 1
    assert held(Store(store.path("elsewhere")), {}) == []


def test_delta_is_the_mean_of_what_mlflow_shows_of_each_run(tmp_path):
    store = Store(make_records.three_seeds(tmp_path / "s"))
    told = deltas(store, "rooms")
    entries = held(store, {})[0]["deltas"]
    assert [entry["row"] for entry in entries] == ["Multi task", "PAD-Net", "MTI-Net", "SCA-MTL"]
    for entry in entries:
        method = make_records.METHOD.get(entry["row"], entry["row"].lower())
        runs = [values["delta/m"] for cell_id, values in told.items() if cell_id.startswith(f"{method}-")]
        assert entry["seeds"] == len(runs) > 0 and entry["mean"] == pytest.approx(sum(runs) / len(runs), rel=1e-12)


def test_rows_that_were_scored_in_another_way_have_no_delta(partly):
    other = tuple(make_records.score(task, 1.0, definition="at another size") for task in ("semseg", "depth"))
    partly.run("SCA-MTL", ("semseg", "depth"), 1, scores=other)
    assert [entry["row"] for entry in held(Store(partly.close()), {})[0]["deltas"]] == ["Multi task"]


def test_what_is_left_is_what_finished_cells_of_the_row_took(partly):
    (one,) = held(Store(partly.close()), {})
    assert (one["seconds_left"], one["at_least"]) == (1000.0, False)
    partly.run("SCA-MTL", ("semseg", "depth"), 0, status="missing")
    (one,) = held(Store(partly.close()), {})
    assert (one["seconds_left"], one["at_least"]) == (1000.0, True)
    assert "  at least 17 min of training left, one cell at a time" in shown(one, NOW)


def test_nothing_is_said_of_what_is_left_where_nothing_is_known_or_left(tmp_path):
    made = make_records.Store(tmp_path / "s", baseline="")
    made.run("SCA-MTL", ("semseg",), 0, status="missing")
    (one,) = held(Store(made.close()), {})
    assert one["seconds_left"] is None and "left" not in shown(one, NOW) and "finished" not in shown(one, NOW)
    made.run("SCA-MTL", ("depth",), 0)
    made.entries = made.entries[1:]
    (one,) = held(Store(made.close()), {})
    assert (one["seconds_left"], one["at_least"]) == (0, False) and "left" not in shown(one, NOW)


@pytest.mark.parametrize(
    ("mean", "said"), [(-8.384, "   \N{MINUS SIGN}8.38 %"), (12.0, "  +12.00 %"), (-0.001, "    0.00 %")]
)
def test_a_mean_has_the_signs_of_the_tables(partly, mean, said):
    (one,) = held(Store(partly.close()), {})
    one["deltas"][0]["mean"] = mean
    assert f"Multi task  {said}" in shown(one, NOW)


def test_the_command_says_it_all_in_words(partly):
    said = invoke("status", "--store", partly.close()).stdout.splitlines()
    assert said[0].startswith("rooms: 9 cells, 7 finished, 1 stale, 1 new; the last one finished ")
    assert said[0].endswith(" days ago")
    assert said[1] == "  rooms semseg+depth: mean Δm so far against Single task"
    assert said[2].startswith("    Multi task  ") and said[2].endswith(" %  2 seeds")
    assert said[3] == "  about 17 min of training left, one cell at a time" and len(said) == 4


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("2026-01-01T00:00:00+00:00", "2 hours ago"),
        ("2026-01-01T00:59:00", "1 hour ago"),
        ("2026-01-01T01:58:30+00:00", "1 minute ago"),
        ("2025-12-30T00:00:00+00:00", "2 days ago"),
        ("2026-01-01T03:00:00+02:00", "1 hour ago"),
        ("2026-01-01T02:00:30+00:00", "less than a minute ago"),  # another machine's clock
        ("yesterday", "yesterday"),
    ],
)
def test_an_age_in_words(when, words):
    assert ago(when, NOW) == words


def test_it_waits_for_no_heavy_library(partly):
    code = (
        "import json, sys; from mtlbench.harness.cli.app import app\n"
        "app(['status', '--store', sys.argv[1]], standalone_mode=False)\n"
        "print(json.dumps(sorted({'torch', 'scipy', 'ray', 'mlflow', 'matplotlib'} & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", code, partly.close()], capture_output=True, text=True, check=True)
    assert "Δm" in done.stdout and json.loads(done.stdout.splitlines()[-1]) == []
