"""A row of a table is one run of MLflow: the report's means, intervals and verdict."""

import json
import math
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from make_records import pascal, three_seeds
from mtlbench.harness.driver.deltas import deltas
from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.connection import default_uri
from mtlbench.harness.tracking.pages import states
from mtlbench.harness.tracking.projection import Projection
from mtlbench.harness.tracking.rows import aggregates
from mtlbench.results.records import files
from mtlbench.results.records.reading import read
from mtlbench.results.report.drawing.colors import COLORS
from mtlbench.results.report.tables import table
from tables_of import summaries
from tracked import points

pytestmark = pytest.mark.usefixtures("undrawn")


def rows_of(store, name="rooms"):
    found, manifest = summaries(store, name)
    return aggregates(manifest, [table(summary, manifest) for summary in found], found)


@pytest.fixture
def folder(tmp_path):
    return three_seeds(tmp_path / "s")


@pytest.fixture
def shown(folder, empty_database):
    """The experiment of three seeds of five methods, of which one run failed and two are missing."""
    shutil.copy(empty_database, Store(folder).path(files.DATABASE))
    projection = Projection(default_uri(folder), folder, read(folder, "rooms").manifest)
    projection.rows(rows_of(folder))
    return projection


def held(projection):
    """label -> the run of a row."""
    return {run.data.tags["label"]: run for run in projection._runs("tags.kind = 'aggregate'")}


def everything(projection):
    return {
        label: (
            run.info.run_id,
            run.info.status,
            run.data.tags,
            {m: points(projection, run, m) for m in run.data.metrics},
        )
        for label, run in held(projection).items()
    }


def test_a_row_has_the_means_of_its_records_and_the_verdict_of_the_report(folder, shown):
    (summary,), manifest = summaries(folder)
    written = table(summary, manifest)
    found = held(shown)
    assert list(found) and found.keys() == summary.rows.keys()
    for label, cells, verdict in zip(summary.rows, written.rows, written.verdicts, strict=False):
        run, row = found[label], summary.rows[label]
        values = [run.scores()["depth"].value for run in row.row.runs.values() if "depth" in run.scores()]
        assert run.data.metrics["test/depth_rmse"] == pytest.approx(np.mean(values), rel=1e-5)
        assert run.data.metrics["delta/m"] == pytest.approx(row.delta.mean, rel=1e-5)
        assert run.data.metrics["seeds"] == len(row.row.finished())
        assert run.data.tags["seeds"] == cells[1].text
        if verdict:
            assert run.data.tags["verdict"] == verdict
            assert run.data.tags["interval"].startswith("[") and run.data.tags["interval"] in [c.text for c in cells]
            assert run.data.metrics["delta/m_low"] == pytest.approx(row.delta.seeds.low, rel=1e-5)
            assert run.data.metrics["delta/m_high"] == pytest.approx(row.delta.seeds.high, rel=1e-5)
    assert found["Single task"].data.tags["verdict"] == "baseline"
    of_mti = found["MTI-Net"].data.tags  # two of its seeds are missing
    assert (of_mti["verdict"], of_mti["why"]) == ("no verdict", "one seed")
    assert "one seed: no verdict" in of_mti["mlflow.note.content"]
    assert "delta/m_low" not in found["MTI-Net"].data.metrics and "interval" not in of_mti
    assert "why" not in found["SCA-MTL"].data.tags and "why" not in found["Single task"].data.tags
    assert {run.info.status for run in found.values()} == {"FINISHED"}


def test_a_row_lasts_from_the_start_of_its_first_cell_to_the_end_of_its_last(folder, shown):
    def record(label, seed, **provenance):
        entry = next(e for e in read(folder, "rooms").manifest.entries if (e.label, e.seed) == (label, seed))
        path = Path(Store(folder).path(files.record(entry.id)))
        content = json.loads(path.read_text())
        content["provenance"] |= provenance
        path.write_text(json.dumps(content))
        return content["cost"]["train_seconds"]

    def times(label):
        info = held(shown)[label].info
        return info.start_time, info.end_time

    end = int(1000 * datetime(2026, 1, 1).timestamp())  # of all records
    seconds = record("SCA-MTL", 1)
    assert times("SCA-MTL") == (end - int(1000 * seconds), end)
    before = everything(shown)
    record("SCA-MTL", 1, finished="2026-01-02T00:00:00")
    shown.rows(rows_of(folder))
    day = int(1000 * (datetime(2026, 1, 2) - datetime(2026, 1, 1)).total_seconds())
    assert times("SCA-MTL") == (end - int(1000 * seconds), end + day)
    assert {label: of[0] for label, of in everything(shown).items()} == {label: of[0] for label, of in before.items()}
    record("SCA-MTL", 0, finished="2025-12-31T00:00:00")
    for _ in range(2):
        shown.rows(rows_of(folder))
        assert times("SCA-MTL")[0] == end - day - int(1000 * seconds)
    after = everything(shown)
    assert [label for label in after if after[label][0] != before[label][0]] == ["SCA-MTL"]
    for seed in range(3):
        record("SCA-MTL", seed, finished="some day")
    shown.rows(rows_of(folder))
    assert everything(shown)["SCA-MTL"][0] == after["SCA-MTL"][0]


def test_the_interval_of_a_score_is_students(folder, shown):
    (summary,), _ = summaries(folder)
    values = list(summary.rows["SCA-MTL"].scores["semseg"].values.values())
    half = 4.302653 * np.std(values, ddof=1) / math.sqrt(3)  # t of 2 degrees of freedom, from a table
    metrics = held(shown)["SCA-MTL"].data.metrics
    assert len(values) == 3
    assert metrics["test/semseg_miou_low"] == pytest.approx(np.mean(values) - half, rel=1e-5)
    assert metrics["test/semseg_miou_high"] == pytest.approx(np.mean(values) + half, rel=1e-5)


