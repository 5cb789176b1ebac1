"""The driver's side of MLflow: tracking never delays training, and never makes training fail."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench import results as results_package
from mtlbench.harness.store.patience import FULL
from mtlbench.harness.tracking.connection import errors, reason
from mtlbench.harness.tracking.pages import NO_CLAIM, Claim
from mtlbench.harness.tracking.projection import Projection
from mtlbench.harness.tracking.rows import Aggregate, aggregates
from mtlbench.harness.tracking.views import State
from mtlbench.results.records.addresses import public
from mtlbench.results.records.record import Manifest

if TYPE_CHECKING:
    from mtlbench.results.records.reading import Results
    from mtlbench.results.report.write import Report

CODE = Path(results_package.__file__).parent  # what makes reports, with templates and what papers have printed
OF_CODE = ("*.py", "templates/*", "papers/*.csv")
RETRY_SECONDS = 30.0  # how long a tracking server that failed is left alone

log = logging.getLogger(__name__)

Job = Callable[[Projection], None]


class Tracker:
    """A Projection that never delays training, and never makes training fail.

    Its methods return at once: a thread speaks to MLflow, and of several projections of one cell that wait only the
    newest is made. What fails is warned of once and tried again later. Errors of the store are another matter: `close`
    and `flush` raise them. To be closed, or used as a context manager.
    """

    def __init__(self, uri: str, store: str, manifest: Manifest) -> None:
        self._make: Callable[[], Projection] = lambda: Projection(uri, store, manifest)
        self._projection: Projection | None = None
        self._uri, self._store = uri, store
        track = ["mtlbench", "track", manifest.name, "--store", store, "--tracking-uri", public(uri, uri)]
        self._again = shlex.join(track)
        self._jobs: dict[tuple[str, str], Job] = {}  # what to bring up to date -> how
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tracking")
        self._futures: list[Future[None]] = []
        self._warned = False
        self._rest_until = 0.0
        self._submit(("experiment", ""), lambda projection: None)  # a new database takes seconds: begin now

    def expect(self, manifest: Manifest) -> None:
        """Take a newer manifest of the matrix, before a cell is projected that only this one has."""
        self._make = lambda: Projection(self._uri, self._store, manifest)
        self._submit(("manifest", ""), lambda projection: projection.expect(manifest))

    def project(self, cell_id: str, state: State) -> None:
        """Show what the store holds of a cell: params, tags, new points of its history; when finished, its scores."""
        self._submit(("cell", cell_id), lambda projection: projection.cell(cell_id, state))

    def project_all(self, states: Mapping[str, State]) -> None:
        """The same for many cells, where nothing is shown live: MLflow is asked once for all of them."""
        self._submit(("cells", ""), lambda projection: projection.cells(states))

    def project_deltas(self, deltas: Mapping[str, Mapping[str, float]]) -> None:
        """cell id -> {"delta/m": percent, "delta/TASK": percent}: all there are now; rewritten where changed."""
        self._submit(("deltas", ""), lambda projection: projection.deltas(deltas))

    def project_rows(self, rows: Sequence[Aggregate]) -> None:
        """Show the rows of the report: all there are now."""
        self._submit(("rows", ""), lambda projection: projection.rows(rows))

    def shows(self, sign: str) -> bool:
        """Whether MLflow shows the report and the rows of `sign`. Waits for MLflow; False where it fails."""
        found: list[bool] = []
        self._submit(("shows", ""), lambda projection: found.append(projection.shows(sign)))
        self.flush()
        return found == [True]

    def log_report(self, folder: Path, files: Sequence[Path], claim: Claim = NO_CLAIM, sign: str = "") -> None:
        """Show the tables and figures in a folder as the artifacts of one more run, linked from the description, which
        begins with what may be claimed. The files are read until `flush` or `close` returns."""
        self._submit(("report", ""), lambda projection: projection.report(folder, files, claim, sign))

    def flush(self) -> None:
        """Wait until everything was tried. Raises what the store raised."""
        self._futures.append(self._thread.submit(self._work, True))
        futures, self._futures = self._futures, []
        for future in futures:
            future.result()

    def close(self) -> None:
        """Flush, and leave no run running."""
        try:
            self.flush()
        finally:
            self._submit(("interrupt", ""), Projection.interrupt)
            try:
                self.flush()
            finally:
                self._thread.shutdown()
                self._jobs.pop(("interrupt", ""), None)
                if self._jobs:
                    log.warning("MLflow lacks %d updates; show them later with: %s", len(self._jobs), self._again)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, what: tuple[str, str], job: Job) -> None:
        with self._lock:
            self._jobs[what] = job
        self._futures = [future for future in self._futures if not future.done() or future.exception()]
        self._futures.append(self._thread.submit(self._work))

    def _work(self, now: bool = False) -> None:
        """Do what waits. The one place where MLflow may fail: once can be the fault of a job, twice is the server's."""
        if time.monotonic() < self._rest_until and not now:
            return
        failed: dict[tuple[str, str], Job] = {}
        try:
            while self._jobs and len(failed) < 2:
                with self._lock:
                    what = next(iter(self._jobs))
                    job = self._jobs.pop(what)
                try:
                    self._projection = self._projection or self._make()
                    job(self._projection)
                except Exception as error:
                    # The store is only read here: whoever finds a disk full is MLflow.
                    full = isinstance(error, OSError) and error.errno in FULL
                    if not full and not isinstance(error, errors()):
                        raise
                    failed[what] = job
                    self._rest_until = time.monotonic() + RETRY_SECONDS
                    self._warn(error)
        finally:
            with self._lock:
                self._jobs = failed | self._jobs  # a newer job for the same thing wins

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            log.warning(
                "MLflow failed (%s); training goes on, and tracking is tried again every %d s. To show everything "
                "later: %s", reason(error, self._uri), RETRY_SECONDS, self._again,
            )  # fmt: skip
        self._warned = True


def show_report(tracker: Tracker, results: Results, folder: Path, written: Report) -> None:
    """Show a report of one matrix, which is in a folder, and its rows. results: what the report was made from."""
    tracker.project_rows(aggregates(results.manifest, written.tables, written.summaries))
    claim = Claim(
        " ".join(table.headline for table in written.tables), " ".join(table.claim for table in written.tables)
    )
    tracker.log_report(folder, written.paths, claim, sign(results))


def sign(results: Results) -> str:
    """A digest of all that a report is made from: what the matrix expects, records, failures, and the code that makes
    reports. Equal signs: equal reports."""
    code = hashlib.sha256()
    for file in sorted(file for kind in OF_CODE for file in CODE.rglob(kind)):
        code.update(file.read_bytes())
    records = {
        cell_id: [record.provenance, record.cost, [vars(score) for score in record.scores]]
        for cell_id, record in (*results.records.items(), *results.constants.items())
    }
    content = [results.manifest.to_json(), records, dict(results.failures), dict(results.unreadable), code.hexdigest()]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
