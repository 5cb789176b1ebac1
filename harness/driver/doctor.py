"""What would keep a matrix from running: the command `mtlbench doctor`. No cell starts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from mtlbench.harness.cluster.scheduler import Scheduler
from mtlbench.harness.data.places import NotReady
from mtlbench.harness.driver import preflight
from mtlbench.harness.driver.run import cannot_run
from mtlbench.harness.driver.standing import recorded
from mtlbench.harness.driver.work import survey
from mtlbench.harness.matrix import weights
from mtlbench.harness.matrix.entries import Matrix
from mtlbench.harness.store.store import Store
from mtlbench.harness.training.environment import Environment
from mtlbench.results.records import files


class Health(NamedTuple):
    """What was looked at and is well, and what is not, each with the way out."""

    well: list[str]
    problems: list[str]


def examine(matrix: Matrix, store: Store, data: Sequence[str], scheduler: Scheduler | None) -> Health:
    """Look at this machine and, with a scheduler, at every node of its cluster.

    data: NAME=PATH. Raises StoreError for a store that cannot be used.
    """
    store.probe()
    planned, _ = survey(matrix, recorded(store, {}))
    cells = list({item.cell.id: item.cell for item in planned}.values())
    folders, problems = preflight.missing(matrix, cells, data, alone=scheduler is None)
    well = [f"store {store.url}: can be written to"]
    well += [f"{name}: {folder}" for name, folder in folders.items()]
    if scheduler is None or problems:
        return Health(well, problems)
    sign = f"{files.PROBE}{uuid.uuid4().hex[:8]}"
    try:
        cluster = scheduler.join()
    except ConnectionError as error:
        raise NotReady([str(error)]) from error
    try:
        store.put(sign, b"doctor")
        environment = Environment(store.url, folders, matrix.resources, weights=weights.files(matrix.backbone))
        problems = cannot_run(scheduler, cluster, environment, planned, sign)
        for node in cluster.nodes:
            has = ", ".join(f"{node[kind]:g} {kind}s" for kind in ("CPU", "GPU") if node.get(kind))
            well.append(f"node {_address(node)}: {has or 'no CPU for cells'}")
    finally:
        store.remove(sign)
        scheduler.leave()
    return Health(well, problems)


def _address(node: dict[str, float]) -> str:
    """Of a node; Ray names it among the resources of the node."""
    return next(name.removeprefix("node:") for name in node if name.startswith("node:") and "__" not in name)
