"""Each addition of CONTRIBUTING.md's table, made by a module outside of the package, trained once and looked at."""

import inspect
import json
import re
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import additions
from in_process import InTurn, Tracked
from mtlbench import methods
from mtlbench.harness.data import places
from mtlbench.harness.data.view import view_of
from mtlbench.harness.driver import run as driver
from mtlbench.harness.driver.work import stale
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import check
from mtlbench.harness.store.store import Store
from mtlbench.results.report.drawing.figures import FIGURES
from mtlbench.results.report.write import report
from paths import ROOT

MATRIX = {
    "name": "additions",
    "benchmark": {"name": "additions:Squares", "protocol": "mirrored"},
    "backbone": {"name": "additions:Pyramid", "bn_momentum": 0.1},
    "methods": [{"name": "single_task"}, {"name": "additions:Plain", "label": "Plain", "options": {"scale": 2.0}}],
    "train": {
        "epochs": 2, "batch": 2, "lr": 1e-3, "optimizer": "additions:Signs", "schedule": "additions:warm_up",
    },
}  # fmt: skip


class Trained(NamedTuple):
    matrix: object
    store: Store
    cell: object  # of the method from outside
    record: object
    out: Path
    said: str

    def folder(self, name):
        return Path(self.store.path(f"cells/{self.cell.id}/{name}"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The matrix above, run to its end with the data in their default place."""
    folder = tmp_path_factory.mktemp("additions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTLBENCH_CACHE", str(folder / "cache"))
        patch.setattr(driver, "Tracker", Tracked)
        matrix, store, said = check(dict(MATRIX), "here"), Store(folder / "store"), StringIO()
        request = driver.Request(matrix, places.roots(matrix, []), folder / "out")
        outcome = driver.run(request, store, InTurn, Console(file=said, width=200))
    assert outcome.missing == [], outcome.failures
    cell = next(item.cell for item in expand(matrix) if item.entry.label == "Plain")
    return Trained(matrix, store, cell, store.record(cell.id), folder / "out" / "additions", said.getvalue())


def moved(trained):
    """How far the trained weights lie from where their seed put them."""
    targets, seed = {"height": methods.Target(1, 1)}, trained.cell.seed
    first = methods.build("additions:Plain", targets, backbone="additions:Pyramid", seed=seed, scale=2.0)
    last = load_file(trained.folder("model.safetensors"))
    return torch.cat([(last[name] - value.detach()).flatten() for name, value in first.named_parameters()])


def table(trained):
    return (trained.out / "table.md").read_text()


@pytest.mark.slow
def test_method(trained):
    assert trained.cell.id.startswith("Squares-Plain-height-s0-")
    assert trained.record.cell["options"] == {"scale": 2.0}
    assert "| Plain " in table(trained)
    assert not stale(trained.record) and trained.record.provenance["plugin"]


def test_backbone(trained):
    expected = sum(parameter.numel() for parameter in additions.Pyramid().parameters())
    assert trained.record.cost["backbone_parameters"] == expected
    assert "backbone.network.stem.0.weight" in load_file(trained.folder("model.safetensors"))


def test_benchmark(trained):
    assert trained.record.provenance["data"]["images"] == [4, 2]
    written = [path.name for path in trained.out.rglob("*") if path.is_file()]
    assert "Squares-height-learning.png" in written
    everything = [*Path(trained.store.url).rglob("*"), *trained.out.rglob("*")]
    assert all(":" not in path.name for path in everything)
    assert places.roots(trained.matrix, [])["additions:Squares"].name == "Squares"


def test_task(trained):
    lines = [json.loads(line) for line in trained.folder("history.jsonl").read_text().splitlines()]
    losses = [line["value"] for line in lines if line["name"] == "train/loss/height"]
    assert len(losses) == 2 and all(0 < loss < 10 for loss in losses)


def test_metric(trained):
    (score,) = trained.record.scores
    assert (score.task, score.metric, score.primary) == ("height", "gap", True)
    assert 0 < score.value < 10
    assert "mean gap [mm] ↓" in table(trained) and f"{score.value:.1f}" in table(trained)


def test_optimiser(trained):
    """Two steps of half the rate, then two of the whole: every move is a sum of these, with signs."""
    rate = trained.cell.train.lr
    halves = moved(trained) / (rate / 2)
    assert halves.abs().max() <= 1 + 1 + 2 + 2 + 0.01
    assert (halves - halves.round()).abs().max() < 0.01 and halves.abs().max() > 0.9


def test_schedule(trained):
    lines = [json.loads(line) for line in trained.folder("history.jsonl").read_text().splitlines()]
    rates = [line["value"] for line in lines if line["name"] == "train/lr"]
    assert rates == pytest.approx([0.5e-3, 1e-3])


def test_augmentation_protocol(trained):
    config = trained.cell.benchmark
    assert view_of(config, make_benchmark(config)).augmentation.flip == 1.0
    assert trained.record.cell["benchmark"]["protocol"] == "mirrored"


@pytest.mark.slow
def test_figure(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(FIGURES, "spread", additions.spread)
    report(trained.store.url, ["additions"], tmp_path)
    assert (tmp_path / "additions" / "figures" / "Squares-height-spread.png").stat().st_size > 0
    assert "The parameters of each row." in (tmp_path / "additions" / "report.html").read_text()


def table_of_additions():
    """The rows of CONTRIBUTING.md's table: what is added, in the package, outside, and the name of its test."""
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add something")[2].partition("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def test_every_row_of_the_table_has_its_test_and_every_test_its_row():
    tests = [cells[-1].strip("`") for cells in table_of_additions()]
    assert tests == [f"test_{name.replace(' ', '_')}" for name, *_ in table_of_additions()]
    of_the_example = [
        name
        for name, made in globals().items()
        if name.startswith("test_") and "trained" in inspect.signature(made).parameters
    ]
    assert tests == of_the_example


@pytest.mark.parametrize("row", table_of_additions(), ids=lambda row: row[0])
def test_what_a_row_names_is_there(row):
    for place in re.findall(r"`([a-z_/]+(?:/|\.py))`", " ".join(row)):
        assert (ROOT / place).exists(), f"{place} of the row {row[0]}"
    for table, place in re.findall(r"`([A-Z_]+)` of `([a-z_/]+\.py)`", row[1]):
        assert re.search(rf"^{table}\b.*= {{", (ROOT / place).read_text(), re.M), f"{table} is not in {place}"
