"""Initial weights: a cell knows a file by its content, a record where it came from, and no pickle is read."""

import hashlib
import os

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from cells import BACKBONE, matrix_file, train_cell
from mtlbench.harness.matrix import weights as pretrained
from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import MatrixError
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.network import build, chosen_tasks
from mtlbench.methods.backbone import Backbone


def weights_file(path, seed=0):
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(timm.create_model(BACKBONE).state_dict(), path)
    return path


@pytest.fixture
def file(tmp_path):
    return weights_file(tmp_path / "weights" / "mine.safetensors")


def matrix(folder, weights):
    backbone = {"name": BACKBONE, "weights": str(weights)}
    return str(matrix_file(folder, methods=["multi_task"], baseline="multi_task", backbone=backbone))


def cell_of(folder, weights):
    (planned,) = expand(read(matrix(folder, weights)))
    return planned.cell


def test_a_cell_depends_on_the_content_of_its_weights_and_not_on_their_path(file, tmp_path):
    cell = cell_of(tmp_path, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert cell.backbone.weights == f"sha256:{digest[:12]}"
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(file.read_bytes())
    assert cell_of(tmp_path, copy).id == cell.id
    other = weights_file(tmp_path / "other.safetensors", seed=1)
    assert len({cell_of(tmp_path, path).id for path in (file, other)} | {cell_of(tmp_path, "none").id}) == 3
    weights_file(file, seed=2)
    os.utime(file, ns=(1, 1))  # however it was written, the file is read again
    assert cell_of(tmp_path, file).id != cell.id


def test_training_starts_from_the_file_and_the_record_says_which(file, tmp_path):
    cell = cell_of(tmp_path, file)
    known = pretrained.files(BackboneConfig(name=BACKBONE, weights=str(file)))
    record = train_cell(cell, tmp_path / "s", tmp_path / "rooms", weights=known)
    assert record.provenance["weights"] == {
        "file": "mine.safetensors", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()
    }  # fmt: skip
    network = build(cell, chosen_tasks(make_benchmark(cell.benchmark), cell), known)
    held = load_file(file)
    assert torch.equal(network.backbone.network.state_dict()["conv_stem.weight"], held["conv_stem.weight"])
    assert str(file) not in Store(tmp_path / "s").get(f"cells/{cell.id}/record.json").decode()


def test_a_record_without_initial_weights_names_none():
    assert pretrained.origin(BackboneConfig(name=BACKBONE), {}) is None


def test_a_file_that_was_replaced_or_whose_place_is_unknown_is_refused(file, tmp_path):
    backbone = pretrained.by_content(BackboneConfig(name=BACKBONE, weights=str(file)))
    known = pretrained.files(BackboneConfig(name=BACKBONE, weights=str(file)))
    assert pretrained.locate(backbone, known) == str(file)
    with pytest.raises(FileNotFoundError, match=f"no file is known for the weights {backbone.weights} of {BACKBONE}"):
        pretrained.locate(backbone, {})
    weights_file(file, seed=1)
    with pytest.raises(ValueError, match=rf"mine\.safetensors is sha256:\w+ now and was {backbone.weights}"):
        pretrained.locate(backbone, known)


def test_a_matrix_with_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(MatrixError, match=r"backbone\.weights: no file '.*nothing\.safetensors'; give none, imagenet"):
        read(matrix(tmp_path, tmp_path / "nothing.safetensors"))


class Touches:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["trap.pth", "trap.safetensors"])
def test_a_pickle_is_refused_unread_with_the_way_to_convert_it(tmp_path, name):
    touched, trap = tmp_path / "touched", tmp_path / name
    torch.save({"conv_stem.weight": Touches(touched)}, trap)
    with pytest.raises(ValueError, match=r"no safetensors file .*save_file\(torch\.load\(.*weights_only=True\)"):
        Backbone(BACKBONE, weights=str(trap))
    assert not touched.exists()


def test_safetensors_under_another_name_are_refused(tmp_path, file):
    other = file.rename(tmp_path / "mine.pth")  # timm goes by the name, and would unpickle it
    with pytest.raises(ValueError, match=r"holds safetensors under another name; call it mine\.safetensors"):
        Backbone(BACKBONE, weights=str(other))


def test_the_record_of_imagenet_weights_has_the_pinned_tag_and_the_hash_of_the_file(tmp_path, monkeypatch):
    folder = tmp_path / "models--timm--hrnet_w18_small_v2.ms_in1k"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    (snapshot / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert pretrained.origin(BackboneConfig(weights="imagenet"), {}) == {
        "tag": "hrnet_w18_small_v2.ms_in1k", "sha256": hashlib.sha256(b"weights").hexdigest()
    }  # fmt: skip


def test_ids_of_cells_without_a_file_are_as_before():
    cell = Cell(
        method="multi_task", tasks=("depth",), benchmark=BenchmarkConfig(name="rooms"), train=TrainConfig(epochs=1)
    )
    assert pretrained.by_content(cell.backbone) == cell.backbone
    imagenet = BackboneConfig(weights="imagenet")
    assert pretrained.by_content(imagenet) is imagenet and pretrained.files(imagenet) == {}
