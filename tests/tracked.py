"""Two cells, what a store holds of them, and what MLflow shows: for tests of tracking."""

import json

from mtlbench.harness.matrix.cell import Cell
from mtlbench.results.records.record import Entry, Manifest, Record, Score

TASKS = ("semseg", "edge")


def cell(method, tasks=TASKS, seed=0):
    return Cell(method=method, tasks=tasks, benchmark={"name": "rooms"}, train={"epochs": 2}, seed=seed)


def entry(cell, label, task_set=TASKS):
    return Entry(cell.id, label, cell.method, cell.tasks, task_set, "rooms", cell.seed)


SINGLE, MULTI = cell("single_task", ("semseg",)), cell("pad_net")
MANIFEST = Manifest(
    name="tiny",
    title="Two cells",
    caption="What a matrix looks like.",
    baseline="Single task",
    demonstration=False,
    entries=(
        entry(SINGLE, "Single task"),
        entry(SINGLE, "Single task", ("semseg", "depth")),
        entry(MULTI, "PAD-Net"),
    ),
    constants={},
)


def record(cell, miou=40.0):
    scores = [Score("semseg", "miou", miou, True, True)]
    if "edge" in cell.tasks:
        scores.append(Score("edge", "odsf", None, True, True))
    return Record(
        cell.id,
        cell.model_dump(mode="json"),
        tuple(scores),
        cost={"parameters": 3_857_021, "train_seconds": 60.0},
        provenance={"commit": "abc123", "data": "f00d", "versions": {"torch": "2.14"}},
    )


def row(step, name="train/loss/semseg", value=1.0):
    return {"step": step, "epoch": step // 10, "name": name, "value": value}


def write_history(store, cell, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    store.put(f"{store.folder(cell.id)}/history.jsonl", text)


def write_usage(store, cell, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    store.put(f"{store.folder(cell.id)}/usage.jsonl", text)


def runs(projection):
    return {run.data.tags["cell_id"]: run for run in projection._runs() if "cell_id" in run.data.tags}


def points(projection, run, metric):
    """[(step, value)], in the order of steps."""
    found = projection.client.get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in found)


def everything(projection):
    """What MLflow holds, but for times that it sets itself."""
    return {
        cell_id: (
            run.info.run_id,
            run.info.run_name,
            run.info.status,
            run.data.params,
            run.data.tags,
            {name: points(projection, run, name) for name in run.data.metrics},
        )
        for cell_id, run in runs(projection).items()
    }


def finish(store, projection, cell, **scores):
    store.put_record(record(cell, **scores))
    projection.cell(cell.id, "finished")
