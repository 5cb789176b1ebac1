"""MTI-Net: distillation at every scale, propagation from coarse to fine."""

import pytest
import torch
from torch import nn

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.parts.pyramid import FPM, TaskHeads, Widen, author_mask, convolutional_body, per_task_mask

TASKS = ["semseg", "normals", "depth"]


@pytest.mark.parametrize(
    ("channels", "options", "parameters"),
    [
        ({"semseg": 40, "depth": 1}, {}, 8_578_179),
        ({"semseg": 40, "depth": 1, "normals": 3}, {}, 12_653_616),
        ({"semseg": 21, "normals": 3}, {}, 8_568_914),
        ({"semseg": 21, "human_parts": 7, "normals": 3}, {"fpm_mask": "per_task"}, 12_646_531),
        # SCA-MTL's first ablation row less its attention, plus four convolutions with their norms
        ({"semseg": 40, "depth": 1}, {"width": "doubled"}, 22_665_731 + sum(c * c + 2 * c for c in (18, 36, 72, 144))),
    ],
)
def test_parameters_are_the_published_ones(channels, options, parameters):
    network = methods.build("mti_net", {task: Target(n, n) for task, n in channels.items()}, **options)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_initial_predictions_are_at_all_scales():
    network = methods.build("mti_net", {"semseg": Target(5, 5), "depth": Target(1, 40)}).eval()
    with torch.no_grad():
        outputs = network(torch.randn(1, 3, 64, 96))
    assert [tuple(scale["semseg"].shape) for scale in outputs.auxiliary] == [
        (1, 5, 16, 24), (1, 5, 8, 12), (1, 5, 4, 6), (1, 5, 2, 3)
    ]  # fmt: skip


def test_author_mask_sums_to_one_over_consecutive_channels():
    mask = author_mask(torch.randn(2, 12, 4, 5), 3)
    torch.testing.assert_close(mask.unflatten(1, (4, 3)).sum(2), torch.ones(2, 4, 4, 5))


def test_per_task_mask_sums_to_one_over_the_tasks():
    mask = per_task_mask(torch.randn(2, 12, 4, 5), 3)
    torch.testing.assert_close(mask.unflatten(1, (3, 4)).sum(1), torch.ones(2, 4, 4, 5))


def test_a_per_task_mask_follows_a_permutation_of_the_tasks_and_the_authors_does_not():
    logits = torch.randn(2, 3, 4, 5, 5)  # B, tasks, channels, H, W
    turned = logits.roll(1, dims=1).flatten(1, 2)
    per_task = per_task_mask(logits.flatten(1, 2), 3).unflatten(1, (3, 4)).roll(1, dims=1).flatten(1, 2)
    author = author_mask(logits.flatten(1, 2), 3).unflatten(1, (3, 4)).roll(1, dims=1).flatten(1, 2)
    torch.testing.assert_close(per_task_mask(turned, 3), per_task)
    assert not torch.allclose(author_mask(turned, 3), author)


@pytest.mark.parametrize("mask", ["author", "per_task"])
def test_propagation_keeps_a_tasks_own_features(mask):
    fpm = FPM(TASKS, 8, convolutional_body(24), mask).eval()
    features = {task: torch.randn(1, 8, 6, 6) for task in TASKS}
    for excite in fpm.excite.values():
        nn.init.constant_(excite.gate[2].bias, -1e4)  # nothing of the selection passes
    for task, x in fpm(features).items():
        torch.testing.assert_close(x, features[task])


def test_task_heads_put_the_backbone_before_what_comes_from_the_coarser_scale():
    heads = TaskHeads({"depth": Target(1, 40)}, 3, 2, 4).eval()
    seen = {}
    heads.features["depth"].register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    shared = torch.zeros(1, 3, 4, 6)
    heads(shared, {"depth": torch.ones(1, 2, 2, 3)})
    assert seen["x"].mean((0, 2, 3)).tolist() == [0, 0, 0, 1, 1]


def test_widening_puts_the_new_branch_before_the_map():
    widen, x = Widen(4).eval(), torch.randn(2, 4, 5, 5)
    wide = widen(x)
    assert wide.shape == (2, 8, 5, 5)
    assert torch.equal(wide[:, 4:], x)
    assert (wide[:, :4] >= 0).all()
