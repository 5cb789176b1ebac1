"""Delta_m: how much better a set of scores is than a baseline, in percent, by the paper's Eq. (6) and by logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mtlbench.results.records.record import Score, differences

Term = Callable[[Score, Score], float]  # score, baseline -> percent


class IncomparableScores(ValueError):
    """Two scores of one task measure different things, so they cannot be compared."""


def relative_gain(score: Score, baseline: Score) -> float:
    """One task's term of Eq. (6), in percent: positive is better, whatever the metric's direction.

    The result is NaN where a score is undefined or where the baseline is 0. Raises IncomparableScores where the
    metrics, directions, definitions or protocols differ.
    """
    require_comparable(score, baseline)
    if not (_defined(score) and _defined(baseline)) or baseline.value == 0:
        return math.nan
    assert score.value is not None and baseline.value is not None
    sign = 1.0 if score.higher_is_better else -1.0
    return 100.0 * sign * (score.value - baseline.value) / baseline.value


def log_gain(score: Score, baseline: Score) -> float:
    """One task's term of `log_delta`, in percent. The result is NaN where a score is undefined or not positive."""
    require_comparable(score, baseline)
    if not (_defined(score) and _defined(baseline)):
        return math.nan
    assert score.value is not None and baseline.value is not None
    if score.value <= 0 or baseline.value <= 0:
        return math.nan
    sign = 1.0 if score.higher_is_better else -1.0
    return 100.0 * sign * math.log(score.value / baseline.value)


def delta_m(scores: Mapping[str, Score], baseline: Mapping[str, Score]) -> float:
    """Eq. (6) of the SCA-MTL paper: the mean over tasks of the signed relative change, in percent.

    Delta_m = 100/T sum_t sigma_t (M_t - b_t) / b_t, with sigma_t = +1 where higher is better and -1 elsewhere. The
    text of the paper calls Delta_m a drop. With this sign, Delta_m is a gain, and positive is better.

    scores, baseline: task -> score. The scores of the baseline may come from several cells, up to one for each task.
    The sum runs over the tasks of both arguments. The result is NaN where only one of them has a task, where a score
    is undefined, or where the baseline is 0, since a mean over the remaining tasks would be another quantity. Raises
    IncomparableScores (see `relative_gain`), and ValueError where there is no task.
    """
    return _mean_over_tasks(relative_gain, scores, baseline)


def all_deltas(runs: Sequence[Mapping[str, Score]], baselines: Sequence[Mapping[str, Score]]) -> list[list[float]]:
    """For each of the baselines, `delta_m` of every run against it, with the same bits, at the cost of a few.

    All runs, and all baselines, have the same tasks. Raises what `delta_m` raises for one of the pairs.
    """
    if not runs or not baselines:
        return [[] for _ in baselines]
    tasks = sorted({task for scores in (*runs, *baselines) for task in scores})
    if not tasks or any(set(scores) != set(tasks) for scores in (*runs, *baselines)):
        return [[delta_m(scores, baseline) for scores in runs] for baseline in baselines]
    terms = []
    for task in tasks:
        mine, theirs = [scores[task] for scores in runs], [scores[task] for scores in baselines]
        for score, baseline in ((mine[0], each) for each in theirs):
            require_comparable(score, baseline)
        for score in mine:  # what is comparable with one baseline is comparable with those that are comparable with it
            require_comparable(score, theirs[0])
        value, base = (np.array([each.value if _defined(each) else math.nan for each in s]) for s in (mine, theirs))
        base[base == 0] = math.nan
        sign = 1.0 if mine[0].higher_is_better else -1.0
        terms.append(100.0 * sign * (value - base[:, None]) / base[:, None])  # [baselines, runs]
    gains = np.stack(terms, axis=-1).tolist()
    return [[math.fsum(of_pair) / len(tasks) for of_pair in of_baseline] for of_baseline in gains]


def log_delta(scores: Mapping[str, Score], baseline: Mapping[str, Score]) -> float:
    """100/T sum_t sigma_t ln(M_t / b_t), in percent. NaN and errors are as in `delta_m`; scores <= 0 give NaN too.

    The difference of the log deltas of two methods does not contain the baseline, so no choice of the baseline run can
    change their order. To halve an error counts as much as to double a score.
    """
    return _mean_over_tasks(log_gain, scores, baseline)


def require_comparable(score: Score, baseline: Score) -> None:
    """Raise IncomparableScores where task, metric, direction, definition or protocol differ. The message names it."""
    for name, ours, theirs in differences(score, baseline):
        raise IncomparableScores(
            f"{score.task}: {name} is {ours!r} here and {theirs!r} in the baseline; "
            "compare records of one benchmark, evaluated the same way"
        )


def _mean_over_tasks(term: Term, scores: Mapping[str, Score], baseline: Mapping[str, Score]) -> float:
    tasks = sorted({*scores, *baseline})
    if not tasks:
        raise ValueError("no task to average over: both the scores and the baseline are empty")
    if set(scores) != set(baseline):
        return math.nan
    return math.fsum(term(scores[task], baseline[task]) for task in tasks) / len(tasks)


def _defined(score: Score) -> bool:
    return score.value is not None and math.isfinite(score.value)
