"""What Kubernetes, SkyPilot and a builder of images are given, against the fields that each of them knows."""

import re
import shlex
import shutil
import subprocess
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from mtlbench.harness.launch import container
from mtlbench.harness.launch.job import Job, Nodes
from mtlbench.harness.launch.kuberay import KubeRay, manifest
from mtlbench.harness.launch.sky import Sky, task
from mtlbench.harness.launch.slurm import Slurm, script
from paths import SHELLCHECK

STORE, DATA = "/mnt/mtlbench/runs", ["nyud=/mnt/mtlbench/it's $HERE"]
JOB = Job("rooms", STORE, Nodes(2, 8, 4), DATA, (), "http://host:5000")


class Strict(BaseModel):
    """Kubernetes drops fields that it does not know, so a wrong name would have no effect there."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Resources(Strict):
    requests: dict[str, str]
    limits: dict[str, str]


class Mount(Strict):
    name: str
    mountPath: str
    readOnly: bool = False


class Container(Strict):
    name: str
    image: str
    env: list[dict[Literal["name", "value"], str]]
    resources: Resources
    securityContext: dict[Literal["allowPrivilegeEscalation", "capabilities"], Any]
    volumeMounts: list[Mount]
    ports: list[dict[Literal["name", "containerPort"], Any]] = []
    envFrom: list[dict[Literal["secretRef"], dict[Literal["name"], str]]] = []


class Volume(Strict):
    name: str
    persistentVolumeClaim: dict[Literal["claimName"], str] | None = None
    configMap: dict[Literal["name"], str] | None = None
    emptyDir: dict[Literal["medium"], Literal["Memory"]] | None = None


class Security(Strict):
    runAsNonRoot: Literal[True]
    runAsUser: int
    runAsGroup: int
    fsGroup: int
    seccompProfile: dict[Literal["type"], Literal["RuntimeDefault"]]


class Pod(Strict):
    securityContext: Security
    containers: list[Container]
    volumes: list[Volume]


class Template(Strict):
    spec: Pod


class Head(Strict):
    rayStartParams: dict[str, str]
    template: Template


class Worker(Head):
    groupName: str
    replicas: int
    minReplicas: int
    maxReplicas: int


class Cluster(Strict):
    rayVersion: str
    authOptions: dict[Literal["mode"], Literal["token"]]
    headGroupSpec: Head
    workerGroupSpecs: list[Worker]


class RayJobSpec(Strict):
    entrypoint: str
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int
    backoffLimit: int
    rayClusterSpec: Cluster


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: dict[Literal["name"], str]
    spec: RayJobSpec


def documents(job=JOB, **options):
    """The ConfigMap, and the RayJob once it has been checked."""
    config, ray_job = yaml.safe_load_all(manifest(job, KubeRay("registry/mtlbench:0.1.0", **options)))
    return config, RayJob.model_validate(ray_job)


def test_a_ray_job_has_the_fields_of_its_kind_a_token_and_the_nodes_that_were_asked_for():
    _, ray_job = documents(secret="tracking")
    cluster = ray_job.spec.rayClusterSpec
    (workers,) = cluster.workerGroupSpecs
    assert workers.replicas == workers.minReplicas == workers.maxReplicas == 2
    (worker,), (head,) = workers.template.spec.containers, cluster.headGroupSpec.template.spec.containers
    assert worker.resources.limits == {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "4"}
    assert "nvidia.com/gpu" not in head.resources.limits and cluster.headGroupSpec.rayStartParams["num-cpus"] == "0"
    assert head.envFrom == [{"secretRef": {"name": "tracking"}}] and worker.envFrom == []


def test_the_workers_of_no_launcher_give_way_to_other_processes():
    cluster = documents()[1].spec.rayClusterSpec
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        assert {"name": "RAY_worker_niceness", "value": "0"} in group.template.spec.containers[0].env
    batch = script(JOB, Slurm("1:00:00"))
    for text, start in ((sky()["run"], "ray start"), (batch, "ray symmetric-run")):
        before = text.partition(start)[0]  # Ray reads it when it starts
        assert re.search(r"^export RAY_worker_niceness=.*0", before, re.MULTILINE)


def test_every_pod_mounts_the_volumes_that_it_has_and_no_other():
    config, ray_job = documents()
    cluster = ray_job.spec.rayClusterSpec
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        pod = group.template.spec
        mounts = {mount.name: mount.mountPath for mount in pod.containers[0].volumeMounts}
        assert mounts.keys() == {volume.name for volume in pod.volumes}
        assert STORE.startswith(mounts["store-and-data"] + "/")
        (of_files,) = [volume.configMap for volume in pod.volumes if volume.configMap]
        assert of_files == {"name": config["metadata"]["name"]}
        assert ray_job.spec.entrypoint == f"bash {mounts['files']}/run.sh"


def test_a_matrix_of_a_file_travels_with_the_manifest(tmp_path):
    file = tmp_path / "My Matrix_2.yaml"
    file.write_text("# mine\nname: mine\n")
    config, ray_job = documents(Job(str(file), STORE, Nodes(1, 2, 0)))
    assert config["data"]["matrix.yaml"] == file.read_text()
    assert "/etc/mtlbench/matrix.yaml" in shlex.split(config["data"]["run.sh"].splitlines()[-1])
    assert ray_job.metadata["name"] == "mtlbench-my-matrix-2"


def test_the_script_of_a_pod_calls_mtlbench_word_for_word():
    config, _ = documents()
    said = subprocess.run(
        ["bash", "-c", "mtlbench() { printf '%s\\n' \"$@\"; }\n" + config["data"]["run.sh"].replace("exec ", "")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.splitlines() == JOB.command("auto")[1:]


def sky(job=JOB, **options):
    return yaml.safe_load(task(job, Sky("s3://bucket", "/here/mtlbench-0.1.0-py3-none-any.whl", **options)))


def test_a_task_mounts_the_bucket_where_the_store_lies_and_asks_for_its_secrets():
    made = sky(accelerators="A100:8")
    assert made.keys() == {"name", "resources", "num_nodes", "secrets", "file_mounts", "setup", "run"}
    assert made["num_nodes"] == 2 and made["resources"] == {"cpus": "8+", "accelerators": "A100:8"}
    assert made["file_mounts"]["/mnt/mtlbench"] == {"source": "s3://bucket", "mode": "MOUNT"}
    assert made["secrets"] == {"RAY_AUTH_TOKEN": None}
    assert sky(Job("rooms", STORE, Nodes(1, 2, 0)))["secrets"].keys() == {"RAY_AUTH_TOKEN", "MLFLOW_TRACKING_URI"}


@pytest.mark.parametrize(("rank", "called"), [("0", "start --head"), ("1", "start --address=10.0.0.1:6379")])
def test_the_first_node_is_the_head_and_runs_the_matrix_and_the_others_join_it(tmp_path, rank, called):
    """Runs the task with commands that only note how they are called."""
    for name in ("ray", "mtlbench"):
        status = '[ "$1" != status ]' if name == "ray" else "true"
        (tmp_path / name).write_text(
            f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >> {tmp_path}/notes\n[ "$RAY_worker_niceness" = 0 ] && {status}\n'
        )
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sleep").symlink_to(shutil.which("true"))
    environment = {
        "HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        "SKYPILOT_NODE_RANK": rank, "SKYPILOT_NUM_GPUS_PER_NODE": "8",
    }  # fmt: skip
    subprocess.run(["bash", "-c", sky()["run"]], env=environment, check=True)
    notes = (tmp_path / "notes").read_text().splitlines()
    assert any(called in note for note in notes)
    runs = [note for note in notes if note.startswith("mtlbench")]
    assert runs == (["mtlbench " + " ".join(JOB.command("10.0.0.1:6379")[1:])] if rank == "0" else [])


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="shellcheck is not installed")
@pytest.mark.parametrize("part", ["setup", "run"])
def test_the_scripts_of_a_task_are_clean_under_shellcheck(tmp_path, part):
    (tmp_path / "script").write_text("#!/bin/bash\n" + sky()[part])
    done = subprocess.run([SHELLCHECK, tmp_path / "script"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def instructions(text):
    """The instructions of a Containerfile, each with its argument in one line."""
    whole = re.sub(r"\\\n\s*", "", text)
    return [tuple(line.split(" ", 1)) for line in whole.splitlines() if line and not line.startswith("#")]


def test_the_image_holds_a_pinned_mtlbench_and_no_secret_and_its_user_is_not_root():
    found = instructions(container.containerfile())
    names = [name for name, _ in found]
    assert set(names) <= {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "CMD"}
    assert found[0] == ("FROM", "python:3.11-slim")
    (copied,) = [argument for name, argument in found if name == "COPY"]
    assert copied.split()[:2] == [container.wheel(), "constraints.txt"]
    (user,) = [argument for name, argument in found if name == "USER"]
    assert user not in ("0", "root")
    assert names.index("USER") > max(number for number, name in enumerate(names) if name == "RUN")
    assert not re.search("token=|password|secret=", container.containerfile().split("\n", 1)[1], re.IGNORECASE)


def test_the_constraints_pin_what_mtlbench_asks_for():
    lines = container.constraints().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert {"torch", "ray", "mlflow", "numpy"} <= {line.split("==")[0] for line in lines}
    assert not any(line.startswith(("pytest", "mypy")) for line in lines)
