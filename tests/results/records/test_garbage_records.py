"""Whatever is in the files of a store, a reader gets what it expects or a line that names the file."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from garbage import changed
from make_records import record, score
from mtlbench.results.records.record import (
    Control,
    ControlTable,
    CorruptRecord,
    Entry,
    Manifest,
    NewerRecord,
    Record,
    require_name,
)

pytestmark = pytest.mark.slow
MANY = settings(
    max_examples=4000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

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


@MANY
@given(changed(RECORD))
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


@MANY
@given(changed(MANIFEST))
def test_a_manifest_is_whole_or_named(content):
    text = content if isinstance(content, str) else json.dumps(content)
    try:
        found = Manifest.from_json(text, "matrices/rooms.json")
    except CorruptRecord as error:
        assert str(error).startswith("matrices/rooms.json: ") and "\n" not in str(error)
        return
    for name in (found.name, *found.ids, *found.constants.values()):
        require_name(name)
    assert Manifest.from_json(found.to_json(), "again") == found


@given(st.text())
@settings(max_examples=500, deadline=None, derandomize=True, database=None)
def test_a_name_never_leads_out_of_a_folder(name):
    try:
        require_name(name)
    except TypeError:
        return
    assert name not in ("", ".", "..") and "/" not in name and "\\" not in name
