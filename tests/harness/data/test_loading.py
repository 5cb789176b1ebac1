"""What a network sees of a sample in training."""

import multiprocessing
import shutil
import tempfile
from itertools import combinations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fixtures import nyud, pascal_mt
from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.transforms.augmentation import Augmentation, Crop
from mtlbench.harness.data import prepare
from mtlbench.harness.data.copy import copy_of
from mtlbench.harness.data.loading import Training, training_batches
from mtlbench.harness.data.view import View, view_of
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import make_benchmark

SIZE = (32, 32)
TASKS = {"semseg": factories.semseg(3), "human_parts": factories.human_parts(), "saliency": factories.saliency()}


def sample(people):
    """64 x 64 with a person in its upper left, or nobody."""
    parts = torch.zeros(64, 64, dtype=torch.uint8)
    if people:
        parts[:16, :20] = 3
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    return Sample("a", image, {"semseg": torch.zeros_like(parts), "human_parts": parts, "saliency": parts * 0})


def crops(one, count=40):
    keys = iter([[(epoch, 0)] for epoch in range(count)])
    view = View(SIZE, Augmentation(crop=Crop(tries=1)))
    for batch in training_batches(Training([one], TASKS, view, 0), keys):
        yield {name: label[0] for name, label in batch.labels.items()}


def test_a_crop_without_a_person_has_no_label_for_parts_and_keeps_its_other_labels():
    seen = {True: 0, False: 0}
    for labels in crops(sample(people=True)):
        parts = labels["human_parts"]
        person = bool((parts == 3).any())
        seen[person] += 1
        assert set(parts.unique().tolist()) == (
            {0, 3} if person and bool((parts == 0).any()) else {3} if person else {255}
        )
        assert not labels["semseg"].any() and not labels["saliency"].any()
    assert seen[True] > 3 and seen[False] > 3


def test_void_pixels_are_no_person():
    one = sample(people=False)
    one.labels["human_parts"][::2] = 255
    assert all(bool((labels["human_parts"] == 255).all()) for labels in crops(one, 3))


@pytest.mark.parametrize(
    "task", [factories.semseg(3), factories.edge(0.9), factories.saliency(), factories.depth(1, 2), factories.normals()]
)
def test_background_alone_is_a_label_of_every_other_task(task):
    assert not task.background_alone_is_void and factories.human_parts().background_alone_is_void


def test_a_missing_label_is_one_without_a_valid_pixel():
    one = sample(people=False)._replace(labels={})
    for labels in crops(one, 2):
        assert {name: np.unique(label).tolist() for name, label in labels.items()} == {name: [255] for name in TASKS}


def seen(root, name, protocol, tasks, prepared_in=(), epochs=8):
    """Images of the first training sample as the cells of these tasks see them."""
    cell = Cell(
        method="multi_task",
        tasks=tasks,
        benchmark=BenchmarkConfig(name=name, size=SIZE, protocol=protocol),
        train=TrainConfig(epochs=1),
    )
    copy = copy_of(cell.benchmark, root, prepared_in)
    benchmark, samples = copy.benchmark, copy.splits(cell).train
    keys = iter([[(epoch, 0)] for epoch in range(epochs)])
    chosen = {task: benchmark.tasks[task] for task in tasks}
    batches = list(training_batches(Training(samples, chosen, view_of(cell.benchmark, benchmark), 0), keys))
    assert all(set(batch.labels) == set(tasks) for batch in batches)
    return torch.cat([batch.image for batch in batches])


@pytest.mark.parametrize("protocol", ["mtl", "atrc"])
@pytest.mark.parametrize("name", ["nyud", "pascal_context"])
def test_windows_do_not_depend_on_the_tasks_that_are_trained(tmp_path, name, protocol):
    {"nyud": nyud, "pascal_context": pascal_mt}[name](tmp_path, size=(40, 80))
    tasks = tuple(make_benchmark(BenchmarkConfig(name=name)).tasks)
    subsets = [(task,) for task in tasks] + list(combinations(tasks, 2))
    reference = seen(tmp_path, name, protocol, tasks)
    assert all(torch.equal(seen(tmp_path, name, protocol, subset), reference) for subset in subsets)


