"""A batch script for SLURM around `ray symmetric-run`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mtlbench.harness.launch.job import Job, check, check_form, check_words
from mtlbench.harness.launch.render import render

TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|UNLIMITED", re.ASCII)
TIMES = (
    "minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds "
    "or UNLIMITED, such as 24:00:00,"
)
SECONDS_TO_STOP = 120  # before the time limit; mtlbench ends in seconds, but SLURM looks at its clock once a minute


@dataclass(frozen=True)
class Slurm:
    """What SLURM is asked for."""

    time: str
    partition: str | None = None
    account: str | None = None
    scratch: str | None = None  # a folder that all nodes share; None: one in the home folder
    interface: str | None = None  # None: mtlbench finds it from the route to the head
    setup: Sequence[str] = ()  # lines of shell


def script(job: Job, slurm: Slurm) -> str:
    """The batch script. Raises ValueError in one line for what cannot run."""
    check(job)
    check_form("time", slurm.time, TIME, TIMES)
    check_words(partition=slurm.partition, account=slurm.account, interface=slurm.interface)
    if slurm.scratch is not None and not slurm.scratch.startswith("/"):
        raise ValueError(f"--scratch {slurm.scratch}: the path must be absolute")
    return render("slurm.sh.j2", job=job, slurm=slurm, command=job.command("auto"), seconds=SECONDS_TO_STOP)
