"""Nodes that joined late and cannot run cells are closed: something that does nothing takes the place of each cell."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mtlbench.harness.cluster.group import of_a_process
from mtlbench.harness.matrix.entries import Resources


class Keeper:
    """Takes the place of a cell on a node, for as long as the driver holds it."""


class Closed:
    """The nodes that are closed. They are open again when the driver ends."""

    def __init__(self, resources: Resources) -> None:
        self.process = of_a_process(resources)
        self.keepers: dict[str, list[Any]] = {}  # by node

    def close(self, node_id: str) -> str:
        """Close a node, if it is not closed yet. Returns its address, or its id where Ray no longer knows the node."""
        node = next((node for node in ray.nodes() if node["NodeID"] == node_id), None)
        if node is None:
            return node_id
        if node_id not in self.keepers:
            places = min(int(node["Resources"].get(kind, 0) // amount) for kind, amount in self.process.items())
            keeper = ray.remote(
                num_cpus=self.process["CPU"],
                num_gpus=self.process.get("GPU", 0),
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
            )(Keeper)
            self.keepers[node_id] = [keeper.remote() for _ in range(places)]
        return str(node["NodeManagerAddress"])
