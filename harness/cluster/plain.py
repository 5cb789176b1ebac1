"""Trials of plain Ray Tune, without anything of ours around them. A benchmark compares cells with them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from mtlbench.harness.cluster import joining


def trials(step: Callable[[int], None], count: int) -> None:
    """Call `step` with 0, 1, ... on this machine, each in a trial with a process of its own and one CPU."""

    def trial(config: dict[str, Any]) -> None:
        step(config["number"])
        tune.report({"done": 1})

    joining.join(None)
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(prefix="mtlbench-plain-") as scratch:
            results = tune.Tuner(
                tune.with_resources(trial, {"cpu": 1}),
                param_space={"number": tune.grid_search(list(range(count)))},
                run_config=tune.RunConfig(name="plain", storage_path=scratch, verbose=0),
            ).fit()
            if results.errors:
                raise RuntimeError(f"{len(results.errors)} trials of plain Ray Tune failed: {results.errors[0]}")
    finally:
        ray.shutdown()
