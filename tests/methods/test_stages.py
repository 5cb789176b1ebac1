"""A backbone run stage by stage gives what it gives at once, and dilated ResNets are at the strides they announce."""

import pytest
import torch

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.backbone import Backbone
from mtlbench.methods.feature_maps import check
from mtlbench.methods.stages import STAGES
from mtlbench.methods.weights import pretrained_source

TARGETS = {"semseg": Target(5, 5), "depth": Target(1, 40)}
IN_STAGES = [
    ("resnet18", {}),
    ("resnet18", {"output_stride": 8}),
    ("resnet18", {"output_stride": 16}),
    ("hrnet_w18_small_v2", {}),
    ("test_convnext", {}),
    ("swin_tiny_patch4_window7_224", {"size": (64, 96)}),  # its maps are [B, H, W, C]
]
IN_PARTS = IN_STAGES[:4]


@torch.no_grad()
def by_stages(backbone, image, step):
    maps, outputs = [image], []
    for k in range(STAGES):
        maps = step(backbone, k, maps)
        outputs.append(maps)
    return outputs


def whole(backbone, k, maps):
    return backbone.run(k, maps)


def in_parts(backbone, k, maps):
    return backbone.run_last(k, backbone.run_but_last(k, maps)) if k else backbone.run(k, maps)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("name", "options", "step"),
    [*((*case, whole) for case in IN_STAGES), *((*case, in_parts) for case in IN_PARTS)],
)
def test_stage_by_stage_gives_the_maps_of_forward_bit_for_bit(name, options, step, training):
    backbone, image = Backbone(name, **options).train(training), torch.randn(2, 3, 64, 96)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of layers that are left out by chance
        with torch.no_grad():
            wanted = backbone(image)
        torch.manual_seed(0)
        outputs = by_stages(backbone, image, step)
    for k, maps in enumerate(outputs):
        assert tuple(x.shape[1] for x in maps) == backbone.stages[k]
        assert tuple(image.shape[2] // x.shape[2] for x in maps) == backbone.stage_strides[k]
    for got, x in zip(backbone.pyramid(outputs), wanted, strict=True):
        assert torch.equal(got, x)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ((64,), (64,), (128,), (256,), (512,))),
        ("resnet50", ((64,), (256,), (512,), (1024,), (2048,))),
        ("hrnet_w18_small_v2", ((64,), (256,), (18, 36), (18, 36, 72), (18, 36, 72, 144))),
    ],
)
def test_the_channels_of_each_stage(name, expected):
    assert Backbone(name).stages == expected


def test_a_stage_leaves_the_maps_that_it_is_given_as_they_are():
    backbone = Backbone("hrnet_w18_small_v2").eval()
    maps = [torch.randn(1, c, 32 >> i, 48 >> i) for i, c in enumerate(backbone.stages[4])]
    before, same = [x.clone() for x in maps], list(maps)
    with torch.no_grad():
        backbone.run_last(4, maps)
    assert all(now is x and torch.equal(x, old) for now, x, old in zip(maps, same, before, strict=True))


def test_a_network_that_does_not_show_its_stages_is_refused_with_some_that_do():
    with pytest.raises(ValueError, match=r"'test_efficientnet' cannot be run stage by stage.*resnet50.*hrnet_w18"):
        Backbone("test_efficientnet").run(0, [torch.zeros(1, 3, 64, 64)])


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "hrnet_w18_small"])
def test_a_stage_of_one_block_has_no_last_block_apart(name):
    backbone = Backbone(name)
    with pytest.raises(ValueError, match=f"'{name}': stage 1 has no last block.*use resnet18"):
        backbone.check_parts()
    with pytest.raises(ValueError, match="stage 1 has no last block"):
        backbone.run_but_last(1, [torch.zeros(1, backbone.stages[0][0], 16, 16)])


@pytest.mark.parametrize(("output_stride", "strides"), [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16)), (32, (4, 8, 16, 32))])
def test_a_dilated_resnet_has_maps_at_its_strides_and_the_weights_of_the_plain_one(output_stride, strides):
    backbone, image = Backbone("resnet18", output_stride=output_stride).eval(), torch.randn(1, 3, 64, 96)
    assert backbone.strides == strides
    with torch.no_grad():
        assert [tuple(x.shape[2:]) for x in backbone(image)] == [(64 // s, 96 // s) for s in strides]
    plain = Backbone("resnet18").state_dict()
    assert {k: v.shape for k, v in backbone.state_dict().items()} == {k: v.shape for k, v in plain.items()}


def test_the_authors_dilations_of_the_last_two_layers():
    network = Backbone("resnet18", output_stride=8).network
    dilations = [[conv.dilation[0] for conv in (b.conv1, b.conv2)] for b in (*network.layer3, *network.layer4)]
    assert dilations == [[1, 2], [2, 2], [2, 4], [4, 4]]
    assert {layer[0].downsample[0].dilation for layer in (network.layer3, network.layer4)} == {(1, 1)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "hrnet_w18_small_v2",
            "with output_stride 8: HRNet has no dilated form; set output_stride to 32, or use a Res",
        ),
        ("pvt_v2_b0", "with output_stride 8: timm has no such form"),
        ("additions:Plain", "is from outside of the package.*leave output_stride at 32"),
    ],
)
def test_a_network_without_a_dilated_form_is_refused_in_a_line(name, expected):
    for make in (lambda: check(name, None, 8), lambda: Backbone(name, output_stride=8)):
        with pytest.raises(ValueError, match=expected) as caught:
            make()
        assert len(str(caught.value).splitlines()) == 1


def test_an_output_stride_is_one_of_three():
    with pytest.raises(ValueError, match="output_stride 4: it is 8, 16 or 32"):
        Backbone("resnet18", output_stride=4)


@pytest.mark.parametrize("name", ["mti_net", "sca_mtl"])
def test_a_method_that_halves_its_scales_refuses_a_dilated_backbone(name):
    with pytest.raises(ValueError, match=f"{name}: .* strides 4, 8, 8, 8; leave the backbone's output_stride at 32"):
        methods.build(name, TARGETS, "resnet18", output_stride=8)


@pytest.mark.parametrize("name", ["multi_task", "pad_net", "atrc"])
def test_other_methods_take_a_dilated_backbone(name):
    options = {"genotype": "global"} if name == "atrc" else {}
    network = methods.build(name, TARGETS, "resnet18", output_stride=8, **options)
    assert network.to("meta")(torch.zeros(1, 3, 64, 64, device="meta")).final["depth"].shape == (1, 1, 64, 64)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_start_from_torchvisions_first_weights(name):
    assert pretrained_source(name)[0] == f"{name}.tv_in1k"
