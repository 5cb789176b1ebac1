"""What needs a GPU: precision, host synchronisation, resume, memory and pace. Run by `make gpu`."""

import time
import warnings

import pytest
import torch
from safetensors.torch import load_file

from cells import train_cell
from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks import factories
from mtlbench.benchmarks.transforms.augmentation import Augmentation
from mtlbench.harness.bench import evaluation as bench_evaluation
from mtlbench.harness.data.loading import Evaluation, evaluation_batches, in_order, normalise, onto
from mtlbench.harness.data.view import View
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring import statistics
from mtlbench.harness.training import optimizers
from mtlbench.harness.training.objective import terms, weighted_sum
from mtlbench.methods import METHODS, Target, build

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

ROOMS = BenchmarkConfig(name="rooms", size=(64, 96), options={"train": 16, "val": 2, "test": 8})
TARGETS = {"semseg": Target(40, 40), "depth": Target(1, 40)}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return tmp_path_factory.mktemp("rooms")


def cell(**recipe):
    train_config = TrainConfig(**{"epochs": 4, "batch": 4, "lr": 1e-3, **recipe})
    return Cell(method="multi_task", tasks=("semseg", "depth", "normals"), benchmark=ROOMS, train=train_config)


def run(a_cell, store, rooms, report=lambda progress: None, **resources):
    return train_cell(a_cell, store, rooms, report, gpus=1, **resources)


