"""Whether one node reaches another at a port that nobody has named."""

import socket
from contextlib import closing

from mtlbench.harness.cluster.nodes import reaching
from mtlbench.harness.cluster.nodes.reaching import Door


def test_a_node_names_the_nodes_that_it_does_not_reach_and_no_other():
    with socket.create_server(("127.0.0.3", 0)) as closed:
        port = closed.getsockname()[1]
    with closing(Door("127.0.0.1")) as one, closing(Door("127.0.0.2")) as other:
        assert one.knock([("127.0.0.2", other.port())]) == []
        (line,) = one.knock([("127.0.0.2", other.port()), ("127.0.0.3", port)])
    assert line.startswith(f"node 127.0.0.1: it does not reach node 127.0.0.3 at port {port} ([Errno 111] Connection r")
    assert line.endswith("); open all ports between the nodes, or set resources.workers to 1")


def test_a_packet_that_nobody_answers_is_waited_for_some_seconds(monkeypatch):
    def silent(door, timeout):
        assert timeout == reaching.KNOCK
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silent)
    with closing(Door("127.0.0.1")) as door:
        (line,) = door.knock([("127.0.0.2", 9)])
    assert "node 127.0.0.2 at port 9 (timed out)" in line
