"""Predictions of a finished cell for images of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from mtlbench.benchmarks.copies.files import read_image
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.data.loading import normalise
from mtlbench.harness.data.view import view_of
from mtlbench.harness.inspect.painted import TILE, sheet
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.network import build, chosen_tasks
from mtlbench.methods.method import Method
from mtlbench.results.records import files
from mtlbench.results.report.drawing.figures import save

ENDINGS = ("npz", "png", "pdf")  # of what is written for an image
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


@torch.no_grad()
def predict(store: Store, cell_id: str, images: Sequence[Path], out: Path) -> Iterator[Path]:
    """Write NAME.npz (an array a task), and NAME.png and NAME.pdf (the image beside its predictions) for each image.

    An image is turned as its EXIF data say. Arrays have its size then: class indices, probabilities, metres, or unit
    normals [3, H, W]. Raises ValueError or OSError naming a file that cannot be read or is not whole, and ValueError
    where an image would be written over or two get the same name.
    """
    require_own_places(images, out)
    if gone := [str(path) for path in images if not path.exists()]:
        raise FileNotFoundError(f"{', '.join(gone)}: No such file or directory; nothing was predicted")
    cell = store.cell(cell_id)
    benchmark = make_benchmark(cell.benchmark)
    network, view = load(store, cell_id), view_of(cell.benchmark, benchmark)
    tasks = {name: benchmark.tasks[name] for name in cell.tasks}
    out.mkdir(parents=True, exist_ok=True)
    for path in images:
        image = read_image(path, upright=True)
        size = (image.shape[-2], image.shape[-1])
        final = network(normalise(view.resize(image)[None])).final
        arrays = {
            name: values(task, view.restore(final[name].float(), size, task.kind)[0]) for name, task in tasks.items()
        }
        np.savez_compressed(out / f"{path.stem}.npz", **arrays)  # type: ignore[arg-type]
        figure = sheet(image.permute(1, 2, 0).numpy(), arrays, tasks)
        dots = round(min(max(size[1] / TILE, DOTS[0]), DOTS[1]))
        yield save(figure, out / path.stem, ("png", "pdf"), dots=dots)[0]


def require_own_places(images: Sequence[Path], out: Path) -> None:
    """Raise ValueError where predictions would be written over an image that is predicted, or over each other."""
    given = {path.resolve(): path for path in images}
    named: dict[str, Path] = {}
    for path in images:
        for file in (out / f"{path.stem}.{ending}" for ending in ENDINGS):
            if file.resolve() in given:
                raise ValueError(
                    f"{file}: its predictions would be written over this image; give another folder by --out"
                )
        if path.stem in named:
            raise ValueError(f"{named[path.stem]} and {path} would both become {path.stem}.png; predict them apart")
        named[path.stem] = path


def values(task: Task, prediction: Tensor) -> np.ndarray:
    """prediction [C, H, W] -> what it says: classes uint8, probability, metres [H, W], or unit vectors [3, H, W]."""
    return task.kind.values(prediction).numpy()
