"""What is known to fail before anything starts."""

import math

import pytest

from fixtures import SIZE, nyud, pascal_mt
from mtlbench.benchmarks.copies import files
from mtlbench.harness.data.copy import held_out, hold_out
from mtlbench.harness.driver import preflight
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import Resources


def cell(name, size, protocol):
    config = BenchmarkConfig(name=name, size=size, protocol=protocol)
    return Cell(method="multi_task", tasks=("semseg",), benchmark=config, train=TrainConfig(epochs=1, batch=2))


def test_images_that_a_padded_input_cannot_hold_are_told_before_training(tmp_path, monkeypatch):
    rows, columns = SIZE
    nyud(tmp_path, test=("0002", "0004"))
    monkeypatch.setattr(files, "_picture", None)  # a look at the headers is enough
    enough = (-(-rows // 32) * 32, -(-columns // 32) * 32)
    for size in ((32, 32), (enough[0], 32), (32, enough[1])):
        (problem,) = preflight.data([cell("nyud", size, "atrc")], {"nyud": tmp_path})
        assert f"images of {rows} x {columns} do not fit into a padded input of {size[0]} x {size[1]}" in problem
        assert f"set size to [{enough[0]}, {enough[1]}] or more" in problem
        assert preflight.data([cell("nyud", size, "mtl")], {"nyud": tmp_path}) == []
    assert preflight.data([cell("nyud", enough, "atrc")], {"nyud": tmp_path}) == []


def test_every_image_is_looked_at_where_sizes_differ(tmp_path):
    pascal_mt(tmp_path, train=("a", "b"), test=("c",), size=(60, 92))
    landscape = (64, 96)
    assert preflight.data([cell("pascal_context", landscape, "atrc")], {"pascal_context": tmp_path}) == []
    (tmp_path / "ImageSets" / "Context" / "val.txt").write_text("c\nb\n")  # b stands upright
    (problem,) = preflight.data([cell("pascal_context", landscape, "atrc")], {"pascal_context": tmp_path})
    assert "images of 92 x 60 do not fit" in problem and "[96, 96] or more" in problem


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_picture_without_a_header_is_named(tmp_path, content):
    nyud(tmp_path)
    (tmp_path / "images" / "0002.jpg").write_bytes(content)
    (problem,) = preflight.data([cell("nyud", (64, 96), "atrc")], {"nyud": tmp_path})
    assert "0002.jpg: not a readable picture" in problem


@pytest.mark.parametrize("images", [2, 3, 5, 7, 8, 20, 50, 100, 795, 4998])
def test_the_share_that_a_refusal_names_is_the_smallest_of_its_digits(images):
    with pytest.raises(ValueError, match=f"holdout 1e-05 of {images} training images is not one image; give") as caught:
        held_out(images, 1e-5)
    least = float(str(caught.value).rpartition("give ")[2].split()[0])
    assert held_out(images, least) == 1
    digit = 10.0 ** (math.floor(math.log10(least)) - 1)
    with pytest.raises(ValueError, match="not one image"):
        held_out(images, least - digit)


def test_a_share_that_leaves_nothing_is_refused_and_no_share_is_none():
    assert held_out(8, 0) == held_out(1, 0) == 0
    with pytest.raises(ValueError, match=r"holdout 0\.99 of 8 training images is all of them"):
        held_out(8, 0.99)
    with pytest.raises(ValueError, match="at least 2 are needed"):
        held_out(1, 0.5)
    with pytest.raises(ValueError, match="not one image"):
        hold_out(range(8), 0.05)


@pytest.mark.parametrize(
    ("share", "problem"), [(0.05, "not one image; give 0.063 or more"), (0.063, ""), (0.9, "batch")]
)
def test_a_share_of_train_that_rounds_to_nothing_is_told_before_training(share, problem, tmp_path):
    nyud(tmp_path, train=[f"{number:04d}" for number in range(8)], test=["1000"])
    found = cell("nyud", (32, 32), "mtl")
    found = found.model_copy(update={"train": TrainConfig(epochs=1, batch=2, holdout=share)})
    told = preflight.data([found], {"nyud": tmp_path})
    assert (problem in told[0]) if problem else told == []


def test_what_no_node_can_hold_is_refused_and_not_waited_for():
    nodes = [{"CPU": 8.0}, {"CPU": 8.0}]
    total = {"CPU": 16.0}
    assert preflight.feasible(Resources(cpus=8, workers=2), total, nodes) == []
    assert "no node has as many" in preflight.feasible(Resources(cpus=16), total, nodes)[0]
    asks = {(9, 2, 0): "18 CPUs (2 workers x 9), and there are 16", (20, 1, 0): "20 CPUs, and there are 16"}
    asks |= {(1, 1, 1): "1 GPU, and there are 0"}
    for (cpus, workers, gpus), said in asks.items():
        told = preflight.feasible(Resources(cpus=cpus, workers=workers, gpus=gpus), total, nodes)
        assert told == [f"a cell asks for {said}; change resources in the matrix"]
    told = preflight.feasible(Resources(cpus=2), {"CPU": 1.0}, [{"CPU": 1.0}])
    assert told == ["a cell asks for 2 CPUs, and there is 1; change resources in the matrix"]


@pytest.mark.parametrize(
    ("batch", "workers", "accumulate", "told"), [(4, 2, 2, True), (1, 1, 1, True), (2, 1, 1, False), (8, 2, 2, False)]
)
def test_one_image_at_once_is_refused_for_a_head_that_needs_two(batch, workers, accumulate, told):
    train = TrainConfig(epochs=1, batch=batch, accumulate=accumulate)
    plain = cell("rooms", (32, 64), "mtl").model_copy(update={"train": train})
    headed = plain.model_copy(update={"options": {"head": "deeplab"}})
    assert preflight.batches([plain], Resources(workers=workers)) == []
    problems = preflight.batches([headed], Resources(workers=workers))
    assert len(problems) == told
    for problem in problems:
        assert f"train.batch {batch} leaves a process one image at once (workers {workers}, acc" in problem
        assert "multi_task needs two, because head deeplab" in problem and "take a larger batch" in problem
