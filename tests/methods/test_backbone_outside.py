"""A backbone from outside of the package: its channels are found, its weights are its own, its mistakes are named."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from additions import Pyramid
from cells import small_matrix
from mtlbench.harness.matrix.text.written import MatrixError
from mtlbench.methods import Target, build
from mtlbench.methods.backbone import Backbone
from mtlbench.methods.weights import require_pretrained

NAME = "additions:Pyramid"


def test_its_channels_are_found_and_its_batch_norms_get_the_momentum():
    backbone = Backbone(NAME, bn_momentum=0.25)
    assert backbone.channels == (8, 16, 32, 64)
    assert {m.momentum for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {0.25}
    assert backbone.network.stem[1].num_batches_tracked == 0, "looking for channels has moved the statistics"
    assert backbone.training


def test_a_method_is_built_on_it_from_a_seed():
    one, same, other = (build("multi_task", {"depth": Target(1, 40)}, backbone=NAME, seed=seed) for seed in (1, 1, 2))
    assert one(torch.zeros(2, 3, 32, 64)).final["depth"].shape == (2, 1, 32, 64)
    first = [network.backbone.network.stem[0].weight for network in (one, same, other)]
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def test_its_own_state_dict_is_loaded_and_no_other(tmp_path):
    trained = Pyramid()
    save_file(trained.state_dict(), tmp_path / "own.safetensors")
    loaded = Backbone(NAME, weights=str(tmp_path / "own.safetensors"))
    assert torch.equal(loaded.network.stem[0].weight, trained.stem[0].weight)
    save_file(nn.Conv2d(3, 8, 4).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors is a file of another network than .*Missing key"):
        Backbone(NAME, weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"no weights at .*save_file\(network\.state_dict\(\), PATH\)"):
        Backbone(NAME, weights=str(tmp_path / "none.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "own.safetensors").read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"cut\.safetensors is damaged"):
        Backbone(NAME, weights=str(tmp_path / "cut.safetensors"))


def test_imagenet_weights_are_refused_with_the_way_out():
    expected = r"timm has no ImageNet weights for it; set weights to none, or to a safetensors file"
    with pytest.raises(ValueError, match=expected):
        Backbone(NAME, pretrained=True)
    with pytest.raises(ValueError, match=expected):
        require_pretrained(NAME)
    with pytest.raises(MatrixError) as caught:
        small_matrix(backbone={"name": NAME, "weights": "imagenet"})
    (problem,) = caught.value.problems
    assert problem.startswith("backbone.weights: ") and "set weights to none" in problem


MISTAKES = """
from torch import nn

class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()

class Fails(nn.Module):
    def forward(self, image):
        return image @ image

class One(nn.Module):
    def forward(self, image):
        return image

class Coarse(nn.Module):
    def forward(self, image):
        return [image[..., ::8, ::8]] * 4

def text():
    return "a network"
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Needs", r"cannot be made: TypeError: .*'width'; it must be a class or a function .* without arguments"),
        ("Fails", r"fails for an image \[1, 3, 64, 96\]: RuntimeError"),
        ("One", r"into Tensor; it must be a list of \[1, C, 16, 24\], \[1, C, 8, 12\]"),
        ("Coarse", r"into a list of \[1, 3, 8, 12\], .*; it must be a list of \[1, C, 16, 24\]"),
        ("text", "makes str, which is no torch.nn.Module"),
        ("Missing", "cannot be imported: AttributeError"),
    ],
)
def test_a_network_that_breaks_the_contract_is_named_with_what_it_did(name, expected, tmp_path, monkeypatch):
    (tmp_path / "broken_backbones.py").write_text(MISTAKES)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"backbone 'broken_backbones:{name}' .*{expected}"):
        Backbone(f"broken_backbones:{name}")
