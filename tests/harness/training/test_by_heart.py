"""Methods learn: each fits two images with all that it supervises, and trains with one task."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
import torch
from accelerate import Accelerator

from cells import SIZE, backbone_for, small_cell, train_cell
from mtlbench.harness.data.learning import fit
from mtlbench.harness.data.loading import normalise
from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import optimizers, train
from mtlbench.harness.training.network import build, chosen_tasks
from mtlbench.methods import METHODS

TWO_IMAGES = BenchmarkConfig(name="rooms", size=SIZE, options={"train": 2, "val": 1, "test": 1})


class Recipe(NamedTuple):
    """What fits two images in a few seconds."""

    steps: int
    lr: float
    momentum: float = 0.1  # of the backbone's statistics: at the default of 0.01 they would lag behind the weights
    tasks: tuple[str, ...] = ("semseg", "depth", "normals")
    options: Mapping[str, Any] = {}


# Where tasks exchange features, every pair of tasks costs: two tasks show as much as three.
PAIR = ("semseg", "normals")
RECIPES = {
    "single_task": Recipe(200, 3e-3, tasks=("semseg",)),
    "multi_task": Recipe(200, 3e-3),
    "pad_net": Recipe(100, 3e-3, 0.2, PAIR),
    "mti_net": Recipe(100, 5e-3, 0.2, PAIR),
    "atrc": Recipe(200, 6e-3),
    "sca_mtl": Recipe(70, 5e-3, 0.2, PAIR),
    "cross_stitch": Recipe(100, 3e-3, 0.2, PAIR, {"unit_lr": 1.0}),  # 100 is for SGD
    "nddr_cnn": Recipe(100, 3e-3, 0.2, PAIR, {"unit_lr": 1.0}),
    "mtan": Recipe(100, 3e-3, 0.2, PAIR),
    "jtrl": Recipe(150, 6e-3, 0.2, PAIR),
}
CASES = [*((name, backbone_for(name)) for name in METHODS), ("single_task", "hrnet_w18_small_v2")]
QUICK = [(name, backbone_for(name)) for name in ("single_task", "multi_task", "mti_net", "cross_stitch", "nddr_cnn")]


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        pytest.param(name, backbone, marks=pytest.mark.slow if (name, backbone) in QUICK else pytest.mark.drill)
        for name, backbone in CASES
    ],
)
def test_two_images_are_learnt_by_heart(rooms, name, backbone):
    """Predictions at stride 4 draw these small images no better than to an mIoU of about 85, coarser ones of about 75.
    The best prediction that does not look at the image has less than 10."""
    steps, lr, momentum, chosen, options = RECIPES.get(name, Recipe(200, 3e-3))
    recipe = {"steps": steps, "lr": lr, "per": "step", "weights": {"semseg": 10.0}}
    config = BackboneConfig(name=backbone, bn_momentum=momentum)
    cell = small_cell(name, chosen, recipe, benchmark=TWO_IMAGES, backbone=config, options=dict(options))
    benchmark = make_benchmark(TWO_IMAGES)
    samples = list(benchmark.open(rooms, "train", chosen))
    tasks = chosen_tasks(benchmark, cell, fit({task: benchmark.tasks[task] for task in chosen}, samples))
    image = normalise(torch.stack([sample.image for sample in samples]))
    labels = {task: torch.stack([sample.labels[task] for sample in samples]) for task in chosen}

    network = build(cell, tasks).train()
    made, accelerator = optimizers.make(network, cell.train), Accelerator(cpu=True)
    losses = []
    for step in range(steps):
        network.at(step / steps)
        optimizers.set_learning_rates(made, cell.train, step / steps)
        losses.append(train.backpropagate(accelerator, network, image, labels, tasks)[0].item())
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.25 * losses[0], f"the loss ends at {losses[-1] / losses[0]:.3f} of its start"

    metric = tasks["semseg"].metric
    with torch.no_grad():
        prediction = network.eval()(image).final["semseg"]
    miou = metric.scores(metric.statistics(prediction, labels["semseg"]).sum(0))["miou"]
    assert miou > 60, f"mIoU is {miou:.1f}"


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.takes(1)])
def test_a_cell_of_one_task_trains_and_is_scored(rooms, tmp_path, name):
    cell = small_cell(name, ("normals",), train={"steps": 2})
    record = train_cell(cell, tmp_path, rooms)
    assert record.cost["steps"] == 2
    (score,) = record.primary().values()
    assert score.task == "normals" and 0 < score.value < 180
    assert Store(tmp_path).state(cell.id) == "finished"


def test_a_record_says_where_a_network_is_a_composition_of_ours(rooms, tmp_path):
    ours = train_cell(small_cell("cross_stitch", train={"steps": 1}), tmp_path, rooms).provenance
    assert ours["composition"].startswith("resnet18 and resnet50 with output_stride 8")
    assert ours["remark"].startswith("units at 100 times")
    assert not {"composition", "remark"} & train_cell(small_cell(train={"steps": 1}), tmp_path, rooms).provenance.keys()
