"""The encoder: HRNet as its authors built it, other timm networks with the right strides, and their weights."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.feature_maps import WORKING, _options, check
from paths import REFERENCE

sys.path.insert(0, str(REFERENCE))
from fill import compare, fill_, fingerprint, image

GOLDEN = json.loads((REFERENCE / "golden.json").read_text())


def test_hrnet_is_the_small_v2_of_the_papers():
    backbone = Backbone()
    assert backbone.channels == (18, 36, 72, 144)
    assert sum(p.numel() for p in backbone.parameters()) == 3_860_720
    assert {m.momentum for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}


def test_hrnet_fuses_its_branches_bilinearly():
    backbone = fill_(Backbone())
    with torch.no_grad():
        distances = compare(
            {f"backbone/{k}": fingerprint(x) for k, x in enumerate(backbone(image()))}, GOLDEN["backbone"]
        )
        assert max(distances.values()) < 1e-5
        for module in backbone.modules():
            if isinstance(module, nn.Upsample):
                module.mode, module.align_corners = "nearest", None
        distances = compare(
            {f"backbone/{k}": fingerprint(x) for k, x in enumerate(backbone(image()))}, GOLDEN["backbone"]
        )
        assert max(distances.values()) > 0.4


@pytest.mark.parametrize("name", ["hrnet_w18_small", "resnet18", "test_mambaout", "test_convnext", "test_efficientnet"])
def test_maps_have_the_announced_channels_and_strides(name):
    backbone = Backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]


def test_a_network_at_other_strides_is_refused_with_what_it_gave():
    with pytest.raises(
        ValueError, match=r"'test_vit' gives maps at strides \[16, 16, 16\]; methods need \[4, 8, 16, 32\]"
    ):
        Backbone("test_vit")


OF_ONE_SIZE = [
    *("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "maxvit_nano_rw_256", "coat_lite_tiny"),
    *("hiera_tiny_224", "test_coatnet", "efficientformerv2_s0", "botnet26t_256"),
]


@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_a_network_that_is_made_for_one_size_is_made_for_the_size_of_the_images(name):
    check(name, (64, 96))
    assert _options(name, (64, 96))["img_size"] == (64, 96)


def test_its_maps_are_at_the_strides(name="test_coatnet"):
    with pytest.raises(RuntimeError):
        Backbone(name)(torch.zeros(1, 3, 64, 96))
    backbone = Backbone(name, size=(64, 96)).eval()
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (480, 640)])
@pytest.mark.parametrize("name", WORKING)
def test_the_networks_that_messages_name_take_any_size_as_timm_makes_them(name, size):
    check(name, size)
    assert "img_size" not in _options(name, size)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        (
            "inception_v3",
            (256, 256),
            r"gives maps of \[\[60, 60\], .* for images of 256 x 256; methods need \[\[64, 64\]",
        ),
        ("inception_v3", (64, 96), "does not take images of 64 x 96"),
        ("legacy_xception", (64, 96), "gives maps of"),
        ("mobilevitv2_050", (64, 96), r"gives maps of .*\[2, 4\]\] for"),  # it takes multiples of 64
        ("halonet26t", (64, 96), r"does not take images of 64 x 96 \(AssertionError\)"),
        ("efficientformer_l1", (256, 256), "does not take images of 256 x 256"),
    ],
)
def test_a_network_that_cannot_give_the_maps_is_refused_in_a_line_with_some_that_can(name, size, expected):
    with pytest.raises(
        ValueError, match=f"backbone '{name}' {expected}.*; some that work: {', '.join(WORKING)}"
    ) as caught:
        Backbone(name, size=size)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError, match=expected):
        check(name, size)


def test_a_network_at_multiples_of_64_works_there():
    check("mobilevitv2_050", (128, 192))
    check("mobilevitv2_050", None)


def test_the_look_at_a_network_moves_no_initial_value():
    def values():
        torch.manual_seed(3)
        return Backbone("test_efficientnet", size=(64, 96)).state_dict()

    _options.cache_clear()
    looked, known = values(), values()
    assert all(torch.equal(value, known[key]) for key, value in looked.items())


def test_an_unknown_network_is_named_with_similar_ones():
    with pytest.raises(ValueError, match=r"unknown backbone 'hrnet_w17'.*hrnet_w18_small_v2"):
        Backbone("hrnet_w17")


@pytest.mark.parametrize("size", [(32, 40), (425, 560)])
def test_a_size_that_is_no_multiple_of_32_is_named(size):
    with pytest.raises(ValueError, match=f"image of {size[0]} x {size[1]} pixels.*multiples of 32"):
        Backbone("test_efficientnet")(torch.zeros(1, 3, *size))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """name -> a file of that network's random weights, as timm publishes them: with the classifier."""
    folder = tmp_path_factory.mktemp("weights")

    def made(name):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            save_file(timm.create_model(name).state_dict(), path)
        return str(path)

    return made


