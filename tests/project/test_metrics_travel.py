"""A metric is described in its own file, and its scores carry the description: reports hold no list of metrics."""

import ast

from mtlbench.benchmarks import BENCHMARKS
from paths import ROOT


def score_names():
    """Of the metrics of all benchmarks, without the scores of single classes."""
    metrics = [task.metric for make in BENCHMARKS.values() for task in make().tasks.values() if task.metric]
    return {name for metric in metrics for name in metric.score_types if "/" not in name}


def test_no_module_of_reports_names_a_score():
    names = score_names()
    assert {"miou", "rmse", "mean_angle", "maxf"} <= names
    found = {}
    for path in sorted((ROOT / "results").rglob("*.py")):
        strings = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        named = names & {string.value for string in strings if isinstance(string.value, str)}
        if named:
            found[path.relative_to(ROOT).as_posix()] = named
    assert found == {}
