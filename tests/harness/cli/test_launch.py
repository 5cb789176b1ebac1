"""`mtlbench launch`: which files it writes, and what it refuses in one line."""

import pytest

from command import invoke
from mtlbench.harness.matrix.text.written import find

SLURM = ["slurm", "smoke", "--store", "/shared/runs"]
KUBERAY = ["kuberay", "smoke", "--image", "registry/mtlbench:0.1.0"]
SKY = ["sky", "smoke", "--bucket", "s3://bucket"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "files", "said"),
    [
        (SLURM, ["mtlbench-smoke.sbatch"], "sbatch launch/mtlbench-smoke.sbatch"),
        (KUBERAY, ["mtlbench-smoke.rayjob.yaml"], "kubectl apply -f launch/mtlbench-smoke.rayjob.yaml"),
        (SKY, ["mtlbench-smoke.sky.yaml"], "--secret RAY_AUTH_TOKEN --secret MLFLOW_TRACKING_URI launch/"),
        (["container"], ["Containerfile", "constraints.txt"], "docker build -f launch/Containerfile"),
    ],
)
def test_files_are_written_once_and_the_next_step_is_said(here, arguments, files, said):
    done = invoke("launch", *arguments)
    assert done.exit_code == 0, done.output
    assert said in done.stdout
    assert sorted(path.name for path in (here / "launch").iterdir()) == files
    (here / "launch" / files[-1]).write_text("mine")
    again = invoke("launch", *arguments)
    assert again.exit_code == 2 and again.stderr.count("\n") == 1
    assert "exists already; --force replaces it" in again.stderr
    assert (here / "launch" / files[-1]).read_text() == "mine"
    assert invoke("launch", *arguments, "--force").exit_code == 0
    assert (here / "launch" / files[-1]).read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["slurm", "nowhere", "--store", "/shared/runs"], "no matrix file 'nowhere'"),
        (
            ["slurm", "smoke", "--store", "runs"],
            "--store runs: the path must be absolute, because the nodes of a cluster have no common working folder\n",
        ),
        (["slurm", "smoke", "--store", "/tmp/runs", "--nodes", "2"], "each of the 2 nodes has a /tmp of its own"),
        ([*SLURM, "--data", "nyud=here"], "--data nyud=here: the path must be absolute"),
        ([*SLURM, "--data", "nyud"], "--data nyud: NAME=PATH is expected"),
        ([*SLURM, "--data", "nyud=/tmp/x", "--nodes", "2"], "has a /tmp of its own"),
        ([*SLURM, "--partition", "a b"], "--partition 'a b': one word is expected"),
        (
            [*SLURM, "--time", "banana"],
            "--time 'banana': minutes, minutes:seconds, hours:minutes:seconds, days-hours, ",
        ),
        ([*SLURM, "--time", "1:2:3:4"], "--time '1:2:3:4': minutes, "),
        ([*SLURM, "--time", "1-"], "--time '1-': minutes, "),
        ([*KUBERAY, "--memory", "lots"], "--memory 'lots': a quantity of Kubernetes, such as 16Gi"),
        ([*KUBERAY, "--memory", "16GB"], "--memory '16GB': a quantity of Kubernetes"),
        ([*SKY, "--accelerators", "foo:"], "--accelerators 'foo:': NAME or NAME:COUNT, such as A100:8, is expected"),
        ([*SKY, "--accelerators", "A100:0"], "--accelerators 'A100:0': NAME or NAME:COUNT"),
        ([*SLURM, "--scratch", "here"], "--scratch here: the path must be absolute"),
        ([*SLURM, "--tracking-uri", "postgresql://me:geheim@h/db"], "set MLFLOW_TRACKING_URI in the job's secrets"),
        ([*SLURM, "--tracking-uri", "postgresql://h/db?password=geheim"], "--tracking-uri holds a password"),
        (["slurm", "smoke", "--store", "s3://me:geheim@h/runs"], "--store holds a password"),
        ([*KUBERAY, "--store", "/elsewhere/runs"], "the nodes share /mnt/mtlbench alone"),
        ([*SKY, "--tracking-uri", "sqlite:////mnt/mtlbench/mlflow.db"], "sqlite cannot lie in a bucket"),
        (["sky", "smoke", "--bucket", "bucket"], "an address is expected, as s3://my-bucket"),
    ],
)
def test_what_no_cluster_can_run_is_refused_in_one_line_and_nothing_is_written(here, arguments, expected):
    done = invoke("launch", *arguments)
    assert done.exit_code == 2, done.output
    assert expected in done.stderr and done.stderr.count("\n") == 1
    assert "geheim" not in done.output
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("launcher", "option", "values"),
    [
        (SLURM, "--time", ["90", "90:30", "24:00:00", "2-12", "2-12:30", "2-12:30:15", "UNLIMITED"]),
        (KUBERAY, "--memory", ["16Gi", "1.5Ti", "500M", "100k", "17179869184", "16e9"]),
        (SKY, "--accelerators", ["A100", "A100-80GB", "A100:8", "H100:10", "tpu-v5p-8:1", "L4:0.5"]),
    ],
)
def test_every_form_of_a_value_is_taken(here, launcher, option, values):
    for value in values:
        done = invoke("launch", *launcher, option, value, "--force")
        assert done.exit_code == 0, done.output
        assert value in next((here / "launch").iterdir()).read_text()


def test_an_unknown_launcher_is_refused():
    done = invoke("launch", "pbs", "smoke")
    assert done.exit_code == 2 and "No such command 'pbs'" in done.stderr


def test_a_store_of_one_node_may_lie_in_its_own_folder(here):
    assert invoke("launch", "slurm", "smoke", "--store", "/tmp/runs").exit_code == 0


def test_a_matrix_of_a_file_is_named_by_its_absolute_path(here):
    (here / "my matrix.yaml").write_text(find("smoke").read_text())
    done = invoke("launch", "slurm", "my matrix.yaml", "--store", "/shared/runs")
    assert done.exit_code == 0, done.output
    script = (here / "launch" / "mtlbench-my-matrix.sbatch").read_text()
    assert f"mtlbench run '{here}/my matrix.yaml' --store /shared/runs" in script
