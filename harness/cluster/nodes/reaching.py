"""Whether nodes reach each other, as the processes of one cell must, which may be on any of them.

Ray needs a few ports that an operator can name. Gloo and NCCL take any that are free, which a firewall between two
nodes may close: the cell would wait for minutes and fail.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mtlbench.harness.cluster.attempt import first_line
from mtlbench.harness.cluster.nodes.asking import holding

PATIENCE = 60.0  # seconds for each of the two rounds: all doors are opened, then all nodes knock
KNOCK = 5.0  # seconds that a connection may take
WAY_OUT = "open all ports between the nodes, or set resources.workers to 1"


class Door:
    """Knows whether other nodes answer, and answers them, on a node."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.listening = address, socket.create_server((address, 0), family=family)

    def close(self) -> None:
        self.listening.close()

    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def knock(self, doors: Sequence[tuple[str, int]]) -> list[str]:
        """A line for each door, given as address and port, that this node does not reach."""
        with ThreadPoolExecutor(max_workers=32) as pool:
            return [line for line in pool.map(self._knock, doors) if line]

    def _knock(self, door: tuple[str, int]) -> str:
        address, port = door
        try:
            socket.create_connection(door, timeout=KNOCK).close()
        except OSError as error:
            why = first_line(str(error)) or type(error).__name__
            return f"node {self.address}: it does not reach node {address} at port {port} ({why}); {WAY_OUT}"
        return ""


def unreached(fit: Collection[str], patience: float = PATIENCE) -> list[str]:
    """A line for each node that another one does not reach. fit: ids of the nodes that are asked."""
    doors: dict[str, Any] = {}  # by the address of a node
    for node in holding():
        if node["NodeID"] in fit:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            actor = ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=where)(Door)
            doors[node["NodeManagerAddress"]] = actor.remote(node["NodeManagerAddress"])
    if len(doors) < 2:
        return []
    ports, problems = _answers({address: door.port.remote() for address, door in doors.items()}, patience)
    knocks = {
        address: doors[address].knock.remote([other for other in ports.items() if other[0] != address])
        for address in ports
    }
    lines, more = _answers(knocks, patience)
    return [*problems, *more, *(line for each in lines.values() for line in each)]


def _answers(asked: Mapping[str, Any], patience: float) -> tuple[dict[str, Any], list[str]]:
    """What nodes answer, by address, and a line for each that does not. One that has left meanwhile has no line."""
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=patience)
    found, problems = {}, []
    for address, answer in asked.items():
        try:
            found[address] = ray.get(answer, timeout=0.1)
        except RayError as error:
            cause = getattr(error, "cause", None) or error
            if address in {node["NodeManagerAddress"] for node in holding()}:
                why = f"{type(cause).__name__}: {first_line(str(cause))}"
                problems.append(f"node {address}: it cannot say whether it reaches other nodes ({why})")
    return found, problems
