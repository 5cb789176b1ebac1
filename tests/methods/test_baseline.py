"""Single-task and multi-task baselines are the same heads on the same features."""

import pytest
import torch
from torch import nn

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.parts.deeplab import ASPP, DeepLabHead, ImagePooling
from mtlbench.methods.parts.heads import FCNHead, HRFuse, HRHead, concatenate

TARGETS = {"semseg": Target(13, 13), "depth": Target(1, 40), "normals": Target(3, 40)}


def build(name, *tasks, **options):
    return methods.build(name, {task: TARGETS[task] for task in tasks}, **options)


DILATED = {"backbone": "resnet18", "output_stride": 8}


@pytest.mark.parametrize(("head", "backbone"), [("hrnet", {}), ("fcn_atrc", {}), ("deeplab", DILATED)])
def test_a_single_task_network_is_the_multi_task_network_restricted_to_its_task(head, backbone):
    multi, image = build("multi_task", *TARGETS, head=head, **backbone).eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        together = multi(image).final
        for task in TARGETS:
            single = build("single_task", task, head=head, seed=1, **backbone).eval()
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
    ("head", "channels", "parameters"),
    [
        (HRHead, (18, 36, 72, 144), 270 * 270 + 3 * 270 + 270 * 5 + 5),
        (FCNHead, (18, 36, 72, 144), 270 * 67 * 9 + 2 * 67 + 67 * 5 + 5),
        (DeepLabHead, (64, 128, 256, 512), 4_722_176 + 257 * 5),
        (DeepLabHead, (256, 512, 1024, 2048), 16_125_440 + 257 * 5),
        (HRHead, (64, 128, 256, 512), 924_480 + 961 * 5),
    ],
)
def test_head_sizes(head, channels, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in head(channels, 5).parameters()) == parameters


@pytest.mark.parametrize("name", ["single_task", "multi_task"])
@pytest.mark.parametrize("backbone", [{}, {"backbone": "resnet18"}])
def test_the_deeplab_head_refuses_maps_at_stride_32(name, backbone):
    with pytest.raises(
        ValueError, match=f"{name}: head deeplab reads .* stride 32; set the backbone's output_stride to 8"
    ):
        build(name, "depth", head="deeplab", **backbone)


def test_the_deeplab_head_reads_the_last_map_alone():
    head = DeepLabHead((2, 3, 4, 5), 6).eval()
    maps = [torch.randn(1, 2 + k, 8, 12) for k in range(4)]
    with torch.no_grad():
        before = head(maps)
        assert torch.equal(head([torch.zeros_like(x) for x in maps[:3]] + maps[3:]), before)
        assert not torch.equal(head([*maps[:3], torch.zeros_like(maps[3])]), before)


def test_one_image_is_too_few_for_the_deeplab_head_to_train_on():
    network = build("single_task", "depth", head="deeplab", **DILATED).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.randn(1, 3, 64, 64))
    assert type(network).needs_two_images({"head": "deeplab"}) and not type(network).needs_two_images({})
    network(torch.randn(2, 3, 64, 64)).final["depth"].sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_views_of_aspp_are_joined_in_their_order():
    aspp = ASPP(8)
    dilations = [branch[0].dilation[0] for branch in aspp.branches[:4]]
    assert dilations == [1, 12, 24, 36] and [branch[0].padding[0] for branch in aspp.branches[:4]] == [0, 12, 24, 36]
    assert isinstance(aspp.branches[4], ImagePooling) and isinstance(aspp.dropout, nn.Dropout) and aspp.dropout.p == 0.5


def test_atrcs_prediction_layer_starts_small_and_unbiased():
    layer = FCNHead((64, 64, 64, 64), 40).predict
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not layer.bias.any()
