"""A task of SkyPilot: nodes of a cloud, with a bucket that all of them mount.

SkyPilot has a Ray of its own on the nodes, so `ray symmetric-run`, which wants to be the only one, cannot be used.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from mtlbench.harness.launch.job import Job, check, check_form
from mtlbench.harness.launch.render import as_yaml, render

MATRIX = "~/mtlbench/matrix.yaml"
HOME_MATRIX = "mtlbench/matrix.yaml"  # from the home folder, in which the run begins

ACCELERATORS = re.compile(r"[\w.+-]+(:(\d*[1-9]\d*|0?\.\d*[1-9]\d*))?", re.ASCII)  # a part of a GPU is a count too
COMMENT = """Written by `mtlbench launch sky`.
The store lies in a mounted bucket. The mount must let a file be renamed and lines be appended to it; and once a file is
closed, every node must read it and find it in a listing. Not every mount does so: ask its manual. MLflow's sqlite needs
more than a bucket can promise, so runs are tracked to a server."""


@dataclass(frozen=True)
class Sky:
    """What SkyPilot is asked for."""

    bucket: str  # s3://NAME, gs://NAME, ...
    wheel: str  # a file on this machine
    accelerators: str | None = None  # as A100:8
    mount: str = "/mnt/mtlbench"


def task(job: Job, sky: Sky) -> str:
    """The YAML. Raises ValueError in one line for what cannot run."""
    check(job, sky.mount)
    check_form("accelerators", sky.accelerators, ACCELERATORS, "NAME or NAME:COUNT, such as A100:8,")
    if "://" not in sky.bucket:
        raise ValueError(f"--bucket {sky.bucket}: an address is expected, as s3://my-bucket")
    if (job.tracking_uri or "").startswith("sqlite"):
        raise ValueError("--tracking-uri: sqlite cannot lie in a bucket; give the address of a server")
    wheel = f"~/mtlbench/{sky.wheel.rpartition('/')[2]}"
    mounts: dict[str, Any] = {sky.mount: {"source": sky.bucket, "mode": "MOUNT"}, wheel: sky.wheel}
    if job.is_file:
        mounts[MATRIX] = job.matrix
    # Without a value in the file, SkyPilot asks for one on the command line.
    secrets: dict[str, None] = {"RAY_AUTH_TOKEN": None}
    if not job.tracking_uri:
        secrets["MLFLOW_TRACKING_URI"] = None
    resources: dict[str, Any] = {"cpus": f"{job.nodes.cpus}+"}
    if sky.accelerators:
        resources["accelerators"] = sky.accelerators
    command = shlex.join(job.command("ADDRESS", HOME_MATRIX if job.is_file else None)[:-1])
    document = {
        "name": f"mtlbench-{job.name}",
        "resources": resources,
        "num_nodes": job.nodes.count,
        "secrets": secrets,
        "file_mounts": mounts,
        "setup": render("sky_setup.sh.j2", wheel=wheel),
        "run": render("sky_run.sh.j2", command=command),
    }
    return as_yaml(COMMENT, document)