def test_rows_are_shown_once_however_often_and_by_whomever(folder, shown):
    before = everything(shown)
    shown.rows(rows_of(folder))
    Projection(default_uri(folder), folder, read(folder, "rooms").manifest).rows(rows_of(folder))
    assert everything(shown) == before
    twice = shown.client.create_run(shown.experiment_id, tags=dict(held(shown)["PAD-Net"].data.tags))
    shown.rows(rows_of(folder))  # two drivers that made a row at once
    assert len(list(shown._runs("tags.kind = 'aggregate'"))) == len(before)
    assert twice.info.run_id


def test_a_row_that_loses_its_values_has_no_number_and_a_row_that_is_gone_has_no_run(folder, shown):
    rows = rows_of(folder)
    of_pad = next(row for row in rows if row.tags["label"] == "PAD-Net")
    bare = replace(of_pad, metrics={"seeds": 0.0}, tags=of_pad.tags | {"verdict": "no verdict", "why": "failed"})
    kept = [bare if row is of_pad else row for row in rows if row.tags["label"] != "SCA-MTL"]
    for _ in range(2):
        shown.rows(kept)
    found = held(shown)
    assert "SCA-MTL" not in found and found.keys() == {row.tags["label"] for row in kept}
    assert math.isnan(found["PAD-Net"].data.metrics["delta/m"]) and found["PAD-Net"].data.metrics["seeds"] == 0
    assert found["PAD-Net"].data.tags["why"] == "failed"
    assert len(points(shown, found["PAD-Net"], "delta/m")) == 2
    shown.rows(rows)
    again = held(shown)["PAD-Net"].data
    assert again.metrics["delta/m"] == of_pad.metrics["delta/m"] and again.tags.get("why") == of_pad.tags.get("why")


def test_what_is_done_with_cells_leaves_rows_alone_and_the_reverse(folder, shown):
    store, before = Store(folder), everything(shown)
    manifest = read(folder, "rooms").manifest
    states = {cell_id: store.state(cell_id) for cell_id in manifest.ids}
    shown.cells({cell_id: state if state in ("finished", "failed") else "waiting" for cell_id, state in states.items()})
    shown.deltas(deltas(store, "rooms"))
    shown.interrupt()
    assert everything(shown) == before
    cells = list(shown._runs("tags.kind = 'cell'"))
    assert {run.data.tags["cell_id"] for run in cells} == set(manifest.ids) == shown.run_ids.keys()
    shown.rows(rows_of(folder))
    assert {run.info.run_id for run in shown._runs("tags.kind = 'cell'")} == {run.info.run_id for run in cells}
    again = Projection(default_uri(folder), folder, manifest)
    assert again.run_ids == shown.run_ids


def test_the_lists_of_the_prepared_pages_hold_each_row_or_each_cell_once(folder, shown, tmp_path):
    shown.cells({cell_id: "waiting" for cell_id in shown.manifest.ids})
    shown.report(tmp_path, [])
    found = {
        name: [run.info.run_id for run in shown._runs(state["searchFilter"])]
        for name, state in states(shown.manifest, {}).items()
    }
    assert sorted(found["cells"]) == sorted(found["methods"]) == sorted(shown.run_ids.values())
    assert len(found["rows"]) == len(held(shown)) == 5
    assert len(list(shown._runs())) == len(found["cells"]) + len(found["rows"]) + 1


def test_a_row_and_its_cells_have_the_colour_of_the_figures(folder, shown):
    labels = ["Single task", "Multi task", "PAD-Net", "MTI-Net", "SCA-MTL"]
    assert [held(shown)[label].data.tags["mlflow.runColor"] for label in labels] == list(COLORS[:5])
    shown.cells({cell_id: "finished" for cell_id in shown.manifest.ids if Store(folder).state(cell_id) == "finished"})
    colors = {run.data.tags["label"]: run.data.tags["mlflow.runColor"] for run in shown._runs("tags.kind = 'cell'")}
    assert colors == dict(zip(labels, COLORS, strict=False))


def test_a_label_in_two_tables_is_two_rows_that_say_which(tmp_path):
    store = pascal(tmp_path / "s")
    rows = rows_of(store, "pascal")
    assert len({row.key for row in rows}) == len({row.name for row in rows}) == len(rows) == 6
    assert "SCA-MTL · pascal_context · semseg+normals" in {row.name for row in rows}
    assert all(math.isfinite(value) for row in rows for value in row.metrics.values())


def test_a_secondary_score_has_a_mean_unless_it_was_defined_otherwise(folder):
    def add(label, definitions):
        for seed, definition in enumerate(definitions):
            entry = next(e for e in read(folder, "rooms").manifest.entries if (e.label, e.seed) == (label, seed))
            path = Store(folder).path(files.record(entry.id))
            with open(path) as file:
                record = json.load(file)
            extra = {"task": "semseg", "metric": "pixel_accuracy", "value": 80.0 + seed, "higher_is_better": True}
            record["scores"].append({**record["scores"][0], **extra, "primary": False, "definition": definition})
            with open(path, "w") as file:
                json.dump(record, file)

    add("SCA-MTL", ["a", "a", "a"])
    add("Multi task", ["a", "a", "b"])
    metrics = {row.tags["label"]: row.metrics for row in rows_of(folder)}
    assert metrics["SCA-MTL"]["test/semseg_pixel_accuracy"] == 81.0
    assert "test/semseg_pixel_accuracy" not in metrics["Multi task"]
