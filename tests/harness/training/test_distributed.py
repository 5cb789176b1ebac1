"""Two processes are one: the same gradients, and a record that counts each test image once."""

import os
from multiprocessing import get_context
from unittest import mock

import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator
from torch import multiprocessing
from torch.distributed import destroy_process_group, init_process_group

from cells import BACKBONE, backbone_for, small_cell, train_cell
from mtlbench import methods
from mtlbench.benchmarks.tasks import factories
from mtlbench.harness.data.loading import Evaluation, evaluation_batches, in_order
from mtlbench.harness.data.view import view_of
from mtlbench.harness.inspect import predict
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.scoring.statistics import collect
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import batch_norm, train
from mtlbench.methods.method import Target
from paths import PYTHONPATH

PROCESSES = 2
AXES = torch.nn.functional.normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(1)))
TASKS = {
    "semseg": factories.semseg(5),
    "depth": factories.depth(0.7, 10.0),
    "normals": factories.normals(AXES.tolist()),
}
PLAIN = "hrnet_w18_small_v2"  # has batch norms alone, and those of BACKBONE end in an activation
METHODS = [name for name, method in methods.METHODS.items() if method.takes(2)]


def start(function, folder, *arguments, processes=PROCESSES):
    """Run function(rank, *arguments) in processes that have joined a group. They are forked from a server that has
    imported everything once."""
    get_context("forkserver").set_forkserver_preload(["cells", "pyarrow.parquet", "pytest"])
    given = (processes, function, str(folder / "group"), arguments)
    with mock.patch.dict(os.environ, PYTHONPATH=PYTHONPATH):  # the server does not get the path of this process
        multiprocessing.start_processes(_join, given, processes, start_method="forkserver")


def _join(rank, processes, function, file, arguments):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    os.environ |= {"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # as launchers say it
    init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=processes)
    function(rank, *arguments)
    destroy_process_group()


def batch(images=4, rows=32, columns=64):
    """The second half has a tenth of the first's labels, and none of depth."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(images, 3, rows, columns, generator=generator)
    semseg = torch.randint(0, 5, (images, rows, columns), dtype=torch.uint8, generator=generator)
    depth = 1 + torch.rand(images, 1, rows, columns, generator=generator)
    normals = torch.nn.functional.normalize(torch.randn(images, 3, rows, columns, generator=generator))
    void = torch.rand(images, rows, columns, generator=generator) < torch.tensor([0.0, 0.1, 0.9, 0.95]).view(4, 1, 1)
    semseg[void] = 255
    normals *= ~void[:, None]
    depth[images // 2 :] = 0
    return image, {"semseg": semseg, "depth": depth, "normals": normals}


def without_dropout(network):
    """In training, with batch statistics: what each process draws for itself differs by design."""
    for module in network.train().modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.eval()
        if isinstance(getattr(module, "drop_path", None), float):
            module.drop_path = 0.0


def gradients(name, part, accelerator, backbone=None):
    """Of two passes, since a group would refuse the second if a parameter had been left out of the first. Returns (name
    -> gradient, name -> buffer, the shares of the losses).
    """
    tasks = dict(list(TASKS.items())[: methods.resolve(name).task_counts[1]])
    targets = {task: Target(it.channels, it.classes) for task, it in tasks.items()}
    network = methods.build(name, targets, backbone or backbone_for(name), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():  # some start at zero, and would hide the gradients behind them
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    image, labels = batch()
    image, network = image.double(), network.double()  # attention that is nearly uniform loses digits in its gradients
    without_dropout(network)
    if accelerator.num_processes > 1:
        network = batch_norm.synchronise(network, accelerator.device)
    model = accelerator.prepare(network)
    shares = [
        train.backpropagate(accelerator, model, image[part], {task: labels[task][part] for task in tasks}, tasks)
        for _ in range(2)
    ]
    assert torch.equal(*shares)
    return (
        {key: parameter.grad for key, parameter in network.named_parameters()}, dict(network.named_buffers()), shares[0]
    )  # fmt: skip


def _gradients_of_a_part(rank, folder):
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == PROCESSES
    part = slice(2 * rank, 2 * rank + 2)
    found = {name: gradients(name, part, accelerator) for name in METHODS}
    found[PLAIN] = gradients("multi_task", part, accelerator, PLAIN)
    torch.save(found, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What each process ends with, by method."""
    folder = tmp_path_factory.mktemp("gradients")
    start(_gradients_of_a_part, folder, folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*METHODS, PLAIN])
