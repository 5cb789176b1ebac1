"""Stores of made-up records, for tests of what is computed from records."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

from mtlbench.results.records.record import Entry, Manifest, Record, Score

# task -> metric, whether higher is better, title, unit, decimals
PRIMARY = {
    "semseg": ("miou", True, "mIoU", "%", 2),
    "human_parts": ("miou", True, "mIoU", "%", 2),
    "depth": ("rmse", False, "RMSE", "m", 3),
    "normals": ("mean_angle", False, "mean angle", "°", 2),
    "edge": ("odsf", True, "odsF", "%", 2),
}
CENTRE = {"semseg": 38.0, "depth": 0.62, "normals": 20.8, "human_parts": 60.0, "edge": 70.0}
GAIN = {"Single task": 0.0, "Multi task": -3.0, "PAD-Net": -1.0, "MTI-Net": 1.5, "SCA-MTL": 5.0}  # percent
COST = {"Single task": 3.9, "Multi task": 4.0, "PAD-Net": 7.0, "MTI-Net": 8.6, "SCA-MTL": 25.8}  # parameters in M
METHOD = {"Single task": "single_task", "Multi task": "multi_task", "PAD-Net": "pad_net"}
NUM_IMAGES = 12


def score(task: str, value: float | None, definition: str = "native resolution", primary: bool = True) -> Score:
    metric, higher, title, unit, decimals = PRIMARY[task]
    return Score(task, metric, value, higher, primary, definition, title=title, unit=unit, decimals=decimals)


def undefined(task: str) -> Score:
    return Score(task, "undefined", None, True, True, "")


def record(cell_id: str, scores: tuple[Score, ...], parameters: float = 3.9, **changes) -> Record:
    cost = {
        "parameters": 1e6 * parameters,
        "backbone_parameters": 3860720.0,
        "macs": 3e9 * parameters,
        "seconds_per_step": 0.025 * parameters,
        "train_seconds": 450.0 * parameters,
        "peak_memory_bytes": 2e9,
        "steps": 300.0,
    }
    provenance = {
        "commit": "0123456789abcdef0123",
        "source": "feed",
        "versions": {"python": "3.11.2", "torch": "2.11.0"},
        "device": "cpu",
        "data": {"fingerprint": "d0d0", "layout": "made"},
        "finished": "2026-01-01T00:00:00",
    }
    fields = {"id": cell_id, "cell": {}, "scores": scores, "cost": cost, "provenance": provenance}
    return Record(**{**fields, **changes})


def value(label: str, task: str, seed: int) -> float:
    """Deterministic scores with the method's gain, a seed's shift and a little noise."""
    noise = np.random.default_rng([seed, *map(ord, label + task)]).normal(0, 0.4)
    change = 1 + (GAIN.get(label, 0.0) + 0.3 * (seed - 1) + noise) / 100
    return float(CENTRE[task] * (change if PRIMARY[task][1] else 2 - change))


class Store:
    """A store on disk that is filled cell by cell, and its manifest."""

    def __init__(self, root: Path, name: str = "rooms", **manifest) -> None:
        self.root, self.name, self.manifest = root, name, manifest
        self.entries: list[Entry] = []
        self.constants: dict[str, str] = {}
        self.final = False  # whether histories hold the losses of the final predictions

    def run(self, label, tasks, seed, *, benchmark="rooms", task_set=None, status="finished", scores=None, **changes):
        """One cell: its entry, and a record, a failure or nothing."""
        task_set = tuple(task_set or tasks)
        name = f"{METHOD.get(label, label.lower())}-{'-'.join(tasks)}-{benchmark}-{seed}"
        cell_id = name.replace(" ", "_").replace("/", "_")
        self.entries.append(Entry(cell_id, label, METHOD.get(label, "other"), tuple(tasks), task_set, benchmark, seed))
        folder = self.root / "cells" / cell_id
        folder.mkdir(parents=True, exist_ok=True)
        if status == "failed":
            failure = {"error": "ValueError: loss is nan at step 7", "traceback": "", "attempts": 2, "log": ""}
            (folder / "failure.json").write_text(json.dumps(failure))
        if status != "finished":
            return cell_id
        scores = scores or tuple(score(task, value(label, task, seed)) for task in tasks)
        (folder / "record.json").write_text(record(cell_id, tuple(scores), COST.get(label, 4.0), **changes).to_json())
        self.histories(folder, label, tasks, seed)
        self.per_image(folder, tasks, seed)
        return cell_id

    def single(self, tasks, seed, *, benchmark="rooms", only=None, **changes):
        """The single-task row: a cell a task."""
        return [
            self.run("Single task", (task,), seed, benchmark=benchmark, task_set=tasks, **changes)
            for task in only or tasks
        ]

    def histories(self, folder: Path, label: str, tasks, seed: int) -> None:
        rows = []
        for epoch in range(1, 6):
            for task in tasks:
                loss = (2 + 0.1 * seed) * np.exp(-epoch / 3) * (1 - GAIN.get(label, 0.0) / 20)
                for name in ("loss", "final") if self.final else ("loss",):
                    rows.append({"step": 60 * epoch, "epoch": epoch, "name": f"train/{name}/{task}", "value": loss})
                metric = PRIMARY[task][0]
                if seed == 0:
                    level = CENTRE[task] * (1 - np.exp(-epoch))
                    rows.append({"step": 60 * epoch, "epoch": epoch, "name": f"val/{task}/{metric}", "value": level})
        (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def per_image(self, folder: Path, tasks, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = []
        for task in tasks:
            influence = rng.normal(0, 0.1 * CENTRE[task], NUM_IMAGES)
            influence -= influence.mean()
            rows += [
                {"image": f"{i:04d}", "task": task, "statistics": [1.0, 2.0], "influence": v}
                for i, v in enumerate(influence)
            ]
        buffer = io.BytesIO()
        pd.DataFrame(rows).to_parquet(buffer)
        (folder / "per_image.parquet").write_bytes(buffer.getvalue())

    def constant(self, benchmark: str, scores: tuple[Score, ...]) -> None:
        folder = self.root / "constants"
        folder.mkdir(exist_ok=True)
        name = f"constant-{benchmark}"
        (folder / f"{name}.json").write_text(record(name, scores).to_json())
        self.constants[benchmark] = name

    def close(self) -> str:
        """Write the manifest; returns the store's path."""
        fields = {"title": "Rooms", "caption": "", "baseline": "Single task", "demonstration": False}
        manifest = Manifest(
            name=self.name, entries=tuple(self.entries), constants=self.constants, **{**fields, **self.manifest}
        )
        folder = self.root / "matrices"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(manifest.to_json())
        return str(self.root)


