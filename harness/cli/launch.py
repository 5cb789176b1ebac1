"""`mtlbench launch`: writes the files that start a run on a cluster. Nothing is started, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtlbench.harness.cli.shell.commands import Command
from mtlbench.harness.cli.usage import DataOption, MatrixArgument, SetOption, fail, one_line

if TYPE_CHECKING:
    from mtlbench.harness.launch.job import Job

app = typer.Typer(
    help="Write the files that start a run on a cluster: SLURM, Kubernetes (KubeRay), or a cloud (SkyPilot).\n\n"
    "Nothing is started: the last lines say what to do next.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

OutOption = Annotated[Path, typer.Option(help="The folder of the files.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
StoreOption = Annotated[str, typer.Option("--store", help="The folder of records, as all nodes see it.")]
NodesOption = Annotated[int, typer.Option(min=1, help="How many nodes train.")]
GpusOption = Annotated[int, typer.Option(min=0, help="GPUs of each node.")]
CpusOption = Annotated[int, typer.Option(min=1, help="CPUs of each node.")]
TrackingOption = Annotated[
    str | None,
    typer.Option(help="An MLflow server. One with a password belongs into MLFLOW_TRACKING_URI of the job instead."),
]
MountOption = Annotated[str, typer.Option(help="Where all nodes see the shared folder.")]


@app.command(cls=Command)
@one_line
def slurm(
    matrix: MatrixArgument,
    store: StoreOption,
    data: DataOption = [],
    overrides: SetOption = [],
    nodes: NodesOption = 1,
    gpus: GpusOption = 1,
    cpus: CpusOption = 8,
    time: Annotated[str, typer.Option(help="The time limit, as SLURM writes it.")] = "24:00:00",
    partition: Annotated[str | None, typer.Option(help="The partition.")] = None,
    account: Annotated[str | None, typer.Option(help="Who pays.")] = None,
    scratch: Annotated[
        str | None, typer.Option(help="A folder that all nodes share, for the job's token; default: ~/.mtlbench.")
    ] = None,
    interface: Annotated[
        str | None, typer.Option(help="For Gloo and NCCL, as ib0; default: the one that leads to the head.")
    ] = None,
    setup: Annotated[
        list[str], typer.Option(help="A line of shell before all else, as `source venv/bin/activate`; repeatable.")
    ] = [],
    tracking_uri: TrackingOption = None,
    out: OutOption = Path("launch"),
    force: ForceOption = False,
) -> None:
    """Write a batch script for SLURM.

    The script starts Ray on every node and runs the matrix on the first.
    Before the time limit mtlbench is stopped cleanly, and the job queues itself again and goes on.

    Example:  mtlbench launch slurm rooms --nodes 2 --store /scratch/me/runs --setup 'source ~/venv/bin/activate'
    """
    from mtlbench.harness.launch import slurm as launcher

    job = _job(matrix, store, data, overrides, tracking_uri, (nodes, cpus, gpus))
    options = launcher.Slurm(time, partition, account, scratch, interface, setup)
    text = _made(lambda: launcher.script(job, options))
    path = out / f"mtlbench-{job.name}.sbatch"
    _write({path: text}, force)
    typer.echo(f"next   sbatch {path}")
    typer.echo("       The same command goes on after a failure. The log is in the folder in which you call it.")
    if tracking_uri is None:
        typer.echo("MLflow is beside the store, or where MLFLOW_TRACKING_URI says: export it before sbatch.")


@app.command(cls=Command)
@one_line
def kuberay(
    matrix: MatrixArgument,
    image: Annotated[str, typer.Option(help="An image with mtlbench; see `mtlbench launch container`.")],
    store: StoreOption = "/mnt/mtlbench/runs",
    data: DataOption = [],
    overrides: SetOption = [],
    nodes: NodesOption = 1,
    gpus: GpusOption = 1,
    cpus: CpusOption = 8,
    memory: Annotated[str, typer.Option(help="Memory of each pod.")] = "16Gi",
    claim: Annotated[
        str, typer.Option(help="A persistent volume claim (ReadWriteMany) for store and data.")
    ] = "mtlbench",
    mount: MountOption = "/mnt/mtlbench",
    secret: Annotated[
        str | None, typer.Option(help="A Secret whose keys become variables of the head, as MLFLOW_TRACKING_URI.")
    ] = None,
    tracking_uri: TrackingOption = None,
    out: OutOption = Path("launch"),
    force: ForceOption = False,
) -> None:
    """Write a RayJob for KubeRay 1.5.1 or newer.

    The job makes a cluster with a token, which is removed after the run.

    Example:  mtlbench launch kuberay rooms --image registry/mtlbench:0.1.0 --nodes 2
    """
    from mtlbench.harness.launch import kuberay as launcher

    job = _job(matrix, store, data, overrides, tracking_uri, (nodes, cpus, gpus))
    options = launcher.KubeRay(image, memory, claim, mount, secret)
    text = _made(lambda: launcher.manifest(job, options))
    path = out / f"mtlbench-{job.name}.rayjob.yaml"
    _write({path: text}, force)
    typer.echo(f"next   kubectl apply -f {path}\n       kubectl get rayjob mtlbench-{job.name} --watch")
    if secret is None and tracking_uri is None:
        typer.echo("MLflow's database is beside the store; a server goes into --tracking-uri or a Secret (--secret).")


@app.command(cls=Command)
@one_line
def sky(
    matrix: MatrixArgument,
    bucket: Annotated[str, typer.Option(help="A bucket for store and data, as s3://my-bucket.")],
    store: StoreOption = "/mnt/mtlbench/runs",
    data: DataOption = [],
    overrides: SetOption = [],
    nodes: NodesOption = 1,
    accelerators: Annotated[str | None, typer.Option(help="GPUs of each node, as A100:8; default: none.")] = None,
    cpus: CpusOption = 8,
    mount: MountOption = "/mnt/mtlbench",
    tracking_uri: TrackingOption = None,
    out: OutOption = Path("launch"),
    force: ForceOption = False,
) -> None:
    """Write a task of SkyPilot.

    The task takes nodes of a cloud, which share a mounted bucket.

    Example:  mtlbench launch sky rooms --nodes 2 --accelerators A100:8 --bucket s3://my-bucket
    """
    from mtlbench.harness.launch import sky as launcher
    from mtlbench.harness.launch.container import wheel

    job = _job(matrix, store, data, overrides, tracking_uri, (nodes, cpus, 0))
    options = launcher.Sky(bucket, str((out / wheel()).absolute()), accelerators, mount)
    text = _made(lambda: launcher.task(job, options))
    path = out / f"mtlbench-{job.name}.sky.yaml"
    _write({path: text}, force)
    secrets = "--secret RAY_AUTH_TOKEN" + ("" if tracking_uri else " --secret MLFLOW_TRACKING_URI")
    typer.echo(_next_wheel(out))
    typer.echo("       export RAY_AUTH_TOKEN=$(openssl rand -hex 32)")
    if not tracking_uri:
        typer.echo("       export MLFLOW_TRACKING_URI=https://...   (a server; sqlite cannot lie in a bucket)")
    typer.echo(f"       sky jobs launch {secrets} {path}")


@app.command(cls=Command)
@one_line
def container(out: OutOption = Path("launch"), force: ForceOption = False) -> None:
    """Write a Containerfile with this version of mtlbench.

    The packages that mtlbench asks for have the versions of this installation.

    Example:  mtlbench launch container
    """
    from mtlbench.harness.launch import container as launcher

    files = {out / "Containerfile": launcher.containerfile(), out / "constraints.txt": launcher.constraints()}
    _write(files, force)
    typer.echo(_next_wheel(out))
    typer.echo(f"       docker build -f {out / 'Containerfile'} -t mtlbench:{launcher.wheel().split('-')[1]} {out}")


def _next_wheel(out: Path) -> str:
    return f"next   pip wheel --no-deps --wheel-dir {out} CHECKOUT   (the folder of mtlbench's pyproject.toml)"


def _job(
    matrix: str, store: str, data: list[str], overrides: list[str], tracking_uri: str | None, size: tuple[int, int, int]
) -> Job:
    from mtlbench.harness.launch.job import Job, Nodes, source

    return Job(source(matrix, overrides), store, Nodes(*size), data, overrides, tracking_uri)


def _made(make: Callable[[], str]) -> str:
    try:
        return make()
    except ValueError as error:
        raise fail(str(error)) from None


def _write(files: Mapping[Path, str], force: bool) -> None:
    """Write all files or none. A file that exists is replaced with --force alone."""
    if existing := [str(path) for path in files if path.exists() and not force]:
        raise fail(f"{', '.join(existing)}: exists already; --force replaces it")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        typer.echo(f"wrote  {path}")
