"""A record and a checkpoint are of the code that made them: ours, and everything that a cell names from outside."""

import sys

import pytest

from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.store import provenance, source

PARTS = ("a_method", "a_backbone", "a_benchmark", "an_optimizer", "a_schedule")


def cell(**changes):
    fields = {
        "method": "multi_task",
        "tasks": ("depth",),
        "benchmark": BenchmarkConfig(name="rooms"),
        "train": TrainConfig(epochs=1),
    }
    return Cell(**{**fields, **changes}).model_dump(mode="json")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder with one module for each part of a cell that may be from outside."""
    for name in (*PARTS, "shared"):
        (tmp_path / f"{name}.py").write_text("import shared\nclass Name: ...\n" if name != "shared" else "VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in (*PARTS, "shared"):
        sys.modules.pop(name, None)


EVERYTHING = cell(
    method="a_method:Name",
    backbone=BackboneConfig(name="a_backbone:Name"),
    benchmark=BenchmarkConfig(name="a_benchmark:Name"),
    train=TrainConfig(epochs=1, optimizer="an_optimizer:Name", schedule="a_schedule:Name"),
)


def test_the_files_of_every_part_from_outside_count(outside):
    assert len(provenance.names_from_outside(EVERYTHING)) == len(PARTS)
    found = [provenance.plugin_hash(EVERYTHING)]
    for name in (*PARTS, "shared"):
        (outside / f"{name}.py").write_text((outside / f"{name}.py").read_text() + "EDITED = 1\n")
        found.append(provenance.plugin_hash(EVERYTHING))
        assert provenance.code_hash(EVERYTHING) == f"{source.source_hash()}+{found[-1]}"
    assert len(set(found)) == len(found)


def test_a_cell_with_a_method_from_outside_has_the_hash_of_its_files_as_earlier_records_have(outside):
    expected = source.outside_hash({"a_method": outside / "a_method.py"})
    assert provenance.plugin_hash(cell(method="a_method:Name")) == expected


def test_what_is_ours_or_of_a_library_whose_version_is_recorded_does_not_count():
    libraries = TrainConfig(epochs=1, optimizer="torch.optim:RMSprop", schedule="math:pow")
    for one in (cell(), cell(method="mtlbench.methods.baseline:MultiTask"), cell(train=libraries)):
        assert provenance.plugin_hash(one) is None
        assert provenance.code_hash(one) == source.source_hash()


def test_where_a_name_is_defined_in_another_project_than_where_it_is_named_both_count(outside, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "defining.py").write_text("class Name: ...\n")
    monkeypatch.syspath_prepend(elsewhere)
    (outside / "a_method.py").write_text("from defining import Name\n")
    one, found = cell(method="a_method:Name"), []
    for file in (outside / "a_method.py", elsewhere / "defining.py"):
        found.append(provenance.plugin_hash(one))
        file.write_text(file.read_text() + "EDITED = 1\n")
    found.append(provenance.plugin_hash(one))
    assert len(set(found)) == 3
    sys.modules.pop("defining")
