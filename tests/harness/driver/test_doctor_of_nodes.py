"""`mtlbench doctor` says what would keep a matrix from running, and leaves nothing behind."""

import pytest

from cells import matrix_file
from command import invoke
from in_process import InTurn
from mtlbench.harness.cli import run as commands
from mtlbench.harness.cluster.scheduler import Cluster
from mtlbench.harness.data.places import NotReady
from mtlbench.harness.driver import preflight
from mtlbench.harness.driver.doctor import examine
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.matrix.file import read
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files


class OfNodes(InTurn):
    """Two nodes, which say what a test wants."""

    def __init__(self, *said, cluster=None):
        nodes = [{"CPU": 2.0, "node:10.0.0.1": 1.0, "node:__internal_head__": 1.0}, {"node:10.0.0.2": 1.0}]
        self.cluster = cluster or Cluster({"CPU": 2.0}, nodes)
        self.said = list(said)

    def join(self):
        return self.cluster

    def ask(self, environment, cells, sign):
        self.saw = Store(environment.store).exists(sign)
        return self.said

    def leave(self):
        self.left = True


@pytest.fixture
def matrix(tmp_path):
    return read(str(matrix_file(tmp_path, "small", methods=[{"name": "multi_task", "label": "M"}], baseline="M")))


def test_nodes_that_can_run_cells_are_listed_and_no_probe_is_left(matrix, tmp_path):
    nodes, store = OfNodes(), Store(tmp_path / "s")
    health = examine(matrix, store, [], nodes)
    assert health.problems == [] and nodes.saw and nodes.left
    assert health.well[-2:] == ["node 10.0.0.1: 2 CPUs", "node 10.0.0.2: no CPU for cells"]
    assert not list((tmp_path / "s").glob(f"{files.PROBE}*"))


def test_what_a_node_says_is_a_problem(matrix, tmp_path):
    assert examine(matrix, Store(tmp_path / "s"), [], OfNodes("node x: no")).problems == ["node x: no"]


def test_no_cluster_is_one_line(matrix, tmp_path):
    class Nowhere(InTurn):
        def join(self):
            raise ConnectionError("no Ray cluster at x")

    with pytest.raises(NotReady, match="no Ray cluster at x"):
        examine(matrix, Store(tmp_path / "s"), [], Nowhere())


def test_a_cluster_without_cpus_is_refused_unless_it_grows(matrix, tmp_path):
    empty = Cluster({}, [{"node:10.0.0.1": 1.0}])
    (problem,) = examine(matrix, Store(tmp_path / "s"), [], OfNodes(cluster=empty)).problems
    assert "--autoscaled" in problem
    growing = OfNodes(cluster=empty._replace(grows=True))
    assert examine(matrix, Store(tmp_path / "s"), [], growing).problems == []
    assert preflight.feasible(Resources(), {}, []) == [problem]


def test_the_way_out_that_a_refusal_names_is_an_option_of_the_command(tmp_path, monkeypatch):
    def on_ray(address, autoscaled):
        assert address == "10.0.0.1:6379"
        return OfNodes(cluster=Cluster({}, [{"node:10.0.0.1": 1.0}], grows=autoscaled))

    monkeypatch.setattr(commands, "_on_ray", on_ray)
    file = matrix_file(tmp_path, "small", methods=[{"name": "multi_task", "label": "M"}], baseline="M")
    words = ["doctor", file, "--store", tmp_path / "s", "--address", "10.0.0.1:6379"]
    refused = invoke(*words)
    assert refused.exit_code == 2 and "give --autoscaled" in refused.stderr
    accepted = invoke(*words, "--autoscaled")
    assert accepted.exit_code == 0 and "nothing keeps small from running" in accepted.stdout
