"""What a node says of itself, and the lines for what keeps it from training what the driver's machine trains."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from cells import ROOMS
from mtlbench.harness.cluster.nodes import asking, closed
from mtlbench.harness.cluster.nodes.asking import Facts, Question, differences, facts, remembered
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store.store import Store

HERE = Facts({"python": "3.11", "torch": "2.14", "mtlbench": "abc"}, {"nyud": "f00d"}, [])


def test_a_node_as_the_drivers_machine_has_no_line():
    assert differences(HERE, HERE) == []


@pytest.mark.parametrize(
    ("there", "line"),
    [
        (HERE._replace(versions={**HERE.versions, "torch": "2.13"}), "it has torch 2.13, and the driver 2.14; install"),
        (HERE._replace(versions={**HERE.versions, "mtlbench": "x"}), "it has source of mtlbench x, and the driver abc"),
        (HERE._replace(data={"nyud": "beef"}), "its copy of nyud is another one (fingerprint beef, the driver's f00d)"),
        (HERE._replace(data={"nyud": "/d cannot be read (OSError: x)"}), "/d cannot be read (OSError: x)"),
        (HERE._replace(problems=["no disk"]), "no disk"),
    ],
)
def test_each_difference_is_a_line(there, line):
    (found,) = differences(HERE, there)
    assert found.startswith(line)


def test_a_machine_that_shares_the_store_says_so_by_a_file_of_its_own(tmp_path):
    asked = Question(str(tmp_path), "sign", [], [])
    store = Store(tmp_path)
    store.put(asked.sign, b"1")
    found = facts(asked, "answer")
    assert found.problems == [] and store.exists("answer")
    assert found.versions["mtlbench"] and found.versions["torch"]


def test_another_store_under_the_same_path_is_told(tmp_path):
    (problem,) = facts(Question(str(tmp_path), "sign", [], []), "x").problems
    assert problem.startswith(f"{tmp_path} is not the driver's: a file that the driver wrote is not there")


def test_a_store_whose_file_system_is_not_installed_is_told():
    (problem,) = facts(Question("nosuch://bucket/x", "sign", [], []), "x").problems
    assert problem.startswith("the store nosuch://bucket/x cannot be used (")


def test_data_that_are_missing_and_a_full_disk_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "LEAST_DISK", 2**60)
    config = ROOMS.model_copy(update={"name": "nyud", "options": {}})
    asked = Question(str(tmp_path), "sign", [(config, tmp_path / "none")], [])
    Store(tmp_path).put(asked.sign, b"1")
    found = facts(asked, "x")
    assert found.data["nyud"].startswith(f"{tmp_path / 'none'} cannot be read (")
    assert len(found.problems) == 1 and "GiB left" in found.problems[0]


@pytest.mark.parametrize(("left", "lines"), [([], ["node 10.0.0.2: it cannot answer"]), (["b"], [])])
def test_a_node_that_leaves_while_it_is_asked_keeps_nothing_from_running(tmp_path, monkeypatch, left, lines):
    nodes = [{"NodeID": name, "NodeManagerAddress": f"10.0.0.{place}"} for place, name in enumerate("ab", start=1)]
    seen = iter([nodes, [node for node in nodes if node["NodeID"] not in left]])
    monkeypatch.setattr(asking, "holding", lambda: next(seen))
    monkeypatch.setattr(asking.ray, "remote", lambda **_: lambda _: SimpleNamespace(remote=lambda *asked: asked))
    monkeypatch.setattr(asking, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
    answers = iter([lambda asked: facts(*asked), lambda _: "it cannot answer"])
    monkeypatch.setattr(asking, "_answer", lambda asked, patience: next(answers)(asked))
    Store(tmp_path).put("sign", b"1")
    asked, found = asking.ask(Question(str(tmp_path), "sign", [], []))
    assert asked.fit == {"a"} and found == lines
    assert not list(tmp_path.glob(".probe*"))


def test_a_node_that_has_left_before_it_could_be_closed_ends_nothing(monkeypatch):
    monkeypatch.setattr(closed.ray, "nodes", lambda: [{"NodeID": "other"}])
    assert closed.Closed(Resources()).close("gone") == "gone"


def test_a_node_that_joined_late_is_asked_once_for_all_of_its_cells(tmp_path):
    file, asked = tmp_path / "answer", []

    def ask():
        asked.append(time.sleep(0.1))
        return ["no data"]

    with ThreadPoolExecutor(4) as cells:
        answers = list(cells.map(lambda _: remembered(file, ask), range(4)))
    assert answers == [["no data"]] * 4 and len(asked) == 1
    file.write_text('["no')  # by a process that was killed
    assert remembered(file, list) == [] and remembered(file, ask) == []