SIX = ("resnet10t", "resnet18", "hrnet_w18_small_v2", "test_convnext", "test_efficientnet", "test_mambaout")


@pytest.mark.slow
@pytest.mark.parametrize("name", SIX)
def test_a_file_of_the_network_is_loaded_whole_and_without_a_word(name, files, caplog):
    first, second = Backbone(name, weights=files(name)).state_dict(), Backbone(name, weights=files(name)).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    fresh = Backbone(name).state_dict()
    assert any(not torch.equal(value, fresh[key]) for key, value in first.items())
    assert not caplog.records


# The second network has all that the first has, under the same names.
SUPERSETS = [("hrnet_w18_small_v2", "hrnet_w18"), ("resnet18", "resnet34")]


@pytest.mark.parametrize(("name", "other"), [*pairwise((*SIX, SIX[0])), *SUPERSETS])
def test_weights_of_another_network_are_refused_in_one_line(name, other, files):
    with pytest.raises(ValueError, match=f"{other}.safetensors.*another network") as caught:
        Backbone(name, weights=files(other))
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def without(path, part, target):
    save_file({key: value for key, value in load_file(path).items() if part not in key}, target)
    return str(target)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet10t", "layer4.0"), ("hrnet_w18_small_v2", "stage4"), ("test_convnext", "stages.3.blocks")],
)
def test_a_file_that_lacks_a_layer_is_refused(name, layer, files, tmp_path):
    with pytest.raises(ValueError, match=rf"\d+ of \d+ tensors of {name} are missing, such as '"):
        Backbone(name, weights=without(files(name), layer, tmp_path / "some.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head"), [("resnet10t", "fc"), ("hrnet_w18_small_v2", "incre_modules"), ("test_convnext", "head")]
)
def test_a_file_without_the_head_is_accepted(name, head, files, tmp_path):
    expected = Backbone(name, weights=files(name)).state_dict()
    found = Backbone(name, weights=without(files(name), head, tmp_path / "headless.safetensors")).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_a_file_with_a_head_of_other_classes_is_accepted(files, tmp_path):
    held = load_file(files("resnet10t"))
    path = str(tmp_path / "seven.safetensors")
    save_file({**held, "fc.weight": held["fc.weight"][:7].clone(), "fc.bias": held["fc.bias"][:7].clone()}, path)
    assert torch.equal(
        Backbone("resnet10t", weights=path).state_dict()["network.conv1.0.weight"], held["conv1.0.weight"]
    )


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_file_that_was_cut_is_called_damaged_and_no_pickle(files, tmp_path, share):
    whole = Path(files("resnet10t")).read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.safetensors is damaged .*hf download") as caught:
        Backbone("resnet10t", weights=str(cut))
    assert "torch.load" not in str(caught.value)


def test_a_missing_file_says_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"hf download timm/hrnet_w18_small_v2\.ms_in1k model\.safetensors"):
        Backbone(weights=str(tmp_path / "absent.safetensors"))


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"hf download timm/hrnet_w18_small_v2\.ms_in1k model\.safetensors"):
        Backbone(pretrained=True)


def test_a_network_without_pinned_weights_must_name_them():
    with pytest.raises(ValueError, match=r"name them in full: .*resnet34\.a1_in1k"):
        Backbone("resnet34", pretrained=True)
    with pytest.raises(ValueError, match="Invalid pretrained tag"):
        Backbone("resnet18.no_such_tag", pretrained=True)
