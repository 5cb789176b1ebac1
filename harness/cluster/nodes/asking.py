"""Every node of a cluster is asked, before the first cell starts, whether it can do what a cell needs.

A cell that starts on a node without the store, the data or our code fails there, and would burn its retries.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray._private import worker
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mtlbench.harness.cluster.attempt import first_line
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.search_path import look_also_in
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

PATIENCE = 180.0  # seconds for all answers; a node imports torch first
LEAST_DISK = 2**30  # bytes
NICE = (
    "warning: node %s: processes run at niceness %d, so steps take longer there when others use the node; start "
    "its Ray with RAY_worker_niceness=0"
)

log = logging.getLogger(__name__)


class Question(NamedTuple):
    """What a node is asked about."""

    store: str  # the address of a Store
    sign: str  # the name of a file that the driver has written there
    data: Sequence[tuple[BenchmarkConfig, Path]]  # only data that are read from disk
    folders: Sequence[str]  # where the driver looks for modules
    weights: Mapping[str, str]  # sha256:... of a file of initial weights -> its path
    outside: Sequence[str]  # "package.module:Name" of all that cells take from outside of the package


class Facts(NamedTuple):
    """What a node says of itself."""

    versions: Mapping[str, str]  # of Python, of libraries, and of our source
    data: Mapping[str, str]  # benchmark -> its fingerprint, or why it has none
    problems: Sequence[str]  # of the store and the disk
    files: Mapping[str, str]  # path of weights, or "package.module:Name" -> a hash, or why there is none
    priority: int  # the niceness of the processes that train


class Asked(NamedTuple):
    """What every node must say, and which nodes have said it."""

    question: Question
    here: Facts  # of the driver's machine
    fit: frozenset[str]  # ids of nodes


def facts(question: Question, name: str) -> Facts:
    """What the machine of this process says. It writes a file `name` into the store as its own sign."""
    look_also_in(list(question.folders))
    from mtlbench.harness.data.copy import copy_of
    from mtlbench.harness.data.places import prepared_in
    from mtlbench.harness.matrix import weights
    from mtlbench.harness.store import provenance, source
    from mtlbench.harness.store.kept import cache_folder

    problems = []
    try:
        store = Store(question.store)
        if not store.exists(question.sign):
            problems.append(f"{store.url} is not the driver's: a file that the driver wrote is not there; share it")
        else:
            store.put(name, b"here", patience=0)
    except Exception as error:  # what a file system raises is not known beforehand
        problems.append(f"the store {question.store} cannot be used ({type(error).__name__}: {first_line(str(error))})")
    found = {}
    for config, root in question.data:
        try:
            found[config.name] = copy_of(config, root, prepared_in(cache_folder())).fingerprint
        except Exception as error:  # a reader of somebody else's may raise anything
            found[config.name] = f"{root} cannot be read ({type(error).__name__}: {first_line(str(error))})"
    held = {path: _hash(path, partial(weights.digest, Path(path))) for path in question.weights.values()}
    held |= {name: _hash(name, partial(provenance.outside_hash, [name])) for name in question.outside}
    scratch = tempfile.gettempdir()
    if (free := shutil.disk_usage(scratch).free) < LEAST_DISK:
        problems.append(f"{scratch} has {free / 2**30:.1f} GiB left; 1 GiB is needed for checkpoints on their way")
    versions = provenance.versions() | {"mtlbench": source.source_hash()}
    return Facts(versions, found, problems, held, os.getpriority(os.PRIO_PROCESS, 0))


def _hash(name: str, find: Callable[[], str | None]) -> str:
    """A hash of a file or a plug-in, or why there is none."""
    try:
        return (find() or "library")[:12]  # the version of a library is compared
    except (OSError, ValueError) as error:
        return f"{name} cannot be read ({type(error).__name__}: {first_line(str(error))})"


def differences(here: Facts, there: Facts) -> list[str]:
    """What keeps a node from training what the driver's machine trains: a line each."""
    lines = list(there.problems)
    for name, version in here.versions.items():
        if (found := there.versions.get(name, "none")) != version:
            what = f"source of mtlbench {found}" if name == "mtlbench" else f"{name} {found}"
            lines.append(f"it has {what}, and the driver {version}; install the same")
    for name, fingerprint in here.data.items():
        if (found := there.data.get(name, "nothing")) != fingerprint:
            other = f"its copy of {name} is another one (fingerprint {found}, the driver's {fingerprint})"
            lines.append(found if " " in found else other)
    for name, content in here.files.items():
        if (found := there.files.get(name, "nothing")) != content:
            other = f"its {name} is another one (hash {found}, the driver's {content}); copy the driver's"
            lines.append(found if " " in found else other)
    return lines


