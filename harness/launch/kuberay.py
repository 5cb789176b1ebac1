"""A RayJob for KubeRay: a cluster with a token of its own, made for one run and removed after it.

The names of the fields are those of `ray.io/v1`; `authOptions` needs KubeRay 1.5.1 and Ray 2.52.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mtlbench.harness.launch.job import Job, check, check_form, check_words
from mtlbench.harness.launch.render import as_yaml, script

FILES = "/etc/mtlbench"  # where the pods see the script and the matrix
USER = 1000  # of the image
# Of bytes: Kubernetes also knows m, u and n, for parts of one, and a sign.
QUANTITY = re.compile(r"(\d+\.?\d*|\.\d+)([KMGTPE]i|[kMGTPE]|[eE][+-]?\d+)?", re.ASCII)
RETRIES = 3  # with a new cluster each, as when the node of the head is lost

COMMENT = """Written by `mtlbench launch kuberay`: a ConfigMap with the command, and the RayJob that runs it.
The claim {claim!r} must exist, with access mode ReadWriteMany: all pods write to the store at once."""


@dataclass(frozen=True)
class KubeRay:
    """What Kubernetes is asked for."""

    image: str
    memory: str = "16Gi"  # of each pod
    claim: str = "mtlbench"  # a persistent volume claim
    mount: str = "/mnt/mtlbench"  # where the pods see it
    secret: str | None = None  # whose keys become variables of the head


def manifest(job: Job, kuberay: KubeRay) -> str:
    """The YAML. Raises ValueError in one line for what cannot run."""
    check(job, kuberay.mount)
    check_form("memory", kuberay.memory, QUANTITY, "a quantity of Kubernetes, such as 16Gi, 500M or 1.5Ti,")
    check_words(image=kuberay.image, claim=kuberay.claim, secret=kuberay.secret)
    name = f"mtlbench-{job.name}"
    files = {"run.sh": script(job.command("auto", f"{FILES}/matrix.yaml" if job.is_file else None))}
    if job.is_file:
        files["matrix.yaml"] = Path(job.matrix).read_text()
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}
    cluster = {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            # The head takes no cells, so that a cell which eats memory cannot end the cluster.
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
            "template": _pod(job, kuberay, name, head=True),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": job.nodes.count,
                "minReplicas": job.nodes.count,
                "maxReplicas": job.nodes.count,
                "rayStartParams": {},
                "template": _pod(job, kuberay, name, head=False),
            }
        ],
    }
    ray_job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": f"bash {FILES}/run.sh",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "backoffLimit": RETRIES,
            "rayClusterSpec": cluster,
        },
    }
    return as_yaml(COMMENT.format(claim=kuberay.claim), config, ray_job)


def _pod(job: Job, kuberay: KubeRay, name: str, *, head: bool) -> dict[str, Any]:
    resources = {"cpu": "2" if head else str(job.nodes.cpus), "memory": kuberay.memory}
    if job.nodes.gpus and not head:
        resources["nvidia.com/gpu"] = str(job.nodes.gpus)
    container: dict[str, Any] = {
        "name": "ray-head" if head else "ray-worker",
        "image": kuberay.image,
        "env": [{"name": "RAY_worker_niceness", "value": "0"}],  # by default 15: cells would give way to all else
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "store-and-data", "mountPath": kuberay.mount},
            {"name": "files", "mountPath": FILES, "readOnly": True},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
    if head:
        container["ports"] = [
            {"name": "gcs-server", "containerPort": 6379},
            {"name": "dashboard", "containerPort": 8265},
            {"name": "client", "containerPort": 10001},
        ]
        if kuberay.secret:
            container["envFrom"] = [{"secretRef": {"name": kuberay.secret}}]
    user = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return {
        "spec": {
            "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [
                {"name": "store-and-data", "persistentVolumeClaim": {"claimName": kuberay.claim}},
                {"name": "files", "configMap": {"name": name}},
                # Ray's objects and the batches of loaders; the 64 MB that a pod has otherwise are too few.
                {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            ],
        }
    }
