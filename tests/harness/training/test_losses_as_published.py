"""Losses, weights and gradients of the published networks: tests/reference/loss_golden.json, from the authors' code."""

import json
import sys

import pytest
import torch
from torch import nn

from mtlbench.benchmarks.nyud import NYUD
from mtlbench.benchmarks.pascal_context import PascalContext
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import check
from mtlbench.harness.training.network import chosen_tasks
from mtlbench.harness.training.objective import task_losses, terms, weighted_sum
from mtlbench.methods import Target, build
from mtlbench.methods.parts.attention import SwinLayer
from paths import REFERENCE

sys.path.insert(0, str(REFERENCE))
from fill import fill_, image

GOLDEN = json.loads((REFERENCE / "loss_golden.json").read_text())
LOSS, GRADIENT = GOLDEN["tolerance"]["loss"], GOLDEN["tolerance"]["grad"]
DATA = {"nyud": NYUD, "pascal": PascalContext}
ROWS, COLUMNS = 96, 128
CENTROIDS = {"centroids": torch.nn.functional.normalize(torch.ones(40, 3).cumsum(0).sin(), dim=1).tolist()}


def batch():
    """The recipe of the file: two images, and a label of each task with invalid pixels."""
    first = image(ROWS, COLUMNS)
    images = torch.cat([first, 0.5 * first.flip(3) + 0.25])
    b = torch.arange(2).view(2, 1, 1)
    y, x = torch.arange(ROWS).view(1, ROWS, 1), torch.arange(COLUMNS).view(1, 1, COLUMNS)

    def classes(count):
        label = (x // 16 + 3 * (y // 16) + 5 * b) % count
        return torch.where((x + y + 7 * b) % 11 == 0, 255, label).to(torch.uint8)

    depth = torch.where((x - 2 * y + 3 * b) % 7 == 0, 0, 1.5 + 0.02 * y + 0.01 * x + 0.5 * b)
    normal = torch.stack(torch.broadcast_tensors((0.05 * x + b).sin(), (0.04 * y).cos(), torch.tensor(1.2)), dim=1)
    normal = normal / normal.norm(dim=1, keepdim=True) * ((x + 2 * y + b) % 5 != 0)[:, None]
    parts = classes(7)
    parts[1] = 255
    labels = {"depth": depth[:, None].float(), "normals": normal.float(), "human_parts": parts}
    return images, {"nyud": {"semseg": classes(40), **labels}, "pascal": {"semseg": classes(21), **labels}}


def recipe(method, benchmark, tasks):
    """The tasks of a cell with the weights that a matrix without any gives them."""
    written = {"name": "m", "benchmark": benchmark.name, "tasks": [tasks], "methods": [method], "baseline": method}
    (item,) = expand(check({**written, "train": {"epochs": 1}}, "m.yaml"))
    return chosen_tasks(benchmark, item.cell, {"normals": CENTROIDS} if "normals" in tasks else {})


def network_of(method, tasks):
    network = build(method, {name: Target(task.channels, task.classes) for name, task in tasks.items()})
    fill_(network, "tasks")
    for module in network.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
        if isinstance(module, SwinLayer):
            module.drop_path = 0.0
    return network.train()


def our_name(method, name):
    """A term of the file -> the output that our objective names."""
    if method == "atrc":
        task, _, part = name.rpartition("_")
        return task, {"final": "final", "aux": "label"}[part]
    if name.startswith("deepsup_"):
        return name.removeprefix("deepsup_"), "auxiliary 0"
    if name.startswith("scale_"):
        _, scale, task = name.split("_", 2)
        return task, f"auxiliary {scale}"
    return name, "final"


def norm(gradients):
    return torch.stack([each.double().norm() for each in gradients if each is not None]).norm().item()


SLOW = ("sca_mtl", "pad_net")


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.slow if key.startswith(SLOW) else ()) for key in GOLDEN["shown"]]
)
def test_losses_their_sum_and_gradients_are_those_of_the_published_code(key):
    method, data, names = key.split("|")
    entry, benchmark = GOLDEN["shown"][key], DATA[data]()
    tasks = recipe(method, benchmark, names.split(","))
    network, (images, labels) = network_of(method, tasks), batch()
    found = terms(network(images), labels[data], tasks)
    # The authors' centroids of normals are in their repository, so ATRC's loss over them cannot be compared.
    found = [term for term in found if term[:2] != ("normals", "label")]

    ours = {term[:2]: term.loss.item() for term in found}
    theirs = {our_name(method, name): value for name, value in entry["terms"].items() if name != "normals_aux"}
    assert ours == pytest.approx(theirs, rel=LOSS)
    losses = task_losses(found)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(entry["task_loss"], rel=LOSS)
    assert weighted_sum(found, tasks).item() == pytest.approx(entry["total"], rel=LOSS)

    backbone = list(network.backbone.parameters())
    inside = {id(parameter) for parameter in backbone}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, [*backbone, *rest], retain_graph=True, allow_unused=True)
        norms = {"backbone": norm(gradients[: len(backbone)]), "rest": norm(gradients[len(backbone) :])}
        assert norms == pytest.approx(entry["grad"][name], rel=GRADIENT), name


def test_another_alignment_of_auxiliary_maps_would_be_seen(monkeypatch):
    from torch.nn import functional

    aligned = functional.interpolate

    def other(maps, size=None, mode="nearest", align_corners=None, **options):
        corners = True if size is not None and tuple(size) == (ROWS, COLUMNS) else align_corners
        return aligned(maps, size=size, mode=mode, align_corners=corners, **options)

    key = "pad_net|nyud|semseg,depth,normals"
    tasks = recipe("pad_net", NYUD(), key.split("|")[2].split(","))
    images, labels = batch()
    outputs = network_of("pad_net", tasks)(images)
    monkeypatch.setattr(functional, "interpolate", other)
    found = {term[:2]: term.loss.item() for term in terms(outputs, labels["nyud"], tasks)}
    assert found["depth", "auxiliary 0"] != pytest.approx(GOLDEN["shown"][key]["terms"]["deepsup_depth"], rel=10 * LOSS)


def test_a_network_of_one_task_has_weight_1_and_tasks_that_are_trained_together_the_published_weights():
    tasks = recipe("multi_task", PascalContext(), ["semseg", "human_parts", "normals"])
    assert {name: task.weight for name, task in tasks.items()} == {"semseg": 1, "human_parts": 2, "normals": 10}
    assert recipe("single_task", PascalContext(), ["human_parts"])["human_parts"].weight == 1
    assert recipe("multi_task", NYUD(), ["normals"])["normals"].weight == 1  # whatever the method


def test_a_cell_that_names_no_weight_has_that_of_the_benchmark():
    cell = Cell(method="multi_task", tasks=("normals",), benchmark=BenchmarkConfig(name="nyud"), train={"epochs": 1})
    assert chosen_tasks(NYUD(), cell)["normals"].weight == 10
