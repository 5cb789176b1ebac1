"""PAD-Net: initial predictions, distillation between tasks, final predictions."""

import pytest
import torch
from torch import nn

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.parts.distillation import Distillation, SpatialAttention

TASKS = ("semseg", "normals", "depth")


@pytest.mark.parametrize(
    ("channels", "parameters"),
    [
        ({"semseg": 40, "depth": 1}, 7_019_056),
        ({"semseg": 40, "depth": 1, "normals": 3}, 12_091_318),
        ({"semseg": 21, "normals": 3}, 7_010_318),
        ({"semseg": 21, "human_parts": 7, "normals": 3}, 12_084_636),
    ],
)
def test_parameters_are_the_published_ones(channels, parameters):
    network = methods.build("pad_net", {task: Target(n, n) for task, n in channels.items()})
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_initial_predictions_are_at_stride_4():
    network = methods.build("pad_net", {"semseg": Target(5, 5), "depth": Target(1, 40)}).eval()
    with torch.no_grad():
        (initial,) = network(torch.randn(1, 3, 64, 96)).auxiliary
    assert {task: tuple(x.shape) for task, x in initial.items()} == {"semseg": (1, 5, 16, 24), "depth": (1, 1, 16, 24)}


def test_distillation_adds_the_message_of_every_other_task():
    distill = Distillation(TASKS, 4)
    features = {task: torch.randn(2, 4, 5, 6) for task in TASKS}
    distilled = distill(features)
    for target in TASKS:
        wanted = features[target].clone()
        for source in TASKS:
            if source != target:
                block = distill.attention[target][source]
                wanted += torch.sigmoid(block.gate(features[source])) * block.message(features[source])
        torch.testing.assert_close(distilled[target], wanted)


def test_distillation_of_one_task_is_the_identity():
    x = torch.randn(1, 4, 5, 6)
    assert Distillation(["depth"], 4)({"depth": x})["depth"] is x


def test_spatial_attention_with_a_closed_gate_passes_half():
    block, x = SpatialAttention(3), torch.randn(1, 3, 4, 4)
    nn.init.zeros_(block.gate.weight)
    torch.testing.assert_close(block(x), block.message(x) / 2)
