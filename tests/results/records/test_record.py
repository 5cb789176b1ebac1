"""Records survive the store, and broken files name themselves."""

import json
import re
import shutil
import sys

import pandas as pd
import pytest
from fsspec.registry import _registry

from make_records import Store, record, score, three_seeds
from mtlbench.results.records.reading import history, influence, matrices, read
from mtlbench.results.records.record import CorruptRecord, Manifest, NewerRecord, Record, differences
from mtlbench.results.report.write import report
from mtlbench.results.summary.runs import Comparison

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
    monkeypatch.delitem(_registry, "s3", raising=False)  # another test may have imported it
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


TEXTS = ["/abs", "../../evil", "..", ".hidden", "a/b", "a\\b", "", "a\nb", "\x00", "*", "a?", "[ab]"]
OUTSIDE = [*TEXTS, None, 3, ["a"], {"a": 1}]
PLACES = {  # of a manifest: where a name is put that becomes a part of a path, or an id
    "name": lambda fields, name: fields.update(name=name),
    "id": lambda fields, name: fields["entries"][0].update(id=name),
    "tasks": lambda fields, name: fields["entries"][0].update(tasks=[name]),
    "task_set": lambda fields, name: fields["entries"][0].update(task_set=["depth", name]),
    "starts": lambda fields, name: fields["entries"][0].update(starts=[name]),
    "benchmark": lambda fields, name: fields["entries"][0].update(benchmark=name),
    "class": lambda fields, name: fields["entries"][0].update(benchmark=f"module:{name}" if name in TEXTS else name),
    "constant": lambda fields, name: fields["constants"].update(rooms=name),
    "control": lambda fields, name: fields["controls"][0]["tables"][0]["entries"][0].update(benchmark=name),
    "judged": lambda fields, name: fields["controls"][0].update(tasks=[name]),
}


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    """A store whose manifest has a control."""
    root = tmp_path_factory.mktemp("controlled")
    path = three_seeds(root)
    file = root / "matrices" / "rooms.json"
    fields = json.loads(file.read_text())
    tables = [{"name": "other seeds", "entries": fields["entries"][-3:]}]
    fields["controls"] = [{"expects": "same", "row": "SCA-MTL", "tables": tables, "tasks": []}]
    file.write_text(json.dumps(fields))
    read(path, "rooms")  # it is right before it is changed
    return root


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("place", PLACES)
def test_no_name_out_of_a_store_leads_anywhere_else(tmp_path, controlled, place, name):
    path, file = str(tmp_path / "s"), tmp_path / "s" / "matrices" / "rooms.json"
    file.parent.mkdir(parents=True)
    fields = json.loads((controlled / "matrices" / "rooms.json").read_text())
    PLACES[place](fields, name)
    file.write_text(json.dumps(fields))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorruptRecord, match=r"matrices/rooms\.json: not a matrix manifest"):
        report(path, ["rooms"], tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", TEXTS)
def test_a_benchmark_for_which_there_is_a_constant_is_a_name_too(name):
    fields = {"name": "a", "title": "", "caption": "", "baseline": "", "demonstration": True, "entries": []}
    assert Manifest.from_json(json.dumps({**fields, "constants": {"module:Rooms": "one"}}), "a").constants
    with pytest.raises(CorruptRecord, match="a: not a matrix manifest"):
        Manifest.from_json(json.dumps({**fields, "constants": {name: "one"}}), "a")


@pytest.mark.parametrize("name", TEXTS)
def test_the_name_of_a_figure_stays_in_its_folder_whatever_it_is_made_of(name):
    for benchmark, tasks in ((name, ("depth",)), (f"module:{name}", ("depth",)), ("rooms", (name,))):
        slug = Comparison(benchmark, tasks, "", {}, None, {}).slug
        assert re.fullmatch(r"[\w-][\w.-]*", slug)
    assert Comparison("my_module:Räume", ("depth", "edge"), "", {}, None, {}).slug == "Räume-depth-edge"


def test_controls_that_no_run_writes_are_named_and_end_no_report_in_a_traceback(tmp_path, controlled):
    file = shutil.copytree(controlled, tmp_path / "s") / "matrices" / "rooms.json"
    right = json.loads(file.read_text())
    changes = {
        "has 0 tables": {"tables": []},
        "has 2 tables": {"tables": right["controls"][0]["tables"] * 2},
        "no row 'PAD-net'": {"row": "PAD-net"},
        "lacks the cells of a row": {"tables": [{"name": "other seeds", "entries": []}]},
        "table 'other seeds' lacks": {"expects": "falls"},
    }
    for complaint, change in changes.items():
        file.write_text(json.dumps({**right, "controls": [{**right["controls"][0], **change}]}))
        with pytest.raises(CorruptRecord, match=complaint):
            report(str(tmp_path / "s"), ["rooms"], tmp_path / "out")
    second = {**right["entries"][0], "benchmark": "others", "label": "Single task"}
    file.write_text(json.dumps({**right, "entries": [*right["entries"], second]}))
    with pytest.raises(CorruptRecord, match="controls belong to one table"):
        report(str(tmp_path / "s"), ["rooms"], tmp_path / "out")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("place", ["id", "derived_from"])
def test_no_name_out_of_a_record_leads_anywhere_else(place, name):
    fields = json.loads(record("cell", ()).to_json())
    fields[place] = name if place == "id" else [name]
    with pytest.raises(CorruptRecord, match="cells/a: not a record"):
        Record.from_json(json.dumps(fields), "cells/a")
