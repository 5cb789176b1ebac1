"""The pages that an experiment is prepared with."""

import base64
import json
import re
import zlib
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from mtlbench.harness.tracking import pages as tracking_pages
from mtlbench.harness.tracking import server
from mtlbench.harness.tracking.pages import Claim
from mtlbench.harness.tracking.projection import NOTE
from mtlbench.harness.tracking.views import View, tags
from mtlbench.results.records.files import Events
from mtlbench.results.records.record import Score
from tracked import MANIFEST, MULTI, finish


def experiment_tags(projection):
    return projection.client.get_experiment(projection.experiment_id).tags


def test_the_experiment_says_what_is_compared_with_what_and_which_way_is_better(store, projection):
    before = experiment_tags(projection)["mlflow.note.content"]
    assert "What a matrix looks like." in before
    assert "**Single task**" in before
    assert "test/semseg_miou" not in before
    finish(store, projection, MULTI)
    assert "Higher is better: `test/semseg_miou`" in experiment_tags(projection)["mlflow.note.content"]


def test_the_prepared_pages_show_delta_then_primary_scores_for_all_runs():
    scores = {
        "test/semseg_miou": Score("semseg", "miou", 1.0, True, True),
        "test/semseg_pixel_accuracy": Score("semseg", "pixel_accuracy", 1.0, True, False),
    }
    one_set = replace(MANIFEST, entries=MANIFEST.entries[::2])
    methods = tracking_pages.states(one_set, scores)["methods"]
    shown = [chart["metricKey"] for chart in methods["compareRunCharts"]]
    assert shown == ["delta/m", "delta/semseg", "delta/edge", "test/semseg_miou"]
    assert methods["runsHiddenMode"] == "SHOW_ALL"
    assert [key["groupByData"] for key in methods["groupBy"]["groupByKeys"]] == ["label"]
    several = tracking_pages.states(MANIFEST, scores)["methods"]  # a mean over different task sets means nothing
    assert [key["groupByData"] for key in several["groupBy"]["groupByKeys"]] == ["label", "tasks"]


def test_the_addresses_of_the_prepared_pages_name_a_view_that_the_experiment_holds(uri, store, projection):
    pages = server.pages(uri, store.url, MANIFEST.name, "http://127.0.0.1:5000/")
    assert pages.keys() == tracking_pages.PAGES.keys()
    for address in pages.values():
        assert address.startswith(f"http://127.0.0.1:5000/#/experiments/{projection.experiment_id}/runs?")
        (key,) = re.findall("viewStateShareKey=([a-z]+)", address)
        kept = json.loads(experiment_tags(projection)[f"mlflow.sharedViewState.{key}"])
        assert kept["name"] in tracking_pages.PAGES.values()
        kind, packed = kept["state"].split(";")
        assert kind == "deflate" and json.loads(zlib.decompress(base64.b64decode(packed)))["orderByKey"]
    with pytest.raises(ValueError, match="mtlbench track unknown"):
        server.pages(uri, store.url, "unknown", "http://127.0.0.1:5000")


def test_a_report_is_one_run_however_often_it_is_made(tmp_path, projection):
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "delta.svg").write_text("<svg/>")
    projection.report(folder, [folder / "figures" / "delta.svg"])
    (folder / "report.html").write_text("<h1>Report</h1>")
    (folder / "store").mkdir()  # a store may lie beside its tables, and holds MLflow's artifacts itself
    (folder / "store" / "mlflow.db").write_text("")
    projection.report(
        folder,
        [folder / "figures" / "delta.svg", folder / "report.html"],
        Claim("A beats B.", "A beats B. C is undecided."),
    )
    (run,) = projection._runs()
    assert {file.path for file in projection.client.list_artifacts(run.info.run_id)} == {
        "figures",
        "matrix.json",
        "report.html",
    }
    text = experiment_tags(projection)["mlflow.note.content"]
    assert f"{run.info.run_id}/artifacts/report.html" in text
    first, rest, title, *_ = text.split("\n\n")
    assert first.startswith("A beats B. · [rows](#")  # MLflow's list of experiments shows it as it stands
    assert (rest, title) == ("C is undecided.", f"**{MANIFEST.title}**")


def test_the_description_names_a_family_of_scores_and_not_each_of_its_classes():
    scores = {
        f"test/semseg_iou/{name}": Score("semseg", f"iou/{name}", 1.0, True, False) for name in ("bed", "wall", "sofa")
    }
    text = tracking_pages.note(MANIFEST, scores, {})
    assert "Higher is better: `test/semseg_iou/...`." in text and "sofa" not in text
    assert text.count(MANIFEST.caption) == 1


KINDS = {"rows": "aggregate", "methods": "cell", "cells": "cell"}


def test_lists_show_the_runs_of_one_kind_and_charts_of_rows_hide_the_ends_of_intervals():
    scores = {"test/semseg_miou": Score("semseg", "miou", 1.0, True, True)}
    states = tracking_pages.states(MANIFEST, scores)
    filters = {name: state["searchFilter"] for name, state in states.items()}
    assert filters == {name: f"tags.kind = '{kind}'" for name, kind in KINDS.items()}
    charts = {chart["metricKey"]: chart["deleted"] for chart in states["rows"]["compareRunCharts"]}
    assert {name for name, hidden in charts.items() if hidden} == {
        f"{name}_{end}"
        for name in ("delta/m", "delta/semseg", "delta/edge", "delta/depth", "test/semseg_miou")
        for end in ("low", "high")
    } | {"seeds"}


def test_a_view_of_a_hundred_scores_fits_into_a_tag():
    scores = {f"test/semseg_{name}": Score("semseg", str(name), 1.0, True, True) for name in range(100)}
    assert all(len(view) < 10_000 for view in tracking_pages.views(MANIFEST, scores).values())


def test_a_text_of_a_matrix_is_no_link_in_the_description():
    manifest = replace(MANIFEST, title="[x](javascript:alert(1))", caption="<script>", baseline="![y](http://z)")
    text = tracking_pages.note(manifest, {}, {}, Claim("[x](http://z) beats <b>", "[x](http://z) beats <b>"))
    assert "](" not in text and "<script" not in text.replace("\\<", "")


@pytest.mark.parametrize("evil", ["```\n# [x](javascript:x)\n```", "````", "~~~\n```", 5000 * "`", "`", "``` ````x"])
def test_a_failure_is_shown_as_it_is_and_never_as_markdown(evil):
    failure = {"error": "no", "traceback": f"before\n{evil}\nafter", "attempts": 1, "log": f"a{evil}b`"}
    note = tags(View((MANIFEST.entries[0],), "failed", None, Events([], []), None, failure, "log"), MANIFEST)[NOTE]
    assert len(note) < 6000  # MLflow keeps 8000 characters
    first, block = (one for one in MarkdownIt().parse(note) if one.type in ("inline", "fence"))
    assert (block.content.startswith("before\n") and block.content.endswith("\nafter\n")) or len(evil) == 5000
    assert {one.type for one in first.children} <= {"text", "strong_open", "strong_close", "code_inline"}
    if len(evil) < 20:
        assert block.content == failure["traceback"] + "\n"
        assert first.children[-1].content == " ".join(failure["log"].split())
