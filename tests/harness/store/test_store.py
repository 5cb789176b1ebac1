"""A store shows either the old content or the new, and names what is corrupt."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest

from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records.record import CorruptRecord, NewerRecord, Record, Score


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        return Store(tmp_path / "store")
    return Store(f"memory://{tmp_path.name}-{os.urandom(4).hex()}")


def record(cell_id="a"):
    scores = (Score("depth", "rmse", 0.5, higher_is_better=False, primary=True),)
    return Record(cell_id, {"method": "m"}, scores, {"parameters": 1.0}, {"commit": "c"})


def test_a_file_is_read_back_as_written(store):
    store.put("cells/a/file", "one")
    store.put("cells/a/file", b"two")
    assert store.get("cells/a/file") == b"two"
    assert store.names("cells/a") == ["file"]
    assert store.names("nowhere") == []


def test_what_file_managers_and_notebooks_leave_is_no_cell_and_no_part_of_one(store):
    store.put("cells/a/checkpoints/000001/state.json", "{}")
    for folder in ("cells", "cells/a", "cells/a/checkpoints/000001"):
        for junk in (".DS_Store", "._a", ".ipynb_checkpoints/a", "Thumbs.db"):
            store.put(f"{folder}/{junk}", b"x")
    assert store.cells() == ["a"]
    assert store.names("cells/a/checkpoints/000001", "file") == ["Thumbs.db", "state.json"]


def test_a_cell_is_finished_when_its_record_is_there_and_not_before(store):
    assert store.state("a") == "new"
    store.put("cells/a/history.jsonl", "")
    assert store.state("a") == "started"
    store.put_failure("a", "boom", "trace")
    store.put_failure("a", "boom", "trace")
    assert store.state("a") == "failed"
    assert store.failure("a")["attempts"] == 2
    store.put_record(record())
    assert store.state("a") == "finished"
    assert store.failure("a") is None
    assert store.record("a") == record()


@pytest.mark.parametrize("content", ["{", "[]", "{}", "null", '{"schema": 1}'])
def test_a_corrupt_record_is_named_kept_aside_and_its_cell_runs_again(store, content):
    store.put("cells/a/record.json", content)
    records, warnings = store.records(["a"])
    assert records == {}
    assert "cells/a/record.json" in warnings[0]
    assert store.state("a") == "new"
    assert any(name.startswith("record.json.corrupt") for name in store.names("cells/a"))


def test_a_record_of_a_newer_version_is_left_alone(store):
    store.put("cells/a/record.json", '{"schema": 99}')
    with pytest.raises(NewerRecord, match="schema 99"):
        store.records(["a"])
    assert store.state("a") == "finished"


def test_what_is_left_of_a_cell_that_is_being_forgotten_never_passes_for_done(store, monkeypatch):
    store.put_record(record())
    store.put("cells/a/history.jsonl", "")
    removed = []
    monkeypatch.setattr(store, "remove", lambda name: removed.append(name))
    store.forget("a")
    assert removed[0] == "cells/a/record.json"


def test_a_record_of_another_cell_is_corrupt(store):
    store.put("cells/a/record.json", record("b").to_json())
    assert "holds the record of b" in store.records(["a"])[1][0]


def test_data_of_another_copy_are_refused(store):
    store.bind("nyud", "one")
    store.bind("nyud", "one")
    with pytest.raises(StoreError, match="another copy of nyud"):
        store.bind("nyud", "two")


GARBAGE = [b"", b"{", b"{}", b"[]", b"3", b"\xff\xfe"]


@pytest.mark.parametrize("content", GARBAGE)
def test_what_says_nothing_is_named_or_does_no_harm(store, content):
    store.bind("nyud", "one")
    (binding,) = store.names("data")
    store.put(f"data/{binding}", content)
    with pytest.raises(StoreError, match=rf"{binding}: does not say which copy of nyud .* remove it"):
        store.bind("nyud", "one")
    store.put("cells/a/failure.json", content)
    assert store.failure("a")["error"].endswith("failure.json cannot be read")
    store.put_failure("a", "again", "trace")
    assert store.failure("a") | {"time": 0} == store.failure("a") | {"time": 0, "error": "again", "attempts": 1}
    store.put("cells/a/cell.yaml", content)
    with pytest.raises(CorruptRecord, match=r"cells/a/cell\.yaml: not a cell"):
        store.cell("a")
    store.put("cells/a/record.json", content)
    with pytest.raises(CorruptRecord, match=r"record\.json: .*; `mtlbench run` sets it aside"):
        store.record("a")


@pytest.mark.parametrize(
    "change",
    [
        {"starts": {"depth": "../../evil"}},
        {"derived_from": ["/abs"]},
        {"tasks": ["../depth"]},
        {"benchmark": {"name": "module:../evil"}},
    ],
)
def test_a_name_in_a_cell_leads_nowhere_else(store, change):
    fields = {"method": "mti_net", "tasks": ["depth"], "benchmark": {"name": "rooms"}, "train": {"epochs": 1}}
    store.put("cells/a/cell.yaml", json.dumps(fields))
    assert store.cell("a").tasks == ("depth",)
    store.put("cells/a/cell.yaml", json.dumps({**fields, **change}))
    with pytest.raises(
        CorruptRecord, match=r"cells/a/cell\.yaml: not a cell \(.*is no name that can be a part of a path"
    ):
        store.cell("a")


def test_probing_a_store_that_is_not_there_yet_leaves_nothing(tmp_path):
    Store(tmp_path / "a" / "b").probe()
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(StoreError, match=str(file)):
        Store(file / "store").probe()


@pytest.mark.parametrize("name", ["a%2Fb", "50%", "que?", "#1", "a::b", "st*r", "[a]", "back\\slash", "new\nline"])
def test_a_folder_whose_name_an_address_would_misread_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"means something else in the addresses.*rename the folder"):
        Store(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="rename the folder"):
        Store(f"{tmp_path}/{name}/runs")
    assert not list(tmp_path.iterdir())


def test_why_nothing_can_be_written_is_known_without_writing(store, tmp_path, monkeypatch):
    assert store.refusal() == "" and list(tmp_path.iterdir()) == []
    if store.local:
        (tmp_path / "file").touch()
        below = Store(tmp_path / "file" / "s")
        assert below.refusal().startswith(f"cannot write into the store {below.url}: {tmp_path / 'file'} is no folder")
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
        assert f"there is no room in {tmp_path} (disk /" in store.refusal()
        monkeypatch.setattr(os, "access", lambda folder, how: not how & os.W_OK)
        assert f"{tmp_path} may not be written to; give another --store" in store.refusal()
    assert {path.name for path in tmp_path.iterdir()} <= {"file"}


@pytest.mark.parametrize("root", ["/proc/nothing", "/dev/null/s"])
def test_where_a_probe_is_refused_it_is_known_before(root):
    with pytest.raises(StoreError, match="cannot write into the store"):
        Store(root).probe()
    assert Store(root).refusal().startswith(f"cannot write into the store {root}: ")