def three_seeds(root: Path, *, gaps: bool = True) -> str:
    """Three seeds of five methods on semseg + depth; with gaps, one run failed and two are missing."""
    store, tasks = Store(root), ("semseg", "depth")
    for label in ("Multi task", "PAD-Net", "MTI-Net", "SCA-MTL"):
        for seed in range(3):
            status = "finished"
            if gaps and (label, seed) == ("PAD-Net", 1):
                status = "failed"
            if gaps and label == "MTI-Net" and seed > 0:
                status = "missing"
            if (label, seed) == ("Multi task", 0):  # the single-task row comes first in the table
                for s in range(3):
                    store.single(tasks, s)
            store.run(label, tasks, seed, status=status)
    store.constant("rooms", (score("semseg", 1.16), score("depth", 1.4)))
    return store.close()


def pascal(root: Path) -> str:
    """Two task sets of PASCAL that share the single-task cells, one seed."""
    store = Store(root, "pascal", title="PASCAL")
    for task_set in (("semseg", "normals"), ("semseg", "human_parts", "normals")):
        store.single(task_set, 0, benchmark="pascal_context")
        for label in ("Multi task", "SCA-MTL"):
            store.run(label, task_set, 0, benchmark="pascal_context")
    return store.close()


def without_metric(root: Path) -> str:
    """Edges are trained but not scored."""
    store, tasks = Store(root, "edges"), ("semseg", "edge")
    for seed in range(2):
        store.run("Single task", ("semseg",), seed, task_set=tasks)
        store.run("Single task", ("edge",), seed, task_set=tasks, scores=(undefined("edge"),))
        store.run(
            "Multi task", tasks, seed, scores=(score("semseg", value("Multi task", "semseg", seed)), undefined("edge"))
        )
    store.constant("rooms", (score("semseg", 1.16),))
    return store.close()


