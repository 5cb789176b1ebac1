"""A Containerfile with this mtlbench and the versions of its packages that are installed here."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

from mtlbench.harness.launch.render import render

BASE = "python:3.11-slim"


def wheel() -> str:
    """The name of the wheel of this version."""
    return f"mtlbench-{version('mtlbench')}-py3-none-any.whl"


def containerfile() -> str:
    return render("Containerfile.j2", base=BASE, wheel=wheel(), user=1000)


def constraints() -> str:
    """For pip: what mtlbench itself asks for, in the versions that are installed here.

    A build of PyTorch for one kind of GPU, as 2.11.0+cpu, is written as 2.11.0: the index of the image decides.
    """
    names = [re.split(r"[^\w.-]", each)[0] for each in requires("mtlbench") or [] if "extra ==" not in each]
    lines = []
    for name in sorted(names):
        try:
            lines.append(f"{name}=={version(name).partition('+')[0]}\n")
        except PackageNotFoundError:  # not needed on this system
            continue
    return "".join(lines)