def test_two_processes_have_the_gradients_of_one_at_the_same_batch(parts, name):
    network, backbone = ("multi_task", PLAIN) if name == PLAIN else (name, None)
    whole, statistics, losses = gradients(network, slice(None), Accelerator(cpu=True), backbone)
    (first, buffers, share), (second, same, other) = (part[name] for part in parts)
    torch.testing.assert_close(share + other, losses, rtol=1e-12, atol=0)
    assert share[0] > 2 * other[0]  # so the mean of the two means would be another number
    rounding = 1e-12 * max(gradient.abs().max() for gradient in whole.values())  # of a bias before a batch norm
    for key, gradient in whole.items():
        assert torch.equal(first[key], second[key]), key
        difference = (first[key] - gradient).abs().max()
        assert difference <= 1e-9 * gradient.abs().max() + rounding, f"{key}: {difference} of {gradient.abs().max()}"
    for key, buffer in statistics.items():  # the means and variances that evaluation will use
        assert torch.equal(buffers[key], same[key]), key
        torch.testing.assert_close(buffers[key], buffer, rtol=1e-6, atol=1e-9, msg=key)
    silent = [key for key, gradient in whole.items() if not gradient.any()]
    assert len(silent) < 0.01 * len(whole), silent  # a gate of two units may be shut


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_synchronised_batch_norms_keep_what_follows_them_and_others_are_refused(device):
    targets = {"depth": Target(1, 40)}
    network = methods.build("multi_task", targets, BACKBONE, seed=1).eval()
    image = torch.randn(2, 3, 32, 64)
    before = network(image).final["depth"]
    kinds = [type(module) for module in network.modules()]
    after = batch_norm.synchronise(network, torch.device(device)).eval()
    assert [type(module) for module in after.modules()] != kinds
    torch.testing.assert_close(after(image).final["depth"], before)
    network = methods.build("multi_task", targets, BACKBONE)
    network.extra = torch.nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="extra is a BatchNorm1d, and only BatchNorm2d, BatchNormAct2d can be"):
        batch_norm.synchronise(network, torch.device(device))


@pytest.mark.parametrize("lacking", [{"momentum": None}, {"track_running_stats": False}, {"affine": False}])
def test_a_batch_norm_that_lacks_a_part_is_refused_where_it_cannot_be_synchronised(lacking):
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3, **lacking))
    with pytest.raises(ValueError, match=r"^1 is a batch norm without momentum.*set resources.workers to 1"):
        batch_norm.synchronise(network, torch.device("cpu"))


ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 8, "val": 1, "test": 5})
CELL = small_cell(tasks=("semseg", "normals"), train={"steps": 3, "batch": 4}, benchmark=ROOMS)


def _train(rank, store, root):
    record = train_cell(CELL, store, root)
    torch.save([score.value for score in record.scores], f"{store}/{rank}.pt")


@pytest.mark.slow
def test_a_record_of_two_processes_is_that_of_one_that_evaluates_the_same_weights(tmp_path):
    make_benchmark(ROOMS).make(tmp_path / "rooms", lambda done, total: None)
    store = Store(tmp_path)
    store.put_cell(CELL)
    start(_train, tmp_path, str(tmp_path), tmp_path / "rooms")
    record = store.record(CELL.id)
    for rank in range(PROCESSES):
        assert torch.load(tmp_path / f"{rank}.pt") == [score.value for score in record.scores]
    rows = pq.read_table(tmp_path / "cells" / CELL.id / "per_image.parquet").to_pandas()
    images = [f"test-{index:05d}" for index in range(5)]
    assert rows.groupby("task").image.apply(list).to_dict() == {"semseg": images, "normals": images}

    benchmark, network = make_benchmark(ROOMS), predict.load(store, CELL.id)
    chosen = {name: benchmark.tasks[name] for name in CELL.tasks}
    view, split = view_of(ROOMS, benchmark), benchmark.open(tmp_path / "rooms", "test", CELL.tasks)
    batches = evaluation_batches(Evaluation(split, chosen, view), in_order(range(5), 2))
    found = collect(lambda image: network(image).final, batches, chosen, view)
    compared = 0
    for name, task in chosen.items():
        values = task.metric.scores(torch.from_numpy(sum(row.statistics for row in found if row.task == name)))
        for score in record.scores:
            if score.task == name and score.value is not None:
                assert score.value == pytest.approx(float(values[score.metric]), rel=1e-5, abs=1e-5), score
                compared += score.primary
    assert compared == len(chosen)
    assert len(store.names("fits")) == 1
    assert record.provenance["data"]["learnt"]
