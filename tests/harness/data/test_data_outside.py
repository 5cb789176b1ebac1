"""Data of a benchmark from outside of the package: where they lie, how they are prepared, what is learnt from them."""

import sys

import pytest
import torch

from mtlbench.harness.data import learning, places
from mtlbench.harness.data.copy import Copy, copy_of
from mtlbench.harness.data.prepare import prepare
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.file import check
from mtlbench.harness.store.store import Store

MODULE = """
from dataclasses import replace
from additions import HEIGHT, Squares

class OnDisk(Squares):
    needs_root = True
    splits = {"train": 4, "test": None}

    def open(self, root, split, tasks):
        lines = (root / f"{split}.txt").read_text().split()
        return [self._sample(name, number, tasks) for number, name in enumerate(lines)]

def greatest(labels):
    return {"greatest": max(label.max().item() for label in labels)}

class Learns(Squares):
    tasks = {"height": replace(HEIGHT, learn=greatest, complete=lambda task, findings: task)}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    file = tmp_path / "squares_on_disk.py"
    file.write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield file
    sys.modules.pop("squares_on_disk", None)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "train.txt").write_text("a b c d")
    (folder / "test.txt").write_text("e")
    return folder


def matrix(name):
    benchmark = {"name": name, "protocol": "mirrored"}
    return check({"name": "m", "benchmark": benchmark, "methods": ["single_task"], "train": {"epochs": 1}}, "here")


def test_the_folder_of_its_data_is_given_by_its_name_or_made_below_the_cache(module, root, tmp_path, monkeypatch):
    name = "squares_on_disk:OnDisk"
    assert places.roots(matrix(name), [f"{name}={root}"]) == {name: root}
    with pytest.raises(places.NotReady, match=f"give --data {name}=PATH"):
        places.roots(matrix(name), [])
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    made = "squares_on_disk:Learns"
    assert places.roots(matrix(made), []) == {made: tmp_path / "cache" / "Learns"}
    assert places.named_copy(made, None, ["side=5"]).root == tmp_path / "cache" / "Learns"
    assert places.named_copy(name, root, []).benchmark.needs_root


def test_what_was_prepared_is_opened_until_a_file_of_the_benchmark_changes(module, root, tmp_path):
    config = BenchmarkConfig(name="squares_on_disk:OnDisk")
    copy = copy_of(config, root, [tmp_path / "cache"])
    found = prepare(copy, tmp_path / "cache", lambda what, done, total: None)
    assert found.images == {"train": 4, "test": 1} and found.folder.name.startswith("squares-")
    (plain, *_), (kept, *_) = Copy(copy.benchmark, root).split("train", ["height"]), copy.split("train", ["height"])
    assert type(copy.split("train", ["height"])).__name__ == "Cache"
    assert torch.equal(plain.image, kept.image) and torch.equal(plain.labels["height"], kept.labels["height"])
    module.write_text(MODULE + "\nEDITED = 1\n")
    assert type(copy_of(config, root, [tmp_path / "cache"]).split("train", ["height"])) is list


def test_what_its_tasks_learn_is_learnt_anew_once_its_code_has_changed(module, tmp_path):
    store, copy = Store(tmp_path / "store"), copy_of(BenchmarkConfig(name="squares_on_disk:Learns"), tmp_path)
    assert learning.learn(store, copy, ["height"], 0.0) == {"height": {"greatest": 3.0}}
    assert learning.missing(store, copy, ["height"], 0.0) == []
    module.write_text(MODULE + "\nEDITED = 1\n")
    assert learning.missing(store, copy, ["height"], 0.0) == ["height"]
