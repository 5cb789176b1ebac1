"""Where MLflow's pages show the rows and cells of a store: for the links of a report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mtlbench.harness.store.store import Store
from mtlbench.harness.tracking.connection import client, errors, reason
from mtlbench.harness.tracking.pages import PAGES, page
from mtlbench.harness.tracking.projection import find_experiment
from mtlbench.harness.tracking.rows import AGGREGATE, row_of
from mtlbench.harness.tracking.views import KIND
from mtlbench.results.records.addresses import holds_secret, public
from mtlbench.results.report.web.links import Links

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def links(address: str, store: str, matrices: Sequence[str]) -> dict[str, Links]:
    """For each matrix, the addresses of its runs on the server at `address`, which is asked once.

    Raises ValueError where the server does not answer, and where it does not show one of the matrices.
    """
    shown = public(address, address)
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError(f"{shown}: give the address of MLflow's pages in a browser, such as http://127.0.0.1:5000")
    if holds_secret(address):
        raise ValueError(
            f"{shown}: the address holds a password, which the page would show; give it in "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    server = address.partition("#")[0].rstrip("/")  # a browser shows its address with the page behind #
    unusable = errors()
    try:
        return {matrix: _of_matrix(client(server), server, Store(store).url, matrix) for matrix in matrices}
    except unusable as error:
        what = reason(error, server).partition(" with exception ")[0]
        raise ValueError(f"{server} does not answer as MLflow does ({what}){_started(server, store)}") from error


def _started(server: str, store: str) -> str:
    """How a server of this machine is started; "" for another machine's."""
    parts = urlsplit(server)
    if parts.hostname not in ("127.0.0.1", "localhost"):
        return ""
    return "; start it with: " + shlex.join(["mtlbench", "ui", "--store", store, "--port", str(parts.port or 80)])


def _of_matrix(client: MlflowClient, server: str, store: str, matrix: str) -> Links:
    _, found = find_experiment(client, store, matrix)
    if found is None or found.lifecycle_stage == "deleted":
        way = shlex.join(["mtlbench", "track", matrix, "--store", store, "--tracking-uri", server])
        raise ValueError(f"{server} shows nothing of matrix {matrix!r} of {store}; show it with: {way}")
    runs = _runs(client, found.experiment_id)
    at = {run.info.run_id: f"{server}/#/experiments/{found.experiment_id}/runs/{run.info.run_id}" for run in runs}
    return Links(
        server,
        {text: f"{server}/{page(found.experiment_id, name)}" for name, text in PAGES.items()},
        {_key(run): at[run.info.run_id] for run in runs if run.data.tags.get(KIND) == AGGREGATE},
        {run.data.tags["cell_id"]: at[run.info.run_id] for run in runs if "cell_id" in run.data.tags},
    )


def _key(run: Run) -> tuple[str, str, str]:
    label, tasks, benchmark = row_of(run.data.tags)
    return label, tasks, benchmark


def _runs(client: MlflowClient, experiment_id: str) -> list[Run]:
    """All runs of an experiment, in an order that does not depend on the server."""
    found: list[Run] = []
    token: str | None = None
    while token != "":
        answer = client.search_runs([experiment_id], max_results=1000, page_token=token)
        found += answer
        token = answer.token or ""
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
