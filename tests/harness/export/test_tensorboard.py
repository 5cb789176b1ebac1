"""TensorBoard reads what the store holds: every point of a history, every score and every delta."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from command import invoke
from exported import expected
from make_records import three_seeds
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.reading import read


def read_back(folder):
    """run -> tag -> [(step, value)], by TensorBoard's own reader, from every folder that has event files."""
    found = {}
    for run in {path.parent for path in folder.rglob("events.out.tfevents.*")}:
        events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
        found[run.relative_to(folder).as_posix()] = {
            tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
        }
    return found


@pytest.fixture
def store(tmp_path):
    return Store(three_seeds(tmp_path / "s"))


def exported(store, out, *more):
    done = invoke("export", "tensorboard", "--store", store.url, "--out", str(out), *more)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_files_hold_the_histories_the_scores_and_the_deltas_of_the_store(store, tmp_path):
    said = exported(store, tmp_path / "out")
    shown, wanted = read_back(tmp_path / "out"), expected(store, "rooms")
    assert f"{len(wanted)} cells" in said
    by_cell = {run.rpartition("/")[2]: tags for run, tags in shown.items()}
    assert len(shown) == len(by_cell) and by_cell.keys() == wanted.keys()
    for cell_id, (history, finals) in wanted.items():
        tags, points = by_cell[cell_id], history | {name: [(0, value)] for name, value in finals.items()}
        assert tags.keys() == points.keys()
        for name, of_name in points.items():
            assert [step for step, _ in tags[name]] == [step for step, _ in of_name]
            rel = 1e-5 if name.startswith("test/") else 1e-6  # scores are shown with six digits
            assert [value for _, value in tags[name]] == pytest.approx([value for _, value in of_name], rel=rel)
    assert any(run.startswith("rooms/Single_task/") for run in shown)


def test_a_second_export_shows_the_store_of_now_and_nothing_twice(store, tmp_path):
    out = tmp_path / "out"
    exported(store, out)
    before = read_back(out)
    exported(store, out, "rooms")
    assert read_back(out) == before
    (out / "rooms" / "events.out.tfevents.1.theirs").write_bytes(b"")  # of another program
    gone = next(cell_id for cell_id in read(store.url, "rooms").records if cell_id.startswith("sca-mtl"))
    store.forget(gone)
    exported(store, out)
    assert {run.rpartition("/")[2] for run in before} - {run.rpartition("/")[2] for run in read_back(out)} == {gone}
    assert (out / "rooms" / "events.out.tfevents.1.theirs").exists()


def test_a_cell_that_trains_shows_its_curve_and_one_that_failed_the_curve_so_far(store, tmp_path):
    (failed,) = [cell_id for cell_id in store.cells() if store.exists(files.failure(cell_id))]
    store.put(
        files.history(failed), json.dumps({"step": 7, "epoch": 0, "name": "train/loss/depth", "value": 2.0}) + "\n"
    )
    exported(store, tmp_path / "out")
    (tags,) = [tags for run, tags in read_back(tmp_path / "out").items() if run.endswith(failed)]
    assert tags == {"train/loss/depth": [(7, 2.0)]}


def test_a_store_without_a_matrix_and_an_unreadable_record_are_said_in_a_line(store, tmp_path):
    done = invoke("export", "tensorboard", "--store", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    assert done.exit_code == 2 and "no matrix was run into this store" in done.output
    broken = sorted(read(store.url, "rooms").records)[0]
    store.put(files.record(broken), "{")
    done = invoke("export", "tensorboard", "--store", store.url, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and broken in done.stderr
    assert broken not in {run.rpartition("/")[2] for run in read_back(tmp_path / "out")}
    (tmp_path / "file").write_text("")
    done = invoke("export", "tensorboard", "--store", store.url, "--out", str(tmp_path / "file"))
    assert done.exit_code == 2 and str(tmp_path / "file") in done.output and "Traceback" not in done.output