def test_windows_depend_on_the_labels_they_are_balanced_by(tmp_path):
    nyud(tmp_path, size=(40, 80))
    reference = seen(tmp_path, "nyud", "atrc", ("depth",))
    (tmp_path / "segmentation/0003.png").unlink()  # one image without is enough to draw without
    other = seen(tmp_path, "nyud", "atrc", ("depth",))
    assert not torch.equal(other, reference)  # so that the test above can fail
    shutil.rmtree(tmp_path / "segmentation")
    assert torch.equal(seen(tmp_path, "nyud", "atrc", ("depth",)), other)


def test_windows_do_not_depend_on_what_was_prepared(tmp_path):
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root, size=(40, 80))
    reference = seen(root, "nyud", "atrc", ("depth",))
    prepare.prepare(copy_of(BenchmarkConfig(name="nyud"), root), kept, lambda what, done, total: None)
    assert torch.equal(seen(root, "nyud", "atrc", ("depth",), (kept,)), reference)


def moved(root, **chosen):
    """The first training sample of PASCAL-Context as cells that chose so see it, several times."""
    config = BenchmarkConfig(name="pascal_context", size=SIZE, **chosen)
    benchmark = make_benchmark(config)
    tasks = {name: benchmark.tasks[name] for name in ("human_parts", "normals")}
    keys = iter([[(epoch, 0)] for epoch in range(12)])
    samples = benchmark.open(root, "train", tuple(tasks))
    batches = list(training_batches(Training(samples, tasks, view_of(config, benchmark), 0), keys))
    return torch.cat([b.image for b in batches]), {n: torch.cat([b.labels[n] for b in batches]) for n in tasks}


def test_a_cell_chooses_what_lies_outside_of_an_image_and_what_a_zoom_does_to_normals(tmp_path):
    pascal_mt(tmp_path)
    image, labels = moved(tmp_path)
    spelled_out, _ = moved(tmp_path, borders="background", normals_zoom="published")
    assert torch.equal(image, spelled_out)  # the protocol's own
    ignored, without = moved(tmp_path, borders="ignore")
    outside = (ignored != image).any(1)
    assert 0.01 < outside.float().mean() < 0.5
    assert (without["human_parts"][outside] == 255).all() and (labels["human_parts"][outside] == 0).any()
    same, turned = moved(tmp_path, normals_zoom="consistent")
    assert torch.equal(same, image) and not torch.equal(turned["normals"], labels["normals"])
    assert torch.equal(turned["normals"].any(1), labels["normals"].any(1))
    with pytest.raises(ValidationError, match="'ignore' or 'background'"):
        moved(tmp_path, borders="black")


def test_a_trial_without_a_val_split_is_refused_before_it_is_trained(tmp_path):
    nyud(tmp_path, train=("0001", "0003"), test=("0002",), size=(48, 64))
    config = BenchmarkConfig(name="nyud", size=SIZE)
    trial = Cell(
        method="single_task", tasks=("depth",), benchmark=config, train=TrainConfig(epochs=1, batch=1), trial=True
    )
    with pytest.raises(ValueError, match=r"nyud has no val split to judge a trial on; set train\.holdout, as to 0\.1"):
        copy_of(config, tmp_path).splits(trial)
    held = trial.model_copy(update={"train": TrainConfig(epochs=1, batch=1, holdout=0.5)})
    assert len(copy_of(config, tmp_path).splits(held).val) == 1


@pytest.fixture
def long_tmpdir(monkeypatch, tmp_path):
    """$TMPDIR is a folder whose path leaves no room for the name of a socket."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", None)  # as in a process that starts
    return folder


@pytest.mark.timeout(60)
def test_loaders_find_a_folder_for_their_sockets_where_that_of_temporary_files_has_too_long_a_path(long_tmpdir):
    view = View(SIZE, Augmentation(crop=Crop(tries=1)))
    batches = training_batches(Training([sample(people=True)], TASKS, view, 0), iter([[(0, 0)], [(1, 0)]]), loaders=1)
    assert [batch.image.shape for batch in batches] == [(1, 3, *SIZE)] * 2
    assert tempfile.gettempdir() == str(long_tmpdir)  # large temporary files stay where they were wanted


def test_where_loaders_can_have_no_sockets_the_variable_is_named(long_tmpdir, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(ValueError, match=r"TMPDIR=.*x is too long for the sockets of loaders, and /tmp cannot be used"):
        training_batches(None, iter([]), loaders=1)
