"""Records survive the store, and broken files name themselves."""

import json
import sys

import pandas as pd
import pytest

from make_records import Store, record, score, three_seeds
from mtlbench.results.records.reading import history, influence, matrices, read
from mtlbench.results.records.record import CorruptRecord, Manifest, NewerRecord, Record, differences
from mtlbench.results.report.write import report

pytestmark = pytest.mark.usefixtures("undrawn")

TASKS = ("semseg", "depth")


def test_a_record_comes_back_from_its_json_unchanged():
    whole = record("cell", (score("semseg", 1 / 3), score("depth", None)), findings={"genotype": [1]})
    assert Record.from_json(whole.to_json(), "here") == whole


def test_a_record_never_holds_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        record("cell", (score("semseg", float("nan")),)).to_json()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1, "scores": [{"task": 1}]}'])
def test_what_is_not_a_record_is_named(text):
    with pytest.raises(CorruptRecord, match=r"cells/a/record\.json"):
        Record.from_json(text, "cells/a/record.json")


def test_a_newer_schema_is_refused():
    fields = json.loads(record("cell", ()).to_json())
    with pytest.raises(NewerRecord, match="newer version"):
        Record.from_json(json.dumps({**fields, "schema": 99}), "x")


def test_a_record_older_than_titles_units_and_decimals_still_reads_and_compares():
    new = score("depth", 0.5)
    text = json.loads(record("cell", (new,)).to_json())
    for name in ("title", "unit", "decimals"):
        del text["scores"][0][name]
    old = Record.from_json(json.dumps(text), "here").scores[0]
    assert (old.title, old.unit, old.decimals) == ("", "", 4)
    assert differences(old, new) == [] == differences(new, old)


def test_reading_a_matrix_finds_finished_failed_and_constant_cells(tmp_path):
    results = read(three_seeds(tmp_path), "rooms")
    assert Manifest.from_json(results.manifest.to_json(), "x") == results.manifest
    assert len(results.records) == 6 + 3 + 2 + 1 + 3
    assert [failure["error"] for failure in results.failures.values()] == ["ValueError: loss is nan at step 7"]
    assert results.constants["rooms"].primary()["semseg"].value == 1.16


def test_parents_of_a_cell_are_read_too_though_the_matrix_does_not_list_them(tmp_path):
    store = Store(tmp_path)
    parent = store.run("Search", TASKS, 0)
    store.entries.clear()
    store.single(TASKS, 0)
    store.run("PAD-Net", TASKS, 0, derived_from=(parent,))
    assert parent in read(store.close(), "rooms").records


def test_an_unknown_matrix_error_lists_those_there_are(tmp_path):
    store = three_seeds(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no matrix 'tabel1'.*it holds: rooms"):
        read(store, "tabel1")
    assert matrices(store) == ["rooms"]
    assert matrices(str(tmp_path / "nowhere")) == []


def test_of_a_damaged_history_the_whole_lines_are_kept_and_the_others_are_counted(tmp_path):
    folder = tmp_path / "cells" / "a"
    folder.mkdir(parents=True)
    assert history(str(tmp_path), "a") == ([], [])
    events = [{"step": step, "epoch": 1, "name": "train/loss", "value": 0.5} for step in (1, 2)]
    lines = [json.dumps(event) for event in events]
    (folder / "history.jsonl").write_text("\n".join([*lines, '{"st']))
    assert history(str(tmp_path), "a") == (events, [3])
    for broken in (b'{"st', b'{"step": 3}', b"3", b"\xff\xfe{", b"", lines[0].replace("1", '"1"').encode()):
        (folder / "history.jsonl").write_bytes(b"\n".join([lines[0].encode(), broken, lines[1].encode()]))
        assert history(str(tmp_path), "a") == (events, [2])


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"error": 3, "attempts": "two"}', b'{"log": "here"}']
)
def test_a_failure_that_cannot_be_read_stops_no_report_and_is_said(tmp_path, content):
    path = three_seeds(tmp_path)
    (file,) = (tmp_path / "cells").glob("*/failure.json")
    file.write_bytes(content)
    ((cell, failure),) = read(path, "rooms").failures.items()
    assert failure["error"] == f"cells/{cell}/failure.json cannot be read"
    assert (failure["traceback"], failure["attempts"]) == ("", 0)
    report(path, [], tmp_path / "out")
    assert f"failed 1 of 3 seeds ({failure['error']})" in (tmp_path / "out" / "rooms" / "table.md").read_text()


def test_a_record_that_is_not_text_is_named(tmp_path):
    store = Store(tmp_path)
    cell = store.run("PAD-Net", TASKS, 0)
    path = store.close()
    (tmp_path / "cells" / cell / "record.json").write_bytes(b"\xff\xfe{")
    assert f"cells/{cell}/record.json: not text in UTF-8" in read(path, "rooms").unreadable[cell]


def test_a_file_beside_the_matrices_is_no_matrix(tmp_path):
    store = three_seeds(tmp_path)
    for name in ("rooms.json.0a1b.tmp", ".rooms_verdict.json.tmp", ".rooms.json"):
        (tmp_path / "matrices" / name).write_text("{")
    assert matrices(store) == ["rooms"]


@pytest.mark.parametrize("url", ["nothing://bucket/runs", "s3://bucket/runs"])
def test_a_store_that_cannot_be_opened_is_named(monkeypatch, url):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(FileNotFoundError, match=f"{url}: no store can be opened there"):
        matrices(url)


def test_influences_come_by_task_and_image(tmp_path):
    store = Store(tmp_path)
    cell = store.run("PAD-Net", TASKS, 0)
    found = influence(str(tmp_path), cell)
    assert sorted(found) == sorted(TASKS)
    assert all(len(of_task) == 12 and abs(of_task.mean()) < 1e-12 for of_task in found.values())
    assert influence(str(tmp_path), "nothing") is None
    (tmp_path / "cells" / cell / "per_image.parquet").write_bytes(b"not parquet")
    with pytest.raises(CorruptRecord, match="per_image"):
        influence(str(tmp_path), cell)


def test_an_image_that_is_there_twice_is_refused(tmp_path):
    store = Store(tmp_path)
    cell = store.run("PAD-Net", TASKS, 0)
    path = tmp_path / "cells" / cell / "per_image.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, rows.head(1)]).to_parquet(path)
    with pytest.raises(CorruptRecord, match="an image occurs twice"):
        influence(str(tmp_path), cell)


OUTSIDE = ["/abs", "../../evil", "..", ".hidden", "a/b", "a\\b", "", "a\nb", "\x00", None, 3, ["a"], {"a": 1}]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("place", ["name", "id", "constant"])
def test_no_name_out_of_a_store_leads_anywhere_else(tmp_path, place, name):
    path = three_seeds(tmp_path / "s")
    file = tmp_path / "s" / "matrices" / "rooms.json"
    fields = json.loads(file.read_text())
    if place == "name":
        fields["name"] = name
    elif place == "id":
        fields["entries"][0]["id"] = name
    else:
        fields["constants"]["rooms"] = name
    file.write_text(json.dumps(fields))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorruptRecord, match=r"matrices/rooms\.json: not a matrix manifest"):
        report(path, ["rooms"], tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("place", ["id", "derived_from"])
def test_no_name_out_of_a_record_leads_anywhere_else(place, name):
    fields = json.loads(record("cell", ()).to_json())
    fields[place] = name if place == "id" else [name]
    with pytest.raises(CorruptRecord, match="cells/a: not a record"):
        Record.from_json(json.dumps(fields), "cells/a")