def ask(question: Question, patience: float = PATIENCE) -> tuple[Asked, list[str]]:
    """Ask every node. Also returns a line for everything that keeps a node from running cells, with its address.

    patience: seconds for all answers.
    """
    store, nodes, end = Store(question.store), holding(), time.monotonic() + patience
    names = [f"{files.PROBE}{uuid.uuid4().hex[:8]}" for _ in [*nodes, "here"]]
    try:
        here, answers = facts(question, names[-1]), []
        for node, name in zip(nodes, names, strict=False):
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(facts)
            answers.append(asked.remote(question, name))
        fit, lines = set(), list(here.problems)
        for node, name, answer in zip(nodes, names, answers, strict=False):
            found = _answer(answer, max(1.0, end - time.monotonic()))
            if isinstance(found, str):
                if node["NodeID"] not in {each["NodeID"] for each in holding()}:
                    continue  # it has left
                own = [found]
            else:
                own = differences(here, found)
                if not found.problems and not store.exists(name):
                    own.insert(0, f"{store.url} is not the driver's: what the node wrote is not here; share it")
                if found.priority:
                    log.warning(NICE, node["NodeManagerAddress"], found.priority)
            lines += [f"node {node['NodeManagerAddress']}: {line}" for line in own]
            fit |= set() if own else {node["NodeID"]}
        return Asked(question, here, frozenset(fit)), lines
    finally:
        for name in names:
            store.remove(name)


def holding() -> list[dict[str, Any]]:
    """The nodes that can hold cells, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


def unfit(asked: Asked) -> list[str]:
    """What keeps the node of this process, which may have joined after all nodes were asked, from running cells."""
    node = ray.get_runtime_context().get_node_id()
    if node in asked.fit:
        return []
    run = hashlib.sha256(f"{asked.question.sign} {node}".encode()).hexdigest()[:12]
    folder = Path(worker._global_node.get_session_dir_path())
    return remembered(folder / f"mtlbench-{run}.json", lambda: _unfit(asked))


def remembered(file: Path, ask: Callable[[], list[str]]) -> list[str]:
    """What `ask` returns, which is called once for all processes of a machine. The others wait for its answer."""
    with file.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.seek(0)
        with contextlib.suppress(ValueError):  # nothing yet, or the half of what a process wrote that was killed
            return list(json.loads(held.read()))
        lines = ask()
        held.truncate(0)
        held.write(json.dumps(lines))
        return lines


def _unfit(asked: Asked) -> list[str]:
    name = f"{files.PROBE}{uuid.uuid4().hex[:8]}"
    found = facts(asked.question, name)
    if not found.problems:
        Store(asked.question.store).remove(name)
    return differences(asked.here, found)


def _answer(answer: Any, patience: float) -> Facts | str:
    """What a node has said, or why it has not."""
    try:
        found = ray.get(answer, timeout=patience)
        return Facts(*found)
    except GetTimeoutError:
        return f"it has not answered for {patience:g} s"
    except ModuleNotFoundError as error:
        return f"it has no {error.name}; install there what the driver has"
    except RayError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, ModuleNotFoundError):
            return f"it has no {cause.name}; install there what the driver has"
        return f"it cannot answer ({type(cause).__name__}: {first_line(str(cause))})"
