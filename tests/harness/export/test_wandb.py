"""Weights & Biases gets what the store holds: every point of a history, every score and every delta."""

import json
import struct
import sys
from collections import defaultdict
from dataclasses import replace
from types import ModuleType

import pytest
from wandb.proto.wandb_internal_pb2 import Record as Message
from wandb.sdk.lib.service import service_process

from cells import small_cell
from command import invoke
from exported import expected
from make_records import Store as Made
from make_records import three_seeds
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.views import flatten
from mtlbench.results.records import files
from mtlbench.results.records.reading import read

BLOCK, HEADER = 32768, 7  # bytes; a file is a log as LevelDB writes it, whose first bytes say that it is one of W&B


def messages(path):
    """What W&B has written into the file of a run."""
    content, at, part = path.read_bytes(), HEADER, b""
    assert content.startswith(b":W&B")
    while at < len(content):
        if BLOCK - at % BLOCK < HEADER:  # no room for another header in this block
            at += BLOCK - at % BLOCK
            continue
        size, kind = struct.unpack_from("<HB", content, at + 4)
        part += content[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (1, 4):  # whole, or the last part
            yield Message.FromString(part)
            part = b""


def read_back(folder):
    """Id -> (run, config, history: name -> [(step, value)], summary) of the runs in a folder."""
    found = {}
    for path in folder.glob("offline-run-*/*.wandb"):
        history, summary = defaultdict(list), {}
        for message in messages(path):
            kind = message.WhichOneof("record_type")
            if kind == "run":
                run = message.run
            elif kind == "history":
                for item in message.history.item:
                    name = item.key or "/".join(item.nested_key)
                    history[name].append((message.history.step.num, json.loads(item.value_json)))
            elif kind == "summary":
                summary |= {
                    item.key or item.nested_key[0]: json.loads(item.value_json) for item in message.summary.update
                }
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert run.run_id not in found and path.parent.name.endswith(f"-{run.run_id}")
        found[run.run_id] = run, config, history, summary
    return found


@pytest.fixture
def store(tmp_path):
    return Store(three_seeds(tmp_path / "s"))


def exported(store, out, *more):
    done = invoke("export", "wandb", "--store", store.url, "--out", str(out), *more)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_the_runs_hold_the_histories_the_scores_the_deltas_and_the_parameters_of_the_store(store, tmp_path):
    wanted = expected(store, "rooms")
    first, cell = next(iter(wanted)), small_cell().model_dump(mode="json")
    store.put(files.record(first), replace(store.record(first), cell=cell).to_json())
    said = exported(store, tmp_path / "out")
    runs = tmp_path / "out" / "rooms" / "wandb"
    assert f"rooms: {len(wanted)} cells; upload them:  wandb sync {runs}\n" in said
    shown, entries = read_back(runs), read(store.url, "rooms").manifest.cells()
    assert shown.keys() == wanted.keys()
    for cell_id, (history, finals) in wanted.items():
        run, _, points, summary = shown[cell_id]
        entry = entries[cell_id]
        assert (run.project, run.run_group, run.job_type) == ("rooms", entry.label, "cell")
        assert run.display_name == f"{entry.label} · seed {entry.seed} · {'+'.join(entry.tasks)}"
        assert {name: points[name] for name in points if not name.startswith("_")}.keys() == history.keys() | {"epoch"}
        assert all(points[name] == of_name for name, of_name in history.items())
        assert points["epoch"] == [(60 * epoch, epoch) for epoch in range(1, 6)]
        assert {name: summary[name] for name in finals} == pytest.approx(finals, rel=1e-5)  # scores have six digits
    config = {name: value for name, value in shown[first][1].items() if name != "_wandb"}
    assert dict(flatten(config)) == dict(flatten(cell)) and config["train"]["lr"] == cell["train"]["lr"]


@pytest.mark.slow
def test_a_second_export_leaves_what_is_right_replaces_what_has_changed_and_doubles_nothing(store, tmp_path):
    out = tmp_path / "out"
    runs = out / "rooms" / "wandb"
    exported(store, out)
    before = {run: (runs / run).stat().st_ino for run in sorted(path.name for path in runs.iterdir())}
    exported(store, out, "rooms")
    assert {path.name: path.stat().st_ino for path in runs.iterdir()} == before
    (runs / "offline-run-20260101_000000-theirs").mkdir()
    changed, gone = (next(i for i in expected(store, "rooms") if i.startswith(name)) for name in ("mti-net", "sca-mtl"))
    store.forget(gone)
    record = store.record(changed)
    store.put(files.record(changed), replace(record, cost={**record.cost, "macs": 7.0}).to_json())
    exported(store, out)
    now = {path.name: path.stat().st_ino for path in runs.iterdir()}
    assert {run for run, inode in before.items() if now.get(run) != inode} == {
        run for run in before if run.endswith((changed, gone))
    }
    shown = read_back(runs)
    assert shown.keys() == expected(store, "rooms").keys() and shown[changed][3]["cost/macs"] == 7.0
    assert "offline-run-20260101_000000-theirs" in now
    assert not [path for path in out.rglob("*") if "unfinished" in path.name]


def test_the_service_that_writes_the_runs_is_told_to_send_nothing(store, tmp_path, monkeypatch):
    started, popen = [], service_process.subprocess.Popen
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(
        service_process.subprocess, "Popen", lambda args, **options: started.append(args) or popen(args, **options)
    )
    exported(store, tmp_path / "out")
    assert [args for args in started if "--no-observability" in args], started


def test_a_store_without_finished_cells_is_said_in_a_line_and_nothing_is_written(tmp_path):
    made = Made(tmp_path / "s")
    made.run("Single task", ("depth",), 0, status="failed")
    done = invoke("export", "wandb", "--store", made.close(), "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert done.stdout == f"rooms: no cell of {tmp_path / 's'} has finished, and nothing was written\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [None, ModuleType("wandb")], ids=["nothing", "a folder of that name"])
def test_without_the_package_a_line_names_the_extra(store, tmp_path, monkeypatch, there):
    monkeypatch.setitem(sys.modules, "wandb", there)
    done = invoke("export", "wandb", "--store", store.url, "--out", tmp_path / "out")
    assert done.exit_code == 2 and not (tmp_path / "out").exists()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mtlbench: ")]
    assert "pip install 'mtlbench[wandb]'" in line and "Traceback" not in done.output
