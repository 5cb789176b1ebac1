"""A cluster of real nodes: processes of a cell find each other, and nodes and the head may be lost."""

import contextlib
import json
import time
from dataclasses import replace

import pytest

from cells import matrix_file, small_matrix
from kills import left_over, numbers
from mtlbench.harness.store.store import Store
from nodes import HEAD, NETWORK, OWN_PROCESSES, PORT, Nodes, possible

pytestmark = [
    pytest.mark.drill,
    pytest.mark.usefixtures("in_turn"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(not possible(), reason="network namespaces need root and the command ip"),
]
ADDRESS = f"{HEAD}:{PORT}"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A function that makes so many nodes, of which the first two have started; drivers have their token."""

    @contextlib.contextmanager
    def made(count):
        with Nodes(tmp_path, count) as nodes:
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(nodes.token))
            nodes.start(1)
            nodes.start(2)
            nodes.ready(2)
            yield nodes

    return made


def waiting(marker, label):
    return {"name": "plugin:Waits", "label": label, "options": {"marker": str(marker)}}


def wait_for(condition, running, seconds=400):
    """Wait for what a run does. A run that ends before, or takes too long, is ended, and what it said is shown."""
    end = time.monotonic() + seconds
    while not condition():
        if running.poll() is not None or time.monotonic() > end:
            running.terminate()
            pytest.fail(f"it ended with {running.poll()} or took too long: {running.communicate(timeout=60)[0]}")
        time.sleep(0.5)


def begun(store):
    """How many cells wait in the middle of their training."""
    return sum(1 for _ in store.glob("cells/*/checkpoints/*"))


def finished(folder):
    store = Store(folder)
    return [store.state(cell_id) for cell_id in store.cells()]


def test_processes_on_two_nodes_a_node_without_the_store_and_the_loss_of_a_node(
    commands, cluster, go, tmp_path, monkeypatch
):
    with cluster(3) as nodes:
        head = replace(commands, before=nodes.on(1), first=OWN_PROCESSES)

        # A driver with another token than the cluster's is refused in one line.
        other = tmp_path / "other token"
        other.write_text("b" * 64)
        with monkeypatch.context() as changed:
            changed.setenv("RAY_AUTH_TOKEN_PATH", str(other))
            driver = head.start("run", matrix_file(tmp_path, "refused"), "--store", "refused", "--address", ADDRESS)
        said = ""
        while "starting Ray" not in said:
            line = driver.stdout.readline()
            assert line, said
            said += line
        asked = time.monotonic()
        said += driver.communicate(timeout=200)[0]
        assert driver.returncode == 2 and time.monotonic() - asked < 60, said
        assert "refuses our token; give the token of its head" in said.strip().splitlines()[-1]
        assert "Traceback" not in said

        # The host name of each node is mapped to 127.0.1.1, and yet the two processes of a cell find each other.
        multi_task = [{"name": "multi_task", "label": "Multi-task"}]
        file = matrix_file(tmp_path, "two", methods=multi_task, baseline="Multi-task", resources={"workers": 2})
        done = head.run("run", file, "--store", "two", "--address", ADDRESS)
        assert done.returncode == 0, done.stdout + done.stderr
        (cell_id,) = Store(tmp_path / "two").cells()
        assert Store(tmp_path / "two").record(cell_id).provenance["processes"] == 2

        # Of two nodes that do not reach each other, both are named where a cell may be on both.
        nodes.start(3)
        nodes.ready(3)
        nodes.part(2, 3)
        done = head.run("doctor", file, "--store", "two", "--address", ADDRESS)
        assert done.returncode == 2, done.stdout + done.stderr
        for one, other in ((2, 3), (3, 2)):
            line = f"node {NETWORK}.{one}: it does not reach node {NETWORK}.{other} at port "
            assert done.stderr.count(line) == 1, done.stderr
        assert done.stderr.count("it does not reach node") == 2, done.stderr
        nodes.kill(3)
        nodes.ready(2)

        # A node that does not see the store is named before any cell starts.
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        nodes.kill(2)
        nodes.ready(1)
        nodes.start(2, hiding=hidden)
        nodes.ready(2)
        done = head.run("run", file, "--store", "hidden/s", "--address", ADDRESS)
        assert done.returncode == 2, done.stdout + done.stderr
        assert f"node {NETWORK}.2: " in done.stderr and "is not the driver's" in done.stderr, done.stderr
        assert f"node {NETWORK}.1: " not in done.stderr and "Traceback" not in done.stderr
        assert not list(hidden.glob("s/.probe*")) and not list(hidden.glob("s/cells/*/failure.json"))
        nodes.kill(2)
        nodes.ready(1)
        nodes.start(2)
        nodes.ready(2)

        # A node is lost in the middle of a cell. One joins that does not see the store and gets no cells, then another.
        marker = tmp_path / "go on"
        methods = [waiting(marker, "One"), waiting(marker, "Other")]
        methods[1]["train"] = {"lr": 2e-3}
        train = {"epochs": 2, "batch": 2}
        file = matrix_file(tmp_path, "lost", methods=methods, baseline="One", train=train)
        running = head.start("run", file, "--store", "lost", "--address", ADDRESS)
        wait_for(lambda: begun(tmp_path / "lost") == 2, running)
        nodes.kill(2)
        nodes.start(3, hiding=tmp_path / "lost")
        said = ""
        while "gets no cells" not in said:
            line = running.stdout.readline()
            assert line, said
            said += line
        nodes.start(2)
        nodes.ready(3)
        marker.touch()
        said += running.communicate(timeout=400)[0]
        assert running.returncode == 0, said
        assert said.count("failed, trying again from its last checkpoint: its node d") == 1, said
        assert f"warning: node {NETWORK}.3 gets no cells: {tmp_path / 'lost'} is not the driver's" in said
        assert "Traceback" not in said and "raylet" not in said
        status = head.run("status", file, "--store", "lost", "--json")
        assert {row["state"] for row in json.loads(status.stdout)} == {"finished"}
        assert "goes on after epoch 1/2" in said  # no more than an epoch is trained twice
    go(small_matrix(methods=methods, baseline="One", train=train))  # undisturbed
    assert numbers(tmp_path / "lost") == numbers(tmp_path / "s")


def test_a_new_head_goes_on_after_the_loss_of_the_head(commands, cluster, go, tmp_path):
    marker, train = tmp_path / "go on", {"epochs": 2, "batch": 2}
    changes = {"methods": [waiting(marker, "One")], "baseline": "One", "train": train}
    with cluster(2) as nodes:
        head, second = (replace(commands, before=nodes.on(node), first=OWN_PROCESSES) for node in (1, 2))
        file = matrix_file(tmp_path, "headless", **changes)
        running = second.start("run", file, "--store", "headless", "--address", ADDRESS)
        wait_for(lambda: begun(tmp_path / "headless") == 1, running)
        nodes.kill(1)
        said, _ = running.communicate(timeout=200)
        assert running.returncode == 1
        line = (
            f"mtlbench: the head of the Ray cluster, {ADDRESS}, has not answered for 30 s; start a head anew and give"
        )
        assert line in said and "Traceback" not in said and "Check failed" not in said, said
        nodes.kill(2)
        marker.touch()
        nodes.start(1)
        nodes.ready(1)
        done = head.run("run", file, "--store", "headless", "--address", ADDRESS)
        assert done.returncode == 0, done.stdout + done.stderr
        assert finished(tmp_path / "headless") == ["finished"]
    go(small_matrix(**changes))  # undisturbed
    assert numbers(tmp_path / "headless") == numbers(tmp_path / "s")


def test_a_driver_whose_own_raylet_dies_waits_for_another_or_ends_in_one_line(commands, cluster, go, tmp_path):
    marker, train = tmp_path / "go on", {"epochs": 2, "batch": 2}
    methods = [waiting(marker, "One"), waiting(marker, "Other")]
    methods[1]["train"] = {"lr": 2e-3}
    changes = {"methods": methods, "baseline": "One", "train": train}
    died = "Ray's process raylet on this machine has died or was killed"
    with cluster(2) as nodes:
        second = replace(commands, before=nodes.on(2), first=OWN_PROCESSES)
        command = ("run", matrix_file(tmp_path, "lone", **changes), "--store", "lone", "--address", ADDRESS)

        # No other raylet starts on the machine of the driver.
        driver = second.start(*command)
        wait_for(lambda: begun(tmp_path / "lone") == 2, driver)
        nodes.kill_raylet(2)
        killed = time.monotonic()
        said, _ = driver.communicate(timeout=200)
        assert driver.returncode == 1 and time.monotonic() - killed < 60, said
        line = (
            f"stopped  {died}; no raylet has run on this machine for 30 s; make it a node of the cluster "
            f"(ray start --address={ADDRESS}), and give the same command"
        )
        assert line in said.splitlines(), said
        assert "Traceback" not in said and "core_worker" not in said and "Check failed" not in said, said
        assert not list((tmp_path / "lone" / "lease").iterdir())
        assert set(finished(tmp_path / "lone")) == {"started"}

        # The same command goes on. Another raylet starts this time, after the driver has lost the first one.
        nodes.restart(2)
        nodes.ready(2)
        driver, said = second.start(*command), ""
        while said.count(": started") < 2:
            line = driver.stdout.readline()
            assert line, said
            said += line
        nodes.kill_raylet(2)
        nodes.restart(2)
        marker.touch()
        said += driver.communicate(timeout=400)[0]
        assert driver.returncode == 0 and f"trying again from its last checkpoint: {died}" in said, said
        assert "Traceback" not in said and "core_worker" not in said, said
    assert not left_over(tmp_path / "lone")
    go(small_matrix(**changes))  # undisturbed
    assert numbers(tmp_path / "lone") == numbers(tmp_path / "s")
