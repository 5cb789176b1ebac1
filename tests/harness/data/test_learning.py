"""Methods learn: each fits two images to the pixel with all that it supervises, and trains with one task."""

import pytest
import torch
from accelerate import Accelerator

from mtlbench.harness.data.learning import fit
from mtlbench.harness.data.loading import normalise
from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import optimizers, train
from mtlbench.harness.training.environment import Environment
from mtlbench.harness.training.network import build, chosen_tasks
from mtlbench.methods import METHODS

ROOMS = BenchmarkConfig(name="rooms", size=(64, 96), options={"train": 2, "val": 1, "test": 1})
STEPS = dict.fromkeys(METHODS, 150) | {"mti_net": 200, "sca_mtl": 250, "atrc": 300}
RATES = dict.fromkeys(METHODS, 1.5e-3) | {"atrc": 3e-3}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_two_images_are_learnt_by_heart(rooms, name):
    """Scored in evaluation mode: the backbone's statistics follow at a momentum of 0.1 instead of 0.01, or they would
    lag behind weights that are a few hundred steps old."""
    chosen = ("semseg",) if METHODS[name].one_task else ("semseg", "depth", "normals")
    recipe = TrainConfig(steps=STEPS[name], batch=2, lr=RATES[name], per="step", weights={"semseg": 10.0})
    backbone = BackboneConfig(bn_momentum=0.1)
    cell = Cell(method=name, tasks=chosen, benchmark=ROOMS, backbone=backbone, train=recipe)
    benchmark = make_benchmark(ROOMS)
    samples = list(benchmark.open(rooms, "train", chosen))
    tasks = chosen_tasks(benchmark, cell, fit({task: benchmark.tasks[task] for task in chosen}, samples))
    image = normalise(torch.stack([sample.image for sample in samples]))
    labels = {task: torch.stack([sample.labels[task] for sample in samples]) for task in chosen}

    network = build(cell, tasks).train()
    made, accelerator = optimizers.make(network, recipe), Accelerator(cpu=True)
    losses = []
    for step in range(STEPS[name]):
        network.at(step / STEPS[name])
        optimizers.set_learning_rates(made, recipe, step / STEPS[name])
        losses.append(train.backpropagate(accelerator, network, image, labels, tasks)[0].item())
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.2 * losses[0], f"the loss ends at {losses[-1] / losses[0]:.3f} of its start"

    metric = tasks["semseg"].metric
    with torch.no_grad():
        prediction = network.eval()(image).final["semseg"]
    miou = metric.scores(metric.statistics(prediction, labels["semseg"]).sum(0))["miou"]
    assert miou > 80, f"mIoU is {miou:.1f}"


@pytest.mark.parametrize("name", METHODS)
def test_a_cell_of_one_task_trains_and_is_scored(rooms, tmp_path, name):
    small = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 4, "val": 1, "test": 2})
    cell = Cell(method=name, tasks=("normals",), benchmark=small, train=TrainConfig(steps=2, batch=2))
    record = train.train(cell, Environment(str(tmp_path), {"rooms": rooms}))
    assert record.cost["steps"] == 2
    (score,) = record.primary().values()
    assert score.task == "normals" and 0 < score.value < 180
    assert Store(tmp_path).state(cell.id) == "finished"
