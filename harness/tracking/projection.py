"""MLflow shows what the store holds: one experiment for a matrix, one run for a cell, and one for a row of a table.

The store is the truth and MLflow a projection of it. A run is looked up by its cell's id, brought up to date from the
cell's record and history, and made anew where it contradicts them; projecting twice changes nothing. Logging live is
the same projection, called while the history still grows.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.connection import client
from mtlbench.harness.tracking.moved import adopt
from mtlbench.harness.tracking.pages import NO_CLAIM, PAGES, VIEW, Claim, note, page, views
from mtlbench.harness.tracking.rows import AGGREGATE, INTERVAL, WHY, Aggregate, row_of
from mtlbench.harness.tracking.views import (  # fmt: skip
    KIND,
    NOTE,
    RECORD,
    STRANGE,
    Point,
    State,
    View,
    artifacts,
    contradicts,
    curve,
    digest,
    finals,
    flatten,
    metric,
    progress,
    rounded,
    run_name,
    started,
    tags,
    unseen,
    view,
)
from mtlbench.results.records import files
from mtlbench.results.records.record import Manifest, Score

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

SIGN = "mtlbench.report"  # tag of the report's run: what it was made from, and how many rows it has
MATRIX = "matrix.json"  # artifact of the report: the manifest of the matrix
STATUS = {"waiting": "SCHEDULED", "running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}

PASSING = {
    "error",
    NOTE,
    STRANGE,
    INTERVAL,
    WHY,
}  # tags that go when they no longer hold, as when a failed cell is tried again

METRICS_A_CALL, PARAMS_A_CALL, TAGS_A_CALL = 800, 90, 90  # below the limits of log_batch: 1000 in all, 100, 100


class Projection:
    """The MLflow experiment of one matrix. Making it creates or migrates the database, and finds or makes the
    experiment. Every method waits for MLflow, may be repeated, and raises what MLflow raises.
    """

    def __init__(self, uri: str, store: str, manifest: Manifest) -> None:
        adopt(uri, store)
        self.client = client(uri)
        self.store = Store(store).url
        self.manifest = manifest
        self.scores: dict[str, Score] = {}  # by metric: a score that tells the metric's direction
        name, found = find_experiment(self.client, self.store, manifest.name)
        if found is None:
            # A server keeps artifacts where its owner decided; MLflow's default otherwise is the working directory.
            location = None if urlsplit(uri).scheme in ("http", "https") else self._artifacts()
            tags = {"store": self.store, "mlflow.experimentKind": "custom_model_development"}
            self.experiment_id = str(self.client.create_experiment(name, artifact_location=location, tags=tags))
            self._describe()
        else:
            self.experiment_id = str(found.experiment_id)
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
        self.run_ids = {run.data.tags["cell_id"]: run.info.run_id for run in self._runs() if "cell_id" in run.data.tags}

    def expect(self, manifest: Manifest) -> None:
        """Take a newer manifest, with the cells to which records of the matrix have led."""
        self.manifest = manifest

    def cells(self, states: Mapping[str, State]) -> None:
        """Bring the runs of many cells up to date. MLflow is asked once what it has of all of them."""
        found = {run.data.tags["cell_id"]: run for run in self._runs() if "cell_id" in run.data.tags}
        for cell_id, state in states.items():
            self._bring(found.get(cell_id), cell_id, state)

    def cell(self, cell_id: str, state: State) -> None:
        """Bring a cell's run up to date with the store, or make it."""
        self._bring(self._run(cell_id), cell_id, state)

    def _bring(self, run: Run | None, cell_id: str, state: State) -> None:
        """run: what MLflow has of the cell now."""
        now = view(self.store, self.manifest, cell_id, state)
        # MLflow cannot move the start of a run, and a cell that waited starts now.
        waited = run is not None and run.info.status == STATUS["waiting"] and state != "waiting"
        if run is not None and (waited or contradicts(run.data.params, run.data.tags, now)):
            self.client.delete_run(run.info.run_id)
            run = None
        self._update(run or self._create(now), now)
        scores = {metric(score, now.record): score for score in now.record.scores} if now.record else {}
        if scores.keys() - self.scores.keys():
            self.scores |= scores
            self._describe()

    def deltas(self, deltas: Mapping[str, Mapping[str, float]]) -> None:
        """cell id -> {"delta/m": percent, "delta/TASK": percent}, for all cells that have one. A delta
        becomes NaN once its baseline is gone, because MLflow can append to a metric but not remove it."""
        for cell_id in deltas.keys() - self.run_ids.keys():
            self.cell(cell_id, "finished")
        for run in self._runs():
            if "cell_id" not in run.data.tags:
                continue  # of a row, whose delta is the report's
            shown = {name: value for name, value in run.data.metrics.items() if name.startswith("delta/")}
            now = deltas.get(run.data.tags["cell_id"], {})
            self._renew(run.info.run_id, shown, {name: rounded(value) for name, value in now.items()})

    def rows(self, rows: Sequence[Aggregate]) -> None:
        """Bring the runs of all rows up to date, or make them. A value that a row has lost becomes NaN, as a delta
        does. The run of a row that the matrix no longer has is deleted, as is one that a row has twice, and one that
        started at another time than the row's training: MLflow cannot move the start of a run."""
        found: dict[tuple[str, ...], Run] = {}
        wanted = {row.key: row for row in rows}
        for run in self._runs(f"tags.{KIND} = '{AGGREGATE}'"):
            row = wanted.get(row_of(run.data.tags))
            if row is None or row.key in found or row.start not in (None, run.info.start_time):
                self.client.delete_run(run.info.run_id)
            else:
                found[row.key] = run
        for row in rows:
            run = found.get(row.key) or self.client.create_run(
                self.experiment_id, start_time=row.start, tags=dict(row.tags), run_name=row.name
            )
            self._renew(run.info.run_id, run.data.metrics, row.metrics)
            self._tag(run.info.run_id, run.data.tags, row.tags)
            if run.info.status != "FINISHED" or row.end not in (None, run.info.end_time):
                self.client.set_terminated(run.info.run_id, "FINISHED", end_time=row.end)

    def report(self, folder: Path, files_of_it: Sequence[Path], claim: Claim = NO_CLAIM, sign: str = "") -> None:
        """Put the tables and figures of a folder beside the runs, as the artifacts of a run of their own, and link them
        from the experiment's description. What else is in the folder, perhaps the store itself, is left out.

        sign: what `shows` will find.
        """
        run = next(self._runs(f"tags.{KIND} = 'report'"), None)
        run = run or self.client.create_run(self.experiment_id, run_name="Tables and figures")
        for file in files_of_it:
            below = file.parent.relative_to(folder).as_posix()
            self.client.log_artifact(run.info.run_id, str(file), None if below == "." else below)
        self.client.log_text(run.info.run_id, self.manifest.to_json(), MATRIX)
        page = "artifacts/report.html" if folder / "report.html" in files_of_it else "artifacts"
        self._tag(
            run.info.run_id,
            run.data.tags,
            {
                KIND: "report",
                "matrix": self.manifest.name,
                "page": page,
                "headline": claim.headline,
                "claim": claim.text,
                SIGN: f"{sign} {self._count_of_rows()}",
            },
        )
        self.client.set_terminated(run.info.run_id, "FINISHED")
        self._describe()

    def shows(self, sign: str) -> bool:
        """Whether the report that was shown with `sign`, and all of its rows, are there."""
        run = next(self._runs(f"tags.{KIND} = 'report'"), None)
        return run is not None and run.data.tags.get(SIGN) == f"{sign} {self._count_of_rows()}"

    def _count_of_rows(self) -> int:
        return sum(1 for _ in self._runs(f"tags.{KIND} = '{AGGREGATE}'"))

    def interrupt(self) -> None:
        """Mark the runs that are not finished and that nobody works on any more."""
        for run in list(self._runs("attributes.status = 'RUNNING'")):
            self.client.set_tag(run.info.run_id, "state", "interrupted")
            self.client.set_terminated(run.info.run_id, "KILLED")

    def _artifacts(self) -> str:
        store = Store(self.store)
        if store.local:
            return (Path(store.root) / files.ARTIFACTS / self.manifest.name).as_uri()
        return f"{store.url.rstrip('/')}/{files.ARTIFACTS}/{quote(self.manifest.name)}"

    def _runs(self, which: str = "") -> Iterator[Run]:
        """The runs of the experiment. which: a filter of MLflow; to read all of a thousand runs takes seconds."""
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], which, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _run(self, cell_id: str) -> Run | None:
        """A cell's run as MLflow has it now; None where there is none, or where a user deleted it."""
        if cell_id not in self.run_ids:
            return None
        run = self.client.get_run(self.run_ids[cell_id])
        return run if run.info.lifecycle_stage == "active" else None

    def _create(self, now: View) -> Run:
        """Make a run that starts when its cell did: now, or before its end by the time of its training."""
        end = now.ended or _milliseconds()
        run = self.client.create_run(
            self.experiment_id,
            start_time=started(now.record, end) if now.record else end,
            tags={"cell_id": now.entries[0].id},
            run_name=run_name(now.entries, self.manifest),
        )
        self.run_ids[now.entries[0].id] = run.info.run_id
        return run

    def _update(self, run: Run, now: View) -> None:
        run_id, have = run.info.run_id, run.data
        points = curve(unseen(now, have.tags))
        if now.record and RECORD not in have.tags:
            points = finals(now.record) + points  # MLflow's page that compares runs begins with their first metric
            with tempfile.TemporaryDirectory(prefix="mtlbench-artifacts-") as folder:
                for name, content in artifacts(self.store, now.record).items():
                    Path(folder, name).write_text(content, encoding="utf-8")
                self.client.log_artifacts(run_id, folder)  # at once: each call asks the server where they belong
        if now.failure:
            self.client.log_text(run_id, json.dumps(now.failure, indent=1), files.FAILURE)
        if now.log:
            self.client.log_text(run_id, now.log, files.LOG)
        params = {key: value for key, value in flatten(now.config or {}) if key not in have.params}
        # A history has no clock, so a point's time is its step, in milliseconds after the start of the run: a point
        # logged twice, because a driver died before it noted how far it came, is then one point.
        self._log(run_id, points, run.info.start_time, params)
        self._tag(run_id, have.tags, tags(now, self.manifest) | progress(now, have.tags))
        if run.info.status != STATUS[now.state]:
            if now.state in ("finished", "failed"):
                self.client.set_terminated(run_id, STATUS[now.state], end_time=now.ended)
            else:
                self.client.update_run(run_id, status=STATUS[now.state])

    def _log(self, run_id: str, points: Sequence[Point], since: int, params: Mapping[str, str] | None = None) -> None:
        from mlflow.entities import Metric, Param

        times = [since + point.step if point.time is None else int(1000 * point.time) for point in points]
        metrics = [Metric(p.name, p.value, at, p.step) for p, at in zip(points, times, strict=True)]
        for chunk in _chunks(metrics, METRICS_A_CALL):
            self.client.log_batch(run_id, metrics=chunk)
        for chunk in _chunks([Param(key, value) for key, value in (params or {}).items()], PARAMS_A_CALL):
            self.client.log_batch(run_id, params=chunk)

    def _renew(self, run_id: str, shown: Mapping[str, float], now: Mapping[str, float]) -> None:
        """Log the values that have changed. Those that are gone become NaN."""
        wanted = dict.fromkeys(shown, math.nan) | dict(now)
        changed = [Point(name, value, 0) for name, value in wanted.items() if not _same(value, shown.get(name))]
        self._log(run_id, changed, since=_milliseconds())  # MLflow shows the newest value of a step

    def _tag(self, run_id: str, have: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        changed = [RunTag(key, value) for key, value in wanted.items() if have.get(key) != value]
        for chunk in _chunks(changed, TAGS_A_CALL):
            self.client.log_batch(run_id, tags=chunk)
        for gone in PASSING & have.keys() - wanted.keys():
            self.client.delete_tag(run_id, gone)

    def _describe(self) -> None:
        links = {text: page(self.experiment_id, name) for name, text in PAGES.items()}
        claim = NO_CLAIM
        for run in self._runs(f"tags.{KIND} = 'report'"):
            claim = Claim(run.data.tags.get("headline", ""), run.data.tags.get("claim", ""))
            links["tables and figures"] = (
                f"#/experiments/{self.experiment_id}/runs/{run.info.run_id}/{run.data.tags['page']}"
            )
        text = note(self.manifest, self.scores, links, claim)
        self.client.set_experiment_tag(self.experiment_id, NOTE, text)
        for name, state in views(self.manifest, self.scores).items():
            self.client.set_experiment_tag(self.experiment_id, f"{VIEW}{name}", state)


def find_experiment(client: MlflowClient, store: str, matrix: str) -> tuple[str, Experiment | None]:
    """The experiment of a matrix of a store, and its name: the matrix's, unless another store tracks to the same place
    and has it, whose runs would otherwise be taken for this one's and made anew."""
    found = client.get_experiment_by_name(matrix)
    if found is None or found.tags.get("store") == store:
        return matrix, found
    name = f"{matrix} ({digest(store)[:6]})"
    return name, client.get_experiment_by_name(name)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _same(a: float, b: float | None) -> bool:
    return b is not None and (a == b or (math.isnan(a) and math.isnan(b)))


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