FOUR = ("semseg", "human_parts", "depth", "normals")
CROWD = (
    *("Single task", "Multi-task", "PAD-Net", "MTI-Net", "Cross-stitch networks", "NDDR-CNN, pairwise search"),
    *("SCA-MTL", "SCA-MTL without cross-task attention", "ATRC (global, local and label contexts)"),
)

COST |= {label: 3.9 * 1.4**place for place, label in enumerate(CROWD) if label not in COST}


def crowded(
    root: Path,
    classes: int = 40,
    tasks: tuple[str, ...] = FOUR,
    *,
    labels: tuple[str, ...] = CROWD,
    pictures: bool = True,
) -> str:
    """Nine rows with long names: tuned, with final losses, with scores of classes, and with pictures of seed 0.

    labels: of fewer rows. pictures: whether scores of classes and pictures are there.
    """
    store, rng = Store(root, "crowd"), np.random.default_rng(0)
    store.final = True
    names = {"semseg": [f"class {i}" if i % 7 else f"{i}th class with a long name" for i in range(classes)]}
    names["human_parts"] = ["background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs"]
    for label in labels:
        for seed in range(3):
            trials = tuple(_trial(store, label, number, tasks, rng) for number in range(8)) if seed == 0 else ()
            cell = {"tasks": list(tasks), "train": {"lr": 0.1, "weights": {}}}
            scores = [score(task, value(label, task, seed)) for task in tasks]
            for task in set(tasks) & names.keys() if pictures else ():
                scores += [
                    Score(task, f"iou/{name}", float(rng.uniform(0, 100)), True, False, "native resolution",
                          title=f"IoU of {name}", unit="%", decimals=2)
                    for name in names[task]
                ]  # fmt: skip
            made = store.run(label, tasks, seed, scores=tuple(scores), cell=cell, derived_from=trials)
            if seed == 0 and pictures:
                _save(root / f"cells/{made}/samples.npz", _pictures(tasks, names, rng, labels=False))
    if pictures:
        held = _pictures(tasks, names, rng, labels=True)
        _save(root / "shown/rooms.npz", {"classes": np.array(json.dumps({t: names.get(t, []) for t in tasks})), **held})
    return store.close()


def _trial(store: Store, label: str, number: int, tasks: tuple[str, ...], rng: np.random.Generator) -> str:
    """A trial of a search, which only its children name."""
    cell_id = f"trial-{label}-{number}".replace(" ", "_")
    cell = {"tasks": list(tasks), "trial": True, "train": {"lr": 0.01 * (number + 1), "weights": {}}}
    scores = tuple(score(task, CENTRE[task] * float(rng.uniform(0.8, 1.1))) for task in tasks)
    folder = store.root / "cells" / cell_id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(record(cell_id, scores, cell=cell).to_json())
    return cell_id


def _pictures(tasks, names, rng, *, labels: bool) -> dict[str, np.ndarray]:
    """Labels, or predictions, of three images of 24 x 32 pixels."""
    arrays = {}
    for image in ("a", "b", "c"):
        if labels:
            arrays[f"{image}/pixels"] = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        for task in tasks:
            if task in names:
                values = rng.integers(0, len(names[task]), (24, 32)).astype(np.float32 if labels else np.uint8)
            else:
                values = rng.uniform(0.5, 9, (3 if task == "normals" else 1, 24, 32)).astype(np.float32)
            if labels:
                values[..., :4, :4] = np.nan
            arrays[f"{image}/{task}"] = values
    return arrays


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
