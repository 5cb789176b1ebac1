"""What tasks learn from training labels, such as clusters of normals. It is learnt once and kept in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mtlbench.benchmarks.benchmark import Sample
from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness import seeds
from mtlbench.harness.data.copy import Copy, Part
from mtlbench.harness.store.provenance import modules_hash
from mtlbench.harness.store.source import source_hash
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records import files

IMAGES = 1000  # at most, because decoding many files takes longer than learning from them

Findings = dict[str, dict[str, Any]]  # task -> what Task.fitted takes


def learn(store: Store, copy: Copy, tasks: Iterable[str], holdout: float) -> Findings:
    """The findings of each of `tasks` that learns something, from the training images that are not held out.

    The findings come from the store. What the store lacks is learnt and put there, so that a cell needs no driver.
    Images are drawn by a fixed generator: two processes that learn from copies with equal fingerprints learn the same.

    Raises ValueError naming the task whose labels do not suffice, and StoreError for a file that is no findings.
    """
    found: Findings = {}
    for name in _learners(copy, tasks):
        file = _file(copy, name, holdout)
        if not store.exists(file):
            train, _ = copy.train([name], holdout)
            drawn = seeds.generator(0, "learning").permutation(len(train))[:IMAGES]
            learnt = fit({name: copy.benchmark.tasks[name]}, Part(train, sorted(drawn.tolist())))
            content = {"data": copy.fingerprint, "holdout": holdout, "findings": learnt}
            store.put(file, json.dumps(content, indent=1) + "\n")
        found |= _read(store, file)
    return found


def fit(tasks: Mapping[str, Task], samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    """task -> what `Task.fitted` takes, as JSON, for the tasks that learn from the labels of training samples."""
    return {
        name: task.learn(sample.labels[name] for sample in samples if name in sample.labels)
        for name, task in tasks.items()
        if task.learn is not None
    }


def missing(store: Store, copy: Copy, tasks: Iterable[str], holdout: float) -> list[str]:
    """The tasks that `learn` would have to learn."""
    return [name for name in _learners(copy, tasks) if not store.exists(_file(copy, name, holdout))]


def digest(findings: Mapping[str, Mapping[str, Any]]) -> str:
    """A hash of everything that the tasks of a cell have learnt, for its record."""
    return hashlib.sha256(json.dumps(findings, sort_keys=True).encode()).hexdigest()[:12]


def _learners(copy: Copy, tasks: Iterable[str]) -> list[str]:
    return [name for name in tasks if copy.benchmark.tasks[name].learn is not None]


def _file(copy: Copy, task: str, holdout: float) -> str:
    benchmark = copy.benchmark.name
    outside = modules_hash([type(copy.benchmark).__module__])
    code = source_hash() + (f"+{outside}" if outside else "")  # other code may find something else
    content = json.dumps([benchmark, copy.fingerprint, task, holdout, code])
    return files.findings(benchmark, task, hashlib.sha256(content.encode()).hexdigest()[:10])


def _read(store: Store, file: str) -> Findings:
    try:
        findings: Findings = json.loads(store.get(file))["findings"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreError(
            f"{store.path(file)}: not what a task has learnt ({type(error).__name__}: {error}); "
            "remove it to have it learnt anew"
        ) from error
    return findings
