"""Scores that take long and no GPU: computed later, once an image, to the bits that they would have had at once."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cells import small_cell, train_cell
from mtlbench.benchmarks.tasks.depth_errors import DepthErrors
from mtlbench.benchmarks.tasks.edges import EdgeODS
from mtlbench.harness.cluster import attempt
from mtlbench.harness.data.copy import copy_of
from mtlbench.harness.data.loading import Evaluation, Scored, evaluation_batches, in_order
from mtlbench.harness.data.view import view_of
from mtlbench.harness.inspect.predict import load
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import Resources, make_benchmark
from mtlbench.harness.scoring import constant, expensive, per_image, statistics
from mtlbench.harness.scoring.protocol import conditions_of, protocol_of
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment

ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 4, "val": 2, "test": 5})
CELL = small_cell(tasks=("depth", "edge"), benchmark=ROOMS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rooms):
    """The files of a cell that has been trained."""
    folder = tmp_path_factory.mktemp("store")
    partial = train_cell(CELL, folder, rooms, validate_every=1)
    assert {score.task for score in partial.scores} == {"depth"}
    store = Store(folder)
    store.put_cell(CELL)
    return {name: store.get(name) for name in files(store)}


@pytest.fixture
def store(trained, tmp_path):
    place = Store(tmp_path / "store")
    for name, content in trained.items():
        place.put(name, content)
    return place


def files(store):
    return sorted(path.removeprefix(f"{store.root}/") for path in store.fs.find(store.root))


def test_a_metric_that_is_expensive_and_cannot_be_condensed_is_named():
    class Slow(DepthErrors):
        expensive = True

    benchmark = make_benchmark(ROOMS)
    task = replace(benchmark.tasks["depth"], metric=Slow())
    batch = Scored(torch.zeros(1, 3, 32, 64), ["a"], [0], {"depth": [([0], torch.ones(1, 1, 32, 64))]})
    with pytest.raises(ValueError, match="depth: the metric Slow is expensive and lacks condense or statistics_of"):
        statistics.collect(
            lambda image: {"depth": image[:, :1]}, [batch], {"depth": task}, view_of(ROOMS, benchmark),
            keep=lambda *_: None,
        )  # fmt: skip


def test_a_trained_cell_waits_for_its_scores_without_a_record_and_without_checkpoints(store):
    assert store.state(CELL.id) == "trained"
    assert store.record(CELL.id) is None
    folder = store.folder(CELL.id)
    kept = [f"{folder}/to_score/edge/{number:06d}.npz" for number in range(5)]
    assert [name for name in files(store) if "to_score" in name] == kept
    of_cell = [name for name in files(store) if not name.startswith("without_label/")]
    assert {name.removeprefix(folder) for name in of_cell if "to_score" not in name} == {
        "/cell.yaml", "/history.jsonl", "/model.safetensors", "/per_image.parquet", "/samples.npz", "/trained.json",
        "/usage.jsonl",
    }  # fmt: skip
    values = [json.loads(line)["name"] for line in store.get(f"{folder}/history.jsonl").decode().splitlines()]
    assert "val/depth/rmse" in values and not [name for name in values if name.startswith("val/edge")]


def test_the_scores_are_those_of_scoring_at_once(store, rooms):
    record = expensive.finish(store, CELL.id)
    benchmark, network = make_benchmark(ROOMS), load(store, CELL.id)
    tasks = {name: benchmark.tasks[name] for name in CELL.tasks}
    view, split = view_of(ROOMS, benchmark), benchmark.open(rooms, "test", CELL.tasks)
    rows = statistics.collect(
        lambda image: network(image.contiguous(memory_format=torch.channels_last)).final,
        evaluation_batches(Evaluation(split, tasks, view), in_order(range(len(split)), 2)),
        tasks,
        view,
    )
    assert record.scores == statistics.scores(rows, tasks, conditions_of(ROOMS, benchmark, 5))
    assert store.get(f"{store.folder(CELL.id)}/per_image.parquet") == per_image.encode(
        rows, tasks, conditions_of(ROOMS, benchmark, 5)
    )
    assert [score.task for score in record.scores if score.primary] == ["depth", "edge"]
    assert store.state(CELL.id) == "finished" and store.record(CELL.id) == record
    assert not [name for name in files(store) if "to_score" in name or "trained" in name]
    images = pq.read_table(store.path(f"{store.folder(CELL.id)}/per_image.parquet")).to_pandas()
    assert sorted(images[images.task == "edge"].image) == [f"test-{index:05d}" for index in range(5)]


def test_no_number_of_processes_moves_a_bit(store, trained, tmp_path):
    other = Store(tmp_path / "other")
    for name, content in trained.items():
        other.put(name, content)
    told = []
    one = expensive.finish(store, CELL.id)
    several = expensive.finish(other, CELL.id, 3, lambda done, images: told.append((done, images)))
    assert one == several
    assert {name: store.get(name) for name in files(store)} == {name: other.get(name) for name in files(other)}
    assert told == [(done, 5) for done in range(1, 6)]


class Killed(BaseException):
    """Stands in for a signal: nothing may catch it."""


def kill(done, images):
    if done == 3:
        raise Killed


def test_a_killed_scoring_goes_on_with_the_images_that_are_left(store, trained, tmp_path, monkeypatch):
    with pytest.raises(Killed):
        expensive.finish(store, CELL.id, report=kill)
    assert store.state(CELL.id) == "trained"
    computed, statistics_of = [], EdgeODS.statistics_of

    def counted(self, condensed):
        computed.append(condensed)
        return statistics_of(self, condensed)

    monkeypatch.setattr(EdgeODS, "statistics_of", counted)
    resumed = expensive.finish(store, CELL.id)
    assert len(computed) == 2
    other = Store(tmp_path / "other")
    for name, content in trained.items():
        other.put(name, content)
    assert resumed == expensive.finish(other, CELL.id)
    assert {name: store.get(name) for name in files(store)} == {name: other.get(name) for name in files(other)}


def test_what_other_code_computed_before_a_kill_is_computed_again(store, monkeypatch):
    with pytest.raises(Killed):
        expensive.finish(store, CELL.id, report=kill)
    computed, statistics_of = [], EdgeODS.statistics_of

    def counted(self, condensed):
        computed.append(condensed)
        return statistics_of(self, condensed)

    monkeypatch.setattr(EdgeODS, "statistics_of", counted)
    monkeypatch.setattr(expensive, "source_hash", lambda: "changed")
    expensive.finish(store, CELL.id)
    assert len(computed) == 5


def test_a_kill_between_the_last_image_and_the_record_counts_nothing_twice(store, monkeypatch):
    monkeypatch.setattr(Store, "put_record", lambda self, record: kill(3, 3))
    with pytest.raises(Killed):
        expensive.finish(store, CELL.id)
    once = store.get(f"{store.folder(CELL.id)}/per_image.parquet")
    monkeypatch.undo()
    expensive.finish(store, CELL.id)
    assert store.get(f"{store.folder(CELL.id)}/per_image.parquet") == once


def test_a_trained_cell_is_not_trained_again_and_a_scored_one_not_scored_again(store, monkeypatch):
    settings = Environment(store.url, {})  # without data: there is nothing to train
    assert attempt.attempt(CELL, settings, None)
    attempt.score(CELL.id, settings, lambda done, images: None)
    assert store.state(CELL.id) == "finished"
    monkeypatch.setattr(expensive, "finish", None)
    attempt.score(CELL.id, settings, lambda done, images: None)


def test_what_fails_in_scoring_is_said_and_the_next_try_needs_no_training(store):
    file = f"{store.folder(CELL.id)}/to_score/edge/000002.npz"
    whole = store.get(file)
    store.put(file, whole[:100])
    settings = Environment(store.url, {}, Resources(cpus=2))
    with pytest.raises(Exception, match="zip"):
        attempt.score(CELL.id, settings, lambda done, images: None)
    assert store.state(CELL.id) == "failed" and "zip" in store.failure(CELL.id)["error"]
    store.put(file, whole)
    attempt.score(CELL.id, settings, lambda done, images: None)
    assert store.state(CELL.id) == "finished" and store.failure(CELL.id) is None


class Deadly(EdgeODS):
    def __init__(self):
        super().__init__(0.1)

    def statistics_of(self, condensed):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_ends_the_scoring_instead_of_hanging_it():
    tasks = {"edge": replace(make_benchmark(ROOMS).tasks["edge"], metric=Deadly())}
    with pytest.raises(Exception, match="terminated abruptly"), expensive.Pool(tasks, 2, print) as pool:
        pool.add("edge", 0, "a", np.zeros(1, np.uint8))


def test_the_constant_prediction_is_scored_by_the_same_rules(rooms, store):
    found = constant.record(ROOMS, copy_of(ROOMS, rooms), CELL.tasks)
    ours = expensive.finish(store, CELL.id)
    assert [(s.task, s.metric, s.definition, s.protocol) for s in found.scores] == [
        (s.task, s.metric, s.definition, s.protocol) for s in ours.scores
    ]
    assert all(score.value is not None for score in found.scores)
    made = make_benchmark(ROOMS)
    ids = {constant.record_id(ROOMS, made, CELL.tasks), constant.record_id(ROOMS, made, ["depth"])}
    ids.add(constant.record_id(ROOMS.model_copy(update={"evaluate": "network"}), made, CELL.tasks))
    assert len(ids) == 3 and found.id in ids


@pytest.mark.parametrize("lost", ["to_score/edge/000001.npz", "to_score/edge", "to_score"])
def test_scores_of_fewer_images_than_were_trained_to_be_scored_are_refused(store, lost):
    assert store.trained(CELL.id).provenance["data"]["rows"] == {"depth": 5, "edge": 5}
    store.remove(f"{store.folder(CELL.id)}/{lost}")
    with pytest.raises(ValueError, match=rf"{CELL.id}: statistics of edge for \d images, and 5 were taken"):
        expensive.finish(store, CELL.id)
    assert store.state(CELL.id) == "trained"


def test_a_cell_of_an_older_version_that_does_not_say_how_many_is_scored(store):
    trained = store.trained(CELL.id)
    data = {key: value for key, value in trained.provenance["data"].items() if key != "rows"}
    store.put_trained(replace(trained, provenance={**trained.provenance, "data": data}))
    assert expensive.finish(store, CELL.id).primary()["edge"].value is not None


def test_a_cell_that_was_not_trained_cannot_be_scored(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no trained\.json: the cell is not trained yet"):
        expensive.finish(Store(tmp_path), CELL.id)


def test_no_two_cells_share_a_protocol_unless_they_are_scored_alike(store):
    record = expensive.finish(store, CELL.id)
    benchmark = make_benchmark(ROOMS)
    edge = benchmark.tasks["edge"]
    (odsf, oisf) = [score for score in record.scores if score.task == "edge"]
    assert odsf.protocol == oisf.protocol == protocol_of(edge, conditions_of(ROOMS, benchmark, 5))
    wider = replace(edge, metric=EdgeODS(0.02))
    assert protocol_of(wider, conditions_of(ROOMS, benchmark, 5)) != odsf.protocol