def network(name, targets=TARGETS):
    chosen = dict(list(targets.items())[: METHODS[name].task_counts[1]])
    return build(name, chosen).cuda().to(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", METHODS)
def test_bf16_and_fp32_agree_to_the_precision_of_bf16(name):
    method = network(name).eval()
    image = torch.randn(2, 3, 128, 160, device="cuda")
    with torch.no_grad():
        exact = method(image).final
        with torch.autocast("cuda", torch.bfloat16):
            rounded = method(image).final
    for task, prediction in exact.items():
        error = (rounded[task].float() - prediction).std() / prediction.std()
        print(f"{name} {task}: bf16 differs by {error:.2%} of the standard deviation")
        assert error < 0.1  # bf16 has 8 bits; some hundred layers add up


@pytest.mark.parametrize("name", METHODS)
def test_a_training_step_never_waits_for_the_gpu(name, rooms):

    tasks = {task: make_benchmark(ROOMS).tasks[task] for task in ("semseg", "depth")}
    method = network(name, {task: Target(it.channels, it.classes) for task, it in tasks.items()}).train()
    tasks = {task: it for task, it in tasks.items() if task in ("semseg",) or METHODS[name].takes(2)}
    recipe = TrainConfig(steps=1)
    (optimizer, *_) = optimizers.make(method, recipe)
    image = torch.randint(0, 256, (4, 3, 64, 96), dtype=torch.uint8, device="cuda")
    labels = {
        "semseg": torch.randint(0, 14, (4, 64, 96), dtype=torch.uint8, device="cuda"),
        "depth": torch.rand(4, 1, 64, 96, device="cuda") + 0.5,
    }

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            outputs = method(normalise(image))
        outputs = outputs._replace(final={k: v.float() for k, v in outputs.final.items()})
        weighted_sum(terms(outputs, labels, tasks), tasks).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Killed(BaseException):
    pass


@pytest.mark.filterwarnings("ignore:.*deterministic")
def test_a_run_on_the_gpu_resumes_where_it_stopped(tmp_path, rooms):
    def kill(progress):
        if progress.step >= 12:
            raise Killed

    def distance(one, other):
        """Root mean square difference of all weights, relative to their size."""
        files = (load_file(tmp_path / part / "cells" / a_cell.id / "model.safetensors") for part in (one, other))
        left, right = (torch.cat([v.flatten().double() for v in state.values()]) for state in files)
        return ((left - right).norm() / left.norm()).item()

    a_cell = cell()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        record = run(a_cell, tmp_path / "whole", rooms)
        run(a_cell, tmp_path / "again", rooms)
        with pytest.raises(Killed):
            run(a_cell, tmp_path / "parts", rooms, report=kill)
        steps = []
        run(a_cell, tmp_path / "parts", rooms, report=lambda progress: steps.append(progress.step))
    finally:
        torch.use_deterministic_algorithms(False)
    assert steps == [12, 16]
    repeated, resumed = distance("whole", "again"), distance("whole", "parts")
    print(f"weights differ by {repeated:.1e} between two runs and by {resumed:.1e} after a resume")
    assert resumed <= 10 * repeated  # where two runs are equal to the bit, so is a resumed one
    assert record.cost["peak_memory_bytes"] > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", METHODS)
def test_pace_and_memory_at_full_size(name, precision):
    """Not a bar but a measurement, for notes: batch 8 at 480x640, NYUD's semseg and depth."""

    tasks = {"semseg": factories.semseg(40), "depth": factories.depth(0.7, 10.0)}
    method = network(name).train()
    if not METHODS[name].takes(2):
        tasks = {"semseg": tasks["semseg"]}
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-4, fused=True)
    image = torch.randn(8, 3, 480, 640, device="cuda").contiguous(memory_format=torch.channels_last)
    labels = {
        "semseg": torch.randint(0, 40, (8, 480, 640), dtype=torch.uint8, device="cuda"),
        "depth": torch.rand(8, 1, 480, 640, device="cuda") + 0.5,
    }

    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            outputs = method(image)
        outputs = outputs._replace(final={k: v.float() for k, v in outputs.final.items()})
        weighted_sum(terms(outputs, labels, tasks), tasks).backward()
        optimizer.step()
        optimizer.zero_grad()

    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    pace = 10 / (time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 2**30
    print(f"{name} {precision}: {pace:.2f} steps/s, {8 * pace:.0f} images/s, peak {peak:.1f} GiB")
    assert pace > 0


@pytest.mark.parametrize("evaluate", ["native", "published"])
def test_an_evaluation_waits_for_the_gpu_once_a_task_and_not_once_an_image(evaluate):
    made = (factories.semseg(40), factories.depth(0.7, 10.0), factories.normals(), factories.saliency())
    scored = {task.name: task.published() if evaluate == "published" else task for task in made}
    held = {name: torch.randn(4, task.channels, 64, 96, device="cuda") for name, task in scored.items()}

    def sample(index):
        size = [(60, 80), (80, 60), (60, 80)][index % 3]  # both orientations, so that a batch has groups
        labels = {
            "semseg": torch.randint(0, 40, size, dtype=torch.uint8),
            "depth": torch.rand(1, *size) + 0.5,
            "normals": torch.randn(3, *size),
            "saliency": torch.randint(0, 2, size, dtype=torch.uint8),
        }
        return Sample(str(index), torch.randint(0, 256, (3, *size), dtype=torch.uint8), labels)

    view = View((64, 96), Augmentation(), evaluate)

    def waits(images):
        split = Evaluation([sample(index) for index in range(images)], scored, view)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                rows = statistics.collect(
                    lambda image: {name: value[: len(image)] for name, value in held.items()},
                    onto(torch.device("cuda"), evaluation_batches(split, in_order(range(images), 4), pin=True)),
                    scored,
                    view,
                )
            finally:
                torch.cuda.set_sync_debug_mode("default")
        assert len(rows) == images * len(scored)
        return len([warning for warning in caught if "synchroniz" in str(warning.message)])

    waits(4)  # the mean and standard deviation of images are copied to the device once
    assert waits(4) == waits(40) == len(scored)


def test_scores_on_the_gpu_are_those_on_a_cpu():
    def found(device):
        torch.manual_seed(0)
        rows = []
        for task in (
            factories.semseg(40),
            factories.depth(0.7, 10.0),
            factories.normals(),
            factories.saliency(),
            factories.edge(0.9, max_distance=0.011),
        ):
            prediction = torch.randn(2, task.channels, 48, 64)
            label = task.kind.random((2, 48, 64), task.classes)
            rows.append(task.metric.statistics(prediction.to(device), label.to(device)).cpu())
        return rows

    for here, there in zip(found("cpu"), found("cuda"), strict=True):
        torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-6)


def test_an_evaluation_at_full_size_takes_less_than_an_epoch():
    """Not a bar but a measurement, for notes: NYUD's semseg, depth and normals, batch 8 at 480x640."""
    shares = bench_evaluation.measure(torch.device("cuda"), 5, size=(480, 640), stored=(425, 560), images=64)
    scoring, whole = (sorted(values) for values in zip(*shares, strict=True))
    print(f"scoring {scoring[0]:.1%} to {scoring[-1]:.1%} of an epoch, with the forward pass {whole[0]:.1%}")
    assert whole[0] < 1


def test_synchronised_batch_norm_is_accepted_by_every_method():
    for name in METHODS:
        converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network(name)).train()
        outputs = converted(torch.randn(2, 3, 64, 96, device="cuda"))
        assert all(prediction.isfinite().all() for prediction in outputs.final.values())
