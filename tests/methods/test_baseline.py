"""Single-task and multi-task baselines are the same heads on the same features."""

import pytest
import torch
from torch import nn

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.parts.heads import FCNHead, HRFuse, HRHead, concatenate

TARGETS = {"semseg": Target(13, 13), "depth": Target(1, 40), "normals": Target(3, 40)}


def build(name, *tasks, **options):
    return methods.build(name, {task: TARGETS[task] for task in tasks}, **options)


@pytest.mark.parametrize("head", ["hrnet", "fcn_atrc"])
def test_a_single_task_network_is_the_multi_task_network_restricted_to_its_task(head):
    multi, image = build("multi_task", *TARGETS, head=head).eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        together = multi(image).final
        for task in TARGETS:
            single = build("single_task", task, head=head, seed=1).eval()
            wanted = {key: x for key, x in multi.state_dict().items() if not key.startswith("heads.") or task in key}
            single.load_state_dict(wanted)
            assert torch.equal(single(image).final[task], together[task])


def test_a_single_task_network_takes_one_task():
    with pytest.raises(ValueError, match=r"takes one task, not 2 \(semseg, depth\)"):
        build("single_task", "semseg", "depth")


def test_heads_do_not_see_each_other():
    network, image = build("multi_task", *TARGETS).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image).final
        nn.init.zeros_(network.heads["depth"].predict.weight)
        after = network(image).final
    assert not torch.equal(before["depth"], after["depth"])
    assert torch.equal(before["semseg"], after["semseg"])
    assert torch.equal(before["normals"], after["normals"])


def test_concatenation_runs_from_fine_to_coarse():
    pyramid = [torch.full((1, 2, 16 >> k, 24 >> k), float(k)) for k in range(4)]
    joint = concatenate(pyramid)
    assert joint.shape == (1, 8, 16, 24)
    assert joint[0, :, 5, 7].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_mixing_before_the_upsampling_equals_mixing_the_concatenation():
    channels = (4, 6, 8, 10)
    pyramid = [torch.randn(2, c, 16 >> k, 24 >> k, dtype=torch.float64) for k, c in enumerate(channels)]
    fuse = HRFuse(channels).double()
    torch.testing.assert_close(fuse.mix_before_upsampling(pyramid), fuse.mix(concatenate(pyramid)))


@pytest.mark.parametrize(
    ("head", "parameters"), [(HRHead, 270 * 270 + 3 * 270 + 270 * 5 + 5), (FCNHead, 270 * 67 * 9 + 2 * 67 + 67 * 5 + 5)]
)
def test_head_sizes(head, parameters):
    assert sum(p.numel() for p in head((18, 36, 72, 144), 5).parameters()) == parameters


def test_atrcs_prediction_layer_starts_small_and_unbiased():
    layer = FCNHead((64, 64, 64, 64), 40).predict
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not layer.bias.any()
