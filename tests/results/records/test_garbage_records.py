"""Whatever is in the files of a store, a reader gets what it expects or a line that names the file."""

import json
import shutil
from unittest import mock

import pytest
from hypothesis import strategies as st

from garbage import cases, changed
from make_records import Store, record, score
from mtlbench.results.records.record import (
    Control,
    ControlTable,
    CorruptRecord,
    Entry,
    Manifest,
    NewerRecord,
    Record,
    require_benchmark,
    require_name,
)
from mtlbench.results.report.drawing import figures
from mtlbench.results.report.paper.widths import paper
from mtlbench.results.report.write import report

pytestmark = pytest.mark.slow

ENTRY = Entry("cell", "PAD-Net", "pad_net", ("semseg",), ("semseg", "depth"), "rooms", 0)
RECORD = json.loads(record("cell", (score("semseg", 40.0), score("depth", None))).to_json())
MANIFEST = json.loads(
    Manifest(
        name="rooms",
        title="Rooms",
        caption="",
        baseline="PAD-Net",
        demonstration=False,
        entries=(ENTRY,),
        constants={"rooms": "constant"},
        controls=(Control("same", "PAD-Net", (ControlTable("other seeds", (ENTRY,)),)),),
    ).to_json()
)


@cases(changed(RECORD), 1000)
def test_a_record_is_whole_or_named(content):
    text = content if isinstance(content, str) else json.dumps(content)
    try:
        found = Record.from_json(text, "cells/cell/record.json")
    except (CorruptRecord, NewerRecord) as error:
        assert str(error).startswith("cells/cell/record.json: ") and "\n" not in str(error)
        return
    require_name(found.id)
    assert Record.from_json(found.to_json(), "again") == found
    assert all(isinstance(one.value, float | None) for one in found.scores)


@cases(changed(MANIFEST), 1000)
def test_a_manifest_is_whole_or_named(content):
    text = content if isinstance(content, str) else json.dumps(content)
    try:
        found = Manifest.from_json(text, "matrices/rooms.json")
    except CorruptRecord as error:
        assert str(error).startswith("matrices/rooms.json: ") and "\n" not in str(error)
        return
    for name in (found.name, *found.ids, *found.constants.values()):
        require_name(name)
    for name in (*found.constants, *(entry.benchmark for entry in found.entries)):
        require_benchmark(name)
    assert Manifest.from_json(found.to_json(), "again") == found


@cases(st.text(), 125)
def test_a_name_never_leads_out_of_a_folder(name):
    try:
        require_name(name)
    except ValueError:
        return
    assert name not in ("", ".", "..") and "/" not in name and "\\" not in name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a control, whose manifest is changed by tests."""
    root = tmp_path_factory.mktemp("made")
    store = Store(root / "store")
    for seed in range(2):
        store.single(("semseg", "depth"), seed)
        store.run("PAD-Net", ("semseg", "depth"), seed)
    store.constant("rooms", (score("semseg", 1.16), score("depth", 1.4)))
    again = tuple(entry for entry in store.entries if entry.label == "PAD-Net")
    store.manifest = {"controls": (Control("same", "PAD-Net", (ControlTable("other seeds", again),)),)}
    store.close()
    return root


def reported(root, content, drawn):
    """Whether the report of a changed manifest was written. It lies in its folder, or nothing was written."""
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "store" / "matrices" / "rooms.json").write_bytes(text.encode(errors="surrogatepass"))
    before = set(root.rglob("*"))
    out = root / "deep" / "er" / "out"
    with mock.patch.dict(figures.FIGURES, drawn, clear=True):
        try:
            report(str(root / "store"), ["rooms"], out, paper("cvpr"))
        except CorruptRecord as error:
            assert "\n" not in str(error)
    new = set(root.rglob("*")) - before
    assert all(path.is_relative_to(out) or path in out.parents for path in new)
    shutil.rmtree(root / "deep", ignore_errors=True)
    return bool(new)


@cases(st.data(), 75)
def test_the_report_of_whatever_a_manifest_holds_stays_in_its_folder(made, data):
    whole = json.loads((made / "whole.json").read_text()) if (made / "whole.json").exists() else None
    if whole is None:
        whole = json.loads((made / "store" / "matrices" / "rooms.json").read_text())
        (made / "whole.json").write_text(json.dumps(whole))
        assert reported(made, whole, {"gains": figures.FIGURES["gains"]})
    reported(made, data.draw(changed(whole)), {})
