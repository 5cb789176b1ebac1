"""The encoder: HRNet as its authors built it, other timm networks with the right strides, and their weights."""

import json
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from methods.backbone import Backbone

REFERENCE = Path(__file__).parent / "reference"
sys.path.insert(0, str(REFERENCE))
from fill import compare, fill_, fingerprint, image  # noqa: E402

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


def test_an_unknown_network_is_named_with_similar_ones():
    with pytest.raises(ValueError, match=r"unknown backbone 'hrnet_w17'.*hrnet_w18_small_v2"):
        Backbone("hrnet_w17")


@pytest.mark.parametrize("size", [(32, 40), (425, 560)])
def test_a_size_that_is_no_multiple_of_32_is_named(size):
    with pytest.raises(ValueError, match=f"image of {size[0]} x {size[1]} pixels.*multiples of 32"):
        Backbone("test_efficientnet")(torch.zeros(1, 3, *size))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("hrnet_w18_small_v2").state_dict(), path)
    return path


def test_local_weights_are_loaded(weights):
    one, other, fresh = Backbone(weights=str(weights)), Backbone(weights=str(weights)), Backbone()
    equal = [torch.equal(one.state_dict()[key], value) for key, value in other.state_dict().items()]
    assert all(equal)
    assert not torch.equal(one.network.conv1.weight, fresh.network.conv1.weight)


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(ValueError, match=r"model\.safetensors: \d+ of \d+ tensors of hrnet_w18 are missing"):
        Backbone("hrnet_w18", weights=str(weights))
    with pytest.raises(ValueError, match="resnet18"):
        Backbone("resnet18", weights=str(weights))


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
    with pytest.raises(ValueError, match=r"name them in full: .*resnet18\.a1_in1k"):
        Backbone("resnet18", pretrained=True)
    with pytest.raises(ValueError, match="Invalid pretrained tag"):
        Backbone("resnet18.no_such_tag", pretrained=True)
