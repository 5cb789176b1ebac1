"""What a launcher is asked to start: one matrix, its store and data, on so many nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import embedded, find
from mtlbench.results.records.addresses import holds_secret

OF_ONE_NODE = ("/tmp", "/var/tmp", "/dev/shm")  # folders that each node has for itself
WORD = re.compile(r"[\w.,:@%+=/-]+")  # what stands in a line of a batch script without quotes


@dataclass(frozen=True)
class Nodes:
    """The size of the cluster."""

    count: int
    cpus: int  # of each node
    gpus: int  # of each node


@dataclass(frozen=True)
class Job:
    """A run of a matrix. `check` says whether a cluster can have it."""

    matrix: str  # the name of an embedded matrix, or the absolute path of a file
    store: str
    nodes: Nodes
    data: Sequence[str] = field(default_factory=tuple)  # NAME=PATH
    overrides: Sequence[str] = field(default_factory=tuple)  # KEY=VALUE
    tracking_uri: str | None = None

    @property
    def name(self) -> str:
        """A name that Kubernetes and a batch system take: small letters, digits and hyphens."""
        return re.sub(r"[^a-z0-9]+", "-", Path(self.matrix).stem.lower()).strip("-")[:40].strip("-") or "matrix"

    @property
    def is_file(self) -> bool:
        return Path(self.matrix).is_absolute()

    def command(self, address: str, matrix: str | None = None) -> list[str]:
        """The words of `mtlbench run`. matrix: where the file lies on the cluster, if it is not where it is here."""
        words = ["mtlbench", "run", matrix or self.matrix, "--store", self.store]
        for given in self.data:
            words += ["--data", given]
        for given in self.overrides:
            words += ["--set", given]
        if self.tracking_uri:
            words += ["--tracking-uri", self.tracking_uri]
        return [*words, "--address", address]


def source(matrix: str, overrides: Sequence[str]) -> str:
    """The name of an embedded matrix, or the absolute path of a file, once it has been read without a mistake.

    Raises FileNotFoundError or MatrixError.
    """
    read(matrix, overrides)
    return matrix if matrix in embedded() and not Path(matrix).is_file() else str(find(matrix).absolute())


def check(job: Job, mount: str | None = None) -> None:
    """Raise ValueError in one line for what no cluster can run or what would write a password into a file.

    mount: the one folder that all nodes share, where the launcher says which it is.
    """
    _refuse_password("--tracking-uri", job.tracking_uri or "", "set MLFLOW_TRACKING_URI in the job's secrets instead")
    _refuse_password("--store", job.store, "give the store's credentials in the job's secrets instead")
    if "://" not in job.store:
        _check_folder(f"--store {job.store}", job.store, job.nodes.count, mount)
    for given in job.data:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--data {given}: NAME=PATH is expected")
        _check_folder(f"--data {given}", path, job.nodes.count, mount)


def _check_folder(option: str, path: str, nodes: int, mount: str | None) -> None:
    folder = PurePosixPath(path)
    if not folder.is_absolute() or ".." in folder.parts:
        raise ValueError(
            f"{option}: the path must be absolute, because the nodes of a cluster have no common working folder"
        )
    if mount is not None and not folder.is_relative_to(mount):
        raise ValueError(f"{option}: the nodes share {mount} alone; give a path in it, or another --mount")
    local = next((each for each in OF_ONE_NODE if folder.is_relative_to(each)), None)
    if nodes > 1 and local:
        raise ValueError(f"{option}: each of the {nodes} nodes has a {local} of its own; give a folder that they share")


def _refuse_password(option: str, uri: str, way_out: str) -> None:
    try:
        urlsplit(uri)
    except ValueError as error:
        raise ValueError(f"{option}: no address: {error}") from None
    if holds_secret(uri):
        raise ValueError(f"{option} holds a password, which is not written into a file; {way_out}")


def check_form(option: str, value: str | None, form: re.Pattern[str], said: str) -> None:
    """Raise ValueError unless an option that is given has a form. said: the form in words."""
    if value is not None and not form.fullmatch(value):
        raise ValueError(f"--{option} {value!r}: {said} is expected")


def check_words(**options: str | None) -> None:
    """Raise ValueError unless each option that is given is one word without characters that a shell reads."""
    for option, value in options.items():
        if value is not None and not WORD.fullmatch(value):
            raise ValueError(f"--{option} {value!r}: one word is expected")
