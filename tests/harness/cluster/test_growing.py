"""A cluster without workers: it is asked for all that is left to do, and what it then adds is used at once."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from cells import matrix_file
from nodes import HEAD, OWN_PROCESSES, PORT, Nodes, possible

pytestmark = [
    pytest.mark.drill,
    pytest.mark.usefixtures("in_turn"),
    pytest.mark.skipif(not possible(), reason="network namespaces need root and the command ip"),
]
ADDRESS = f"{HEAD}:{PORT}"

# What an autoscaler asks the head.
DEMAND = f"""
import json
from ray._raylet import GcsClient
from ray.autoscaler.v2.sdk import get_cluster_resource_state

state = get_cluster_resource_state(GcsClient(address="{ADDRESS}"))
asked = [dict(request.resources_bundle) for group in state.pending_gang_resource_requests for request in group.requests]
for several in state.pending_resource_requests:
    asked += [dict(several.request.resources_bundle)] * several.count
print(json.dumps(asked))
"""


def test_a_head_alone_is_asked_for_all_cells_and_all_places_of_a_node_that_joins_start_together(
    commands, tmp_path, monkeypatch
):
    marker = tmp_path / "go on"
    methods = [
        {"name": "plugin:Waits", "label": f"row {n}", "options": {"marker": str(marker)}, "train": {"lr": 1e-3 * n}}
        for n in range(1, 6)
    ]
    file = matrix_file(tmp_path, methods=methods, baseline="row 1", train={"epochs": 2, "batch": 2})
    begun = tmp_path.joinpath("s").glob
    with Nodes(tmp_path, 2) as nodes:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(nodes.token))
        nodes.start(1, cpus=0)
        nodes.ready(1)
        head = replace(commands, before=nodes.on(1), first=OWN_PROCESSES)
        driver = head.start("run", file, "--store", "s", "--address", ADDRESS, "--autoscaled")
        asked, end = [], time.monotonic() + 120
        while len(asked) < 5 and time.monotonic() < end and driver.poll() is None:
            time.sleep(1)
            command = [*nodes.on(1), sys.executable, "-c", DEMAND]
            asked = json.loads(subprocess.run(command, capture_output=True, env=nodes.environment, check=True).stdout)
        assert [each["CPU"] for each in asked] == [1] * 5, (asked, driver.poll())

        nodes.start(2, cpus=4)
        nodes.ready(2)
        joined = time.time()
        while len(times := sorted(each.stat().st_mtime for each in begun("cells/*/checkpoints/*"))) < 4:
            assert driver.poll() is None and time.time() < joined + 300, times
            time.sleep(0.5)
        assert times[-1] - times[0] < 1.5 * (times[0] - joined), [when - joined for when in times]
        marker.touch()
        said, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, said
    assert len(list(begun("cells/*/record.json"))) == 5
