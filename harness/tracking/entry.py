"""The app of `mlflow server --app-name mtlbench`: MLflow's own, entered where the scores are.

It differs in two things. MLflow's page has a script, entry.js, which opens an experiment of ours on its prepared pages.
And the metrics of a run of ours come in the order in which they are asked for, as MLflow's page that compares runs
begins with the first one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.harness.tracking.pages import VIEW, page
from mtlbench.harness.tracking.rows import AGGREGATE
from mtlbench.harness.tracking.views import KIND

if TYPE_CHECKING:
    from flask import Flask, Response

APP = "mtlbench"  # the name of the entry point, in pyproject.toml
# What MLflow 3.17 keeps in a browser, as it writes it: model training instead of language models, and an assistant that
# does not open by itself over a third of the first page.
CHOICES = {"mlflow.workflowType_v1": '"machine_learning"', "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
ORDER = ("delta/m", "delta/", "test/", "val/", "cost/", "train/")  # of metrics, by how their names begin
RUNS, RUN = "/ajax-api/2.0/mlflow/runs/", "/graphql"  # where MLflow's pages read runs, and the page of one run


def installed() -> bool:
    """Whether MLflow finds the app. An installation in place does not, if it was made before there was the app."""
    return bool(entry_points(group="mlflow.app", name=APP))


def create() -> Any:
    """The app for the web server that MLflow starts. MLflow is changed in this process, which serves nothing else."""
    from mlflow.environment_variables import _MLFLOW_SGI_NAME
    from mlflow.server import app

    enter(app)
    if os.environ.get(_MLFLOW_SGI_NAME.name) != "uvicorn":  # MLflow says so to each of its web servers
        return app
    from mlflow.server.fastapi_app import app as with_security

    return with_security  # holds the app above


def enter(app: Flask) -> None:
    """Change what MLflow's app answers."""
    from flask import request

    before, end, after = (Path(str(app.static_folder)) / "index.html").read_text(encoding="utf-8").partition("</head>")
    if not end or "serve" not in app.view_functions:
        raise RuntimeError("this MLflow has another page than 3.17: serve it without --app-name mtlbench")
    content = f"{before}<script>{script()}</script>{end}{after}"

    def index() -> Response:
        response = app.make_response(content)
        response.headers["Cache-Control"] = "no-cache"  # as MLflow's own
        return response

    def order(response: Response) -> Response:
        read = RUNS in request.path or request.path.endswith(RUN)
        if read and response.status_code == 200 and response.is_json:
            response.set_data(json.dumps(ordered(response.get_json())))
        return response

    app.view_functions["serve"] = index
    app.after_request(order)


def script() -> str:
    addresses = {name: page("ID", name) for name in ("rows", "cells")}
    given = (CHOICES, f"{VIEW}rows", f"tags.{KIND} = '{AGGREGATE}'", addresses)
    source = files("mtlbench.harness.tracking").joinpath("entry.js").read_text(encoding="utf-8")
    return f"{source.strip()}({', '.join(map(json.dumps, given))});"


def ordered(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer of MLflow with one run or many, where the metrics of our runs are in order."""
    one = (answer.get("data") or {}).get("mlflowGetRun") or answer
    for run in [*answer.get("runs", []), *([one["run"]] if one.get("run") else [])]:
        data = run.get("data") or {}
        if any(tag["key"] == KIND for tag in data.get("tags") or []) and data.get("metrics"):
            data["metrics"].sort(key=_place)
    return answer


def _place(metric: Mapping[str, Any]) -> int:
    begins = (place for place, start in enumerate(ORDER) if str(metric["key"]).startswith(start))
    return next(begins, len(ORDER))
