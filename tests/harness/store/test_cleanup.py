"""What `mtlbench gc` names and removes: leftovers alone, and nothing before it is told to."""

import pytest
from typer.testing import CliRunner

from mtlbench.harness.cli.app import app
from mtlbench.harness.store import cleanup
from mtlbench.harness.store.lease import Lease
from mtlbench.harness.store.store import Store
from mtlbench.results.records.record import Entry, Manifest, Record


def entry(cell_id):
    return Entry(cell_id, "a", "multi_task", ("depth",), ("depth",), "rooms", 0)


@pytest.fixture
def store(tmp_path):
    """A finished cell with leftovers, one in training, one of no matrix, and the parent of the first."""
    place = Store(tmp_path / "s")
    manifest = Manifest("m", "", "", "", False, (entry("done"), entry("running")), {"rooms": "constant-1"})
    place.put("matrices/m.json", manifest.to_json())
    for cell_id, parents in (("done", ("search",)), ("search", ()), ("stray", ())):
        place.put_record(Record(cell_id, {}, (), {}, {}, derived_from=parents))
        place.put(f"cells/{cell_id}/model.safetensors", b"m" * 10)
    place.put("constants/constant-1.json", Record("constant-1", {}, (), {}, {}).to_json())
    for name in (
        "cells/done/checkpoints/000001/model.safetensors", "cells/done/checkpoints/000002/state.json",
        "cells/done/to_score/edge/000000.npz", "cells/done/predictions/000000.npz",
        "cells/done/record.json.corrupt-20260101-000000-abcd", "cells/running/checkpoints/000001/state.json",
        "cells/running/checkpoints/000000.corrupt-20260101-000000-abcd/state.json", "cells/running/history.jsonl",
        "cells/running/trained.json", "cells/running/to_score/edge/000000.npz",
        "constants/constant-0.json", "fits/rooms-normals-1.json", "data/1.json", "mlflow.db", ".probe-12345678",
    ):  # fmt: skip
        place.put(name, b"x" * 100)
    (tmp_path / "s" / "cells" / "running" / "history.jsonl.1234.tmp").write_bytes(b"x" * 7)
    return place


ALWAYS = {
    ".probe-12345678": 100,
    "cells/done/checkpoints": 200,
    "cells/done/record.json.corrupt-20260101-000000-abcd": 100,
    "cells/done/to_score": 100,
    "cells/running/checkpoints/000000.corrupt-20260101-000000-abcd": 100,
    "cells/running/history.jsonl.1234.tmp": 7,
}


def sizes(leftovers):
    return {leftover.name: leftover.size for leftover in leftovers}


def listing(store):
    return {path: store.fs.cat_file(path) for path in store.fs.find(store.root)}


def test_leftovers_are_named_with_their_sizes_and_nothing_that_is_needed(store):
    assert sizes(cleanup.find(store)) == ALWAYS
    assert sizes(cleanup.find(store, predictions=True)) == ALWAYS | {"cells/done/predictions": 100}
    orphans = sizes(cleanup.find(store, orphans=True))
    record = store.fs.size(store.path("cells/stray/record.json"))
    assert orphans == ALWAYS | {"cells/stray": 10 + record, "constants/constant-0.json": 100}


def test_nothing_is_removed_without_yes_and_only_what_was_named_with_it(store):
    before = listing(store)
    shown = CliRunner().invoke(app, ["gc", "--store", store.url])
    assert shown.exit_code == 0, shown.output
    assert listing(store) == before
    for name in ALWAYS:
        assert name in shown.output
    assert "607 B" in shown.output and "--yes" in shown.output
    done = CliRunner().invoke(app, ["gc", "--store", store.url, "--orphans", "--predictions", "--yes"])
    assert done.exit_code == 0, done.output
    kept = {path: content for path, content in before.items() if not gone(path, store)}
    assert listing(store) == kept and len(kept) < len(before)
    assert cleanup.find(store, predictions=True, orphans=True) == []
    assert store.record("done") and store.record("search") and store.record("stray") is None
    assert store.state("running") == "trained"


def gone(path, store):
    removed = [*ALWAYS, "cells/done/predictions", "cells/stray", "constants/constant-0.json"]
    return any(path == store.path(name) or path.startswith(store.path(name) + "/") for name in removed)


def test_a_store_that_a_driver_holds_is_left_alone(store):
    before = set(listing(store))
    with Lease(store):
        done = CliRunner().invoke(app, ["gc", "--store", store.url, "--yes"])
        assert done.exit_code == 2 and "is driven by process" in done.output
        (claim,) = set(listing(store)) - before
        assert claim.startswith(store.path("lease/"))


def test_an_empty_store_has_nothing_to_remove(tmp_path):
    assert cleanup.find(Store(tmp_path / "nothing"), predictions=True, orphans=True) == []
