"""Predictions of a finished cell for images of one's own, and for test images beside their labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from mtlbench.benchmarks.copies.files import read_image
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.data.loading import normalise
from mtlbench.harness.data.shown import marked
from mtlbench.harness.data.view import view_of
from mtlbench.harness.inspect.painted import TILE, sheet
from mtlbench.harness.inspect.requests.predictions import require_images, require_places
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.network import build, chosen_tasks
from mtlbench.methods.method import Method
from mtlbench.results.records import files
from mtlbench.results.report.drawing.figures import save

DOTS = (160, 300)  # for each inch of a picture, at least and at most


def load(store: Store, cell_id: str) -> Method:
    """The trained network of a finished cell, in evaluation mode. Raises FileNotFoundError."""
    cell = store.cell(cell_id)
    # The weights come from the store, so the backbone's own are not fetched again.
    plain = cell.model_copy(update={"backbone": cell.backbone.model_copy(update={"weights": "none"})})
    network = build(plain, chosen_tasks(make_benchmark(cell.benchmark), cell))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / files.WEIGHTS
        file.write_bytes(store.get(files.weights(cell_id)))
        network.load_state_dict(load_file(file))
    return network.eval()


def predict(store: Store, cell_id: str, images: Sequence[Path], out: Path) -> Iterator[Path]:
    """Write NAME.npz (an array a task), and NAME.png and NAME.pdf (the image beside its predictions) for each image.

    An image is turned as its EXIF data say. Arrays have its size then: class indices, probabilities, metres, or unit
    normals [3, H, W]. Raises ValueError or OSError naming a file that cannot be read or is not whole, and ValueError
    where an image would be written over or two get the same name.
    """
    require_images(images, out)
    predictor = Predictor(store, cell_id, out)
    for path in images:
        yield predictor.write(path.stem, read_image(path, upright=True))


def predict_test(store: Store, cell_id: str, places: Sequence[int], root: Path, out: Path) -> Iterator[Path]:
    """As `predict`, for the images at these places of the test split: labels and errors stand beside the predictions.

    root: the folder of the benchmark's data. NAME is test-PLACE, and an array TASK/label has the label, NaN where a
    pixel has none. Raises ValueError for data that the cell was not scored on, and for a place that the split lacks.
    """
    cell, record = store.cell(cell_id), store.record(cell_id)
    copy = Copy(make_benchmark(cell.benchmark), root)
    scored_on = record.provenance["data"]["fingerprint"] if record else None
    if copy.fingerprint != scored_on:
        raise ValueError(f"{cell_id} was scored on data with fingerprint {scored_on}; {root} has {copy.fingerprint}")
    split = copy.split("test", cell.tasks)
    require_places(cell.benchmark.name, places, len(split))
    predictor = Predictor(store, cell_id, out)
    for place in dict.fromkeys(places):
        sample = split[place]
        labels = {name: marked(task, sample.labels[name]) for name, task in predictor.tasks.items()}
        yield predictor.write(f"test-{place}", sample.image, labels)


class Predictor:
    """Writes what a cell predicts for an image."""

    def __init__(self, store: Store, cell_id: str, out: Path) -> None:
        cell = store.cell(cell_id)
        benchmark = make_benchmark(cell.benchmark)
        self.network, self.view = load(store, cell_id), view_of(cell.benchmark, benchmark)
        self.tasks = {name: benchmark.tasks[name] for name in cell.tasks}
        self.out = out
        out.mkdir(parents=True, exist_ok=True)

    @torch.no_grad()
    def write(self, name: str, image: Tensor, labels: Mapping[str, np.ndarray] | None = None) -> Path:
        """image: uint8 [3, H, W]. Returns the path of the PNG."""
        size = (image.shape[-2], image.shape[-1])
        final = self.network(normalise(self.view.resize(image)[None])).final
        arrays = {
            task: values(of, self.view.restore(final[task].float(), size, of.kind)[0])
            for task, of in self.tasks.items()
        }
        known = {f"{task}/label": label for task, label in (labels or {}).items()}
        np.savez_compressed(self.out / f"{name}.npz", **arrays, **known)  # type: ignore[arg-type]
        figure = sheet(image.permute(1, 2, 0).numpy(), arrays, self.tasks, labels)
        dots = round(min(max(size[1] / TILE, DOTS[0]), DOTS[1]))
        return save(figure, self.out / name, ("png", "pdf"), dots=dots)[0]


def values(task: Task, prediction: Tensor) -> np.ndarray:
    """prediction [C, H, W] -> what it says: classes uint8, probability, metres [H, W], or unit vectors [3, H, W]."""
    return task.kind.values(prediction).numpy()
