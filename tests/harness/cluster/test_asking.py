"""What a node says of itself, and the lines for what keeps it from training what the driver's machine trains."""

import hashlib
import importlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from cells import ROOMS
from mtlbench.harness.cluster.nodes import asking, closed
from mtlbench.harness.cluster.nodes.asking import Facts, Question, differences, facts, remembered
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.store.store import Store

HERE = Facts(
    {"python": "3.11", "torch": "2.14", "mtlbench": "abc"},
    {"nyud": "f00d"},
    [],
    {"/w.safetensors": "cafe", "mine:Mine": "fee"},
    0,
)


def question(store, **changes):
    plain = Question(str(store), "sign", data=[], folders=[], weights={}, outside=[])
    return plain._replace(**changes)


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
        (
            HERE._replace(files={**HERE.files, "/w.safetensors": "beef"}),
            "its /w.safetensors is another one (hash beef, the driver's cafe); copy the driver's",
        ),
        (
            HERE._replace(files={**HERE.files, "mine:Mine": "mine:Mine cannot be read (ValueError: no module)"}),
            "mine:Mine cannot be read (ValueError: no module)",
        ),
    ],
)
def test_each_difference_is_a_line(there, line):
    (found,) = differences(HERE, there)
    assert found.startswith(line)


def test_a_machine_that_shares_the_store_says_so_by_a_file_of_its_own(tmp_path):
    asked = question(tmp_path)
    store = Store(tmp_path)
    store.put(asked.sign, b"1")
    found = facts(asked, "answer")
    assert found.problems == [] and store.exists("answer")
    assert found.versions["mtlbench"] and found.versions["torch"]


def test_another_store_under_the_same_path_is_told(tmp_path):
    (problem,) = facts(question(tmp_path), "x").problems
    assert problem.startswith(f"{tmp_path} is not the driver's: a file that the driver wrote is not there")


def test_a_store_whose_file_system_is_not_installed_is_told():
    (problem,) = facts(question("nosuch://bucket/x"), "x").problems
    assert problem.startswith("the store nosuch://bucket/x cannot be used (")


def test_data_that_are_missing_and_a_full_disk_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "LEAST_DISK", 2**60)
    config = ROOMS.model_copy(update={"name": "nyud", "options": {}})
    asked = question(tmp_path, data=[(config, tmp_path / "none")])
    Store(tmp_path).put(asked.sign, b"1")
    found = facts(asked, "x")
    assert found.data["nyud"].startswith(f"{tmp_path / 'none'} cannot be read (")
    assert len(found.problems) == 1 and "GiB left" in found.problems[0]


def test_weights_and_plug_ins_are_known_by_their_content_and_what_is_missing_is_told(tmp_path, monkeypatch):
    Store(tmp_path).put("sign", b"1")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, text in ((here, "class Mine: ..."), (there, "class Mine: pass")):
        folder.mkdir()
        (folder / "brought.py").write_text(text)
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"weights")
    wanted = {"weights": {"sha256:x": str(file)}, "outside": ["brought:Mine", "torch.optim:Adam", "nosuch:Thing"]}

    def found(folder):
        monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
        found = facts(question(tmp_path, **wanted), "x").files
        monkeypatch.undo()
        sys.modules.pop("brought", None)
        importlib.invalidate_caches()
        return found

    ours = found(here)
    assert ours["torch.optim:Adam"] == "library" and ours[str(file)] == hashlib.sha256(b"weights").hexdigest()[:12]
    assert ours["nosuch:Thing"].startswith("nosuch:Thing cannot be read (ValueError: plug-in 'nosuch:Thing' cannot be")
    assert found(here) == ours
    file.unlink()
    others = found(there)
    assert others["brought:Mine"] != ours["brought:Mine"] and " " not in others["brought:Mine"]
    assert others[str(file)].startswith(f"{file} cannot be read (FileNotFoundError: ")


@pytest.mark.parametrize(("priority", "told"), [(0, False), (15, True)])
def test_a_node_whose_processes_are_nice_is_warned_of_and_not_refused(tmp_path, monkeypatch, caplog, priority, told):
    node = {"NodeID": "a", "NodeManagerAddress": "10.0.0.1"}
    monkeypatch.setattr(asking, "holding", lambda: [node])
    monkeypatch.setattr(asking.ray, "remote", lambda **_: lambda _: SimpleNamespace(remote=lambda *asked: asked))
    monkeypatch.setattr(asking, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
    monkeypatch.setattr(asking, "_answer", lambda asked, patience: facts(*asked)._replace(priority=priority))
    Store(tmp_path).put("sign", b"1")
    asked, problems = asking.ask(question(tmp_path))
    assert asked.fit == {"a"} and problems == []
    assert ("warning: node 10.0.0.1: processes run at niceness 15" in caplog.text) == told


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
    asked, found = asking.ask(question(tmp_path))
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
