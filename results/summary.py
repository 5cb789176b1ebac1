"""The numbers of a table: for every row its scores, its Delta_m against the baseline, how sure it is, and its cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd

from results import statistics
from results.delta import IncomparableScores, delta_m, log_delta, relative_gain, require_comparable
from results.record import CorruptRecord, Record, Score, differences, influence
from results.runs import UNFINISHED, Comparison, Row, Run
from results.statistics import Contrast, Interval

COSTS = ("parameters", "macs", "seconds_per_step", "train_seconds")
Influences = Callable[[str], dict[str, "pd.Series[float]"] | None]  # of a cell id; see results.record.influence

MARGIN = 0.5  # points of Delta_m inside which two methods count as equivalent


@dataclass(frozen=True)
class ScoreSummary:
    """A task's primary score over the seeds of a row."""

    values: Mapping[int, float]  # by seed; those that are defined
    score: Score | None  # any of them: its metric, direction, definition and protocol
    problem: str  # why there is no value: one of UNFINISHED, or why it is undefined; "" otherwise
    best: bool = False  # no row of the column is better; False with one seed
    others: tuple[Score, ...] = ()  # scores of seeds that do not compare with `score`: the mean is of unlike things

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values()))) if self.values else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation over seeds; NaN for one."""
        return statistics.mean_and_sd(list(self.values.values()))[1] if self.values else math.nan


@dataclass(frozen=True)
class DeltaSummary:
    """Delta_m of a row against the baseline, in percent; positive is better."""

    mean: float  # NaN where undefined
    values: Mapping[int, float]  # by seed of the row
    log: float  # the log delta of the same runs
    gains: Mapping[str, Mapping[int, float]]  # task -> seed -> its term of Eq. (6)
    seeds: Interval | None = None  # 95 %, over seeds
    images: Interval | None = None  # 95 %, over seeds and test images
    paired: bool = True  # by seed; otherwise against the mean of the baseline's runs
    problem: str = ""  # why it is undefined
    best: bool = False

    @property
    def sd(self) -> float:
        return statistics.mean_and_sd(list(self.values.values()))[1] if self.values else math.nan


@dataclass(frozen=True)
class RowSummary:
    row: Row
    scores: Mapping[str, ScoreSummary]  # by task
    delta: DeltaSummary
    cost: Mapping[str, float]  # COSTS, means over finished runs; NaN where unknown


@dataclass(frozen=True)
class Summary:
    """A comparison with its numbers."""

    comparison: Comparison
    rows: Mapping[str, RowSummary]  # by label
    constant: Mapping[str, ScoreSummary]  # by task; {} where there is none
    contrasts: tuple[tuple[str, str, Contrast], ...]  # pairs of labels, on Delta_m
    rebased: Mapping[str, Mapping[int, float]]  # label -> seed of the baseline -> mean Delta_m against that one run


def summarise(comparison: Comparison, store: str) -> Summary:
    """Everything a table says of a comparison. `store` is where the per-image files of its cells lie."""
    tasks = comparison.tasks
    baseline = comparison.rows.get(comparison.baseline)
    scores = {label: {task: _scores(row, task) for task in tasks} for label, row in comparison.rows.items()}
    influences = cache(lambda cell_id: influence(store, cell_id))
    deltas = {label: _delta(row, baseline, tasks, influences) for label, row in comparison.rows.items()}
    for task in tasks:
        for label in _best({label: scores[label][task] for label in scores}, comparison):
            scores[label][task] = replace(scores[label][task], best=True)
    blocks = _complete_deltas(comparison)
    contrasts = statistics.contrasts(list(blocks.values()), margin=MARGIN) if blocks else []
    names = list(blocks)
    best = dict(zip(names, statistics.not_worse_than_best(list(blocks.values())), strict=True)) if blocks else {}
    rows = {
        label: RowSummary(
            row,
            scores[label],
            replace(deltas[label], best=best.get(label, False)),
            _cost(row, comparison.parents),
        )
        for label, row in comparison.rows.items()
    }
    constant = {} if comparison.constant is None else _constant(comparison.constant, tasks)
    pairs = tuple((names[pair.first], names[pair.second], pair) for pair in contrasts)
    return Summary(comparison, rows, constant, pairs, _rebased(comparison, baseline, deltas))


def _scores(row: Row, task: str) -> ScoreSummary:
    scores = {seed: run.scores()[task] for seed, run in row.runs.items() if task in run.scores()}
    values = {seed: score.value for seed, score in scores.items() if score.value is not None}
    any_score = next(iter(scores.values()), None)
    if values:
        assert any_score is not None
        others = tuple(score for score in scores.values() if differences(score, any_score))
        return ScoreSummary(values, any_score, "", others=others)
    if any_score is not None:
        return ScoreSummary({}, any_score, _undefined(any_score))
    statuses = {run.status_of(task) for run in row.runs.values()}
    if "finished" in statuses:
        return ScoreSummary({}, None, f"the record has no primary score of {task}")
    return ScoreSummary({}, None, next(status for status in UNFINISHED if status in statuses))


def _undefined(score: Score) -> str:
    if score.metric == "undefined":
        return f"{score.task} is trained but has no metric"
    return f"{score.task}: {score.metric} is undefined, since no pixel of the test split has a label"


def _delta(row: Row, baseline: Row | None, tasks: tuple[str, ...], influences: Influences) -> DeltaSummary:
    mine = row.finished()
    if baseline is None:
        return DeltaSummary(math.nan, {}, math.nan, {}, problem="the matrix names no baseline")
    theirs = {
        task: {seed: run.scores()[task] for seed, run in baseline.runs.items() if task in run.scores()}
        for task in tasks
    }
    problem = _delta_problem(row, mine, baseline, theirs, tasks)
    if problem:
        return DeltaSummary(math.nan, {}, math.nan, {}, problem=problem)
    if row.label == baseline.label:
        return DeltaSummary(0.0, {}, 0.0, {})
    whole = baseline.finished()
    paired = set(mine) <= set(whole)
    centre = {task: _mean_score(list(scores.values())) for task, scores in theirs.items()}
    against = {seed: whole[seed] if paired else centre for seed in mine}
    values = {seed: delta_m(scores, against[seed]) for seed, scores in mine.items()}
    gains = {
        task: {seed: relative_gain(scores[task], against[seed][task]) for seed, scores in mine.items()}
        for task in tasks
    }
    interval = (
        statistics.paired_interval(list(values.values()))
        if paired
        else statistics.delta_interval(
            [[_value(scores[task]) for task in tasks] for scores in mine.values()],
            [[_value(score) for score in theirs[task].values()] for task in tasks],
            [centre[task].higher_is_better for task in tasks],
            independent_tasks=any(len(run.entries) > 1 for run in baseline.runs.values()),
        )
    )
    return DeltaSummary(
        float(np.mean(list(values.values()))),
        values,
        float(np.mean([log_delta(scores, against[seed]) for seed, scores in mine.items()])),
        gains,
        interval,
        _over_images(row, baseline, values, tasks, influences) if paired else None,
        paired,
    )


def _delta_problem(
    row: Row,
    mine: Mapping[int, Mapping[str, Score]],
    baseline: Row,
    theirs: Mapping[str, Mapping[int, Score]],
    tasks: tuple[str, ...],
) -> str:
    """Why Delta_m is undefined for this row; "" where it is not."""
    if not mine:
        statuses = {run.status for run in row.runs.values()}
        return next(status for status in UNFINISHED if status in statuses)
    for task in tasks:
        if not theirs[task]:
            return f"the baseline {baseline.label} has no finished run of {task}"
        ours = [scores[task] for scores in mine.values() if task in scores]
        if len(ours) < len(mine):
            return f"{row.label}: a record has no primary score of {task}"
        undefined = [score for score in (*ours, *theirs[task].values()) if score.value is None]
        if undefined:
            return _undefined(undefined[0])
        if any(score.value == 0 for score in theirs[task].values()):
            return f"{task}: the baseline's {ours[0].metric} is 0"
        try:
            for score in (*ours, *theirs[task].values()):
                require_comparable(score, next(iter(theirs[task].values())))
        except IncomparableScores as error:
            return str(error)
    return ""


def _over_images(
    row: Row, baseline: Row, values: Mapping[int, float], tasks: tuple[str, ...], influences: Influences
) -> Interval | None:
    """Seeds and images at once, from the influence of each image on Delta_m. None where a cell kept no influences.

    psi_i = 100/T sum_t sigma_t [psi^M_ti - (M_t / b_t) psi^b_ti] / b_t, added to the seed's Delta_m.
    """
    if len(values) < 2:
        return None
    pseudo_values = {}
    for seed, value in values.items():
        terms = []
        for task in tasks:
            of_row = _influence(row.runs[seed], task, influences)
            of_baseline = _influence(baseline.runs[seed], task, influences)
            if of_row is None or of_baseline is None:
                return None
            if not of_row.index.equals(of_baseline.index):
                raise CorruptRecord(
                    f"{row.label}, seed {seed}: {task} was scored on other images than {baseline.label}"
                )
            score, base = row.runs[seed].scores()[task], baseline.runs[seed].scores()[task]
            sign = 1.0 if score.higher_is_better else -1.0
            terms.append(100 / len(tasks) * sign * (of_row - _value(score) / _value(base) * of_baseline) / _value(base))
        # An image without a task's label does not move that task's score; the others move it as 1 of N_t, not of N.
        num_images = len(set().union(*(term.index for term in terms)))
        total = pd.concat([term * (num_images / len(term)) for term in terms], axis=1).fillna(0.0).sum(axis=1)
        pseudo_values[seed] = value + total.sort_index()
    together = pd.DataFrame(pseudo_values)
    if together.isna().any(axis=None):
        raise CorruptRecord(f"{row.label}: its seeds were scored on different test images")
    return statistics.crossed_interval(together.to_numpy().T)


def _influence(run: Run, task: str, influences: Influences) -> pd.Series[float] | None:
    """By image; None where the cell kept none or the score has no derivative."""
    (cell_id,) = (entry.id for entry in run.entries if task in entry.tasks)
    found = (influences(cell_id) or {}).get(task)
    return None if found is None or found.isna().any() else found


def _complete_deltas(comparison: Comparison) -> dict[str, list[float]]:
    """label -> Delta_m by seed, of the rows with every seed: the complete block that the verdicts need.

    Against the mean of the baseline's runs, so that the baseline is a row like the others, with noise of its own,
    instead of zeros. {} where the baseline itself is incomplete.
    """
    seeds, tasks = comparison.seeds, comparison.tasks
    if comparison.baseline not in comparison.rows:
        return {}
    whole = comparison.rows[comparison.baseline].finished()
    if set(whole) != set(seeds) or any(whole[seed].get(task) is None for seed in seeds for task in tasks):
        return {}
    if any(whole[seed][task].value is None for seed in seeds for task in tasks):
        return {}
    centre = {task: _mean_score([whole[seed][task] for seed in seeds]) for task in tasks}
    block = {}
    for label, row in comparison.rows.items():
        mine = row.finished()
        if set(mine) != set(seeds):
            continue
        try:
            values = [delta_m(mine[seed], centre) for seed in seeds]
        except IncomparableScores:
            continue  # the table marks it: its Delta_m is undefined
        if all(math.isfinite(value) for value in values):
            block[label] = values
    return block


def _rebased(
    comparison: Comparison, baseline: Row | None, deltas: Mapping[str, DeltaSummary]
) -> dict[str, dict[int, float]]:
    """What the choice of one run of the baseline would make of every row with a defined Delta_m, the baseline's too."""
    if baseline is None:
        return {}
    whole = baseline.finished()
    return {
        label: {
            seed: float(np.mean([delta_m(scores, run) for scores in row.finished().values()]))
            for seed, run in whole.items()
        }
        for label, row in comparison.rows.items()
        if not deltas[label].problem
    }


def _best(column: Mapping[str, ScoreSummary], comparison: Comparison) -> list[str]:
    """Labels that no other row is better than, among those with every seed. [] where scores do not compare."""
    whole = {label: entry for label, entry in column.items() if set(entry.values) == set(comparison.seeds)}
    scores = [score for entry in whole.values() for score in (entry.score, *entry.others) if score is not None]
    if not scores or any(differences(score, scores[0]) for score in scores):
        return []
    sign = 1.0 if scores[0].higher_is_better else -1.0
    values = [[sign * entry.values[seed] for seed in comparison.seeds] for entry in whole.values()]
    return [label for label, best in zip(whole, statistics.not_worse_than_best(values), strict=True) if best]


def _cost(row: Row, records: Mapping[str, Record]) -> dict[str, float]:
    """Sums over the cells of a run, means over the runs that finished; training includes the cells derived from."""
    runs = [run for run in row.runs.values() if run.status == "finished"]
    if not runs:
        return dict.fromkeys(COSTS, math.nan)
    return {name: float(np.mean([_run_cost(run, name, records) for run in runs])) for name in COSTS}


def _run_cost(run: Run, name: str, records: Mapping[str, Record]) -> float:
    cells = set(run.records)
    if name == "train_seconds":
        waiting = list(cells)
        while waiting:
            record = records.get(waiting.pop())
            if record is None:
                return math.nan
            fresh = set(record.derived_from) - cells
            cells |= fresh
            waiting += sorted(fresh)
    costs = [records[cell_id].cost.get(name, math.nan) for cell_id in sorted(cells) if cell_id in records]
    return math.fsum(costs) if len(costs) == len(cells) else math.nan


def _constant(record: Record, tasks: tuple[str, ...]) -> dict[str, ScoreSummary]:
    scores = record.primary()
    found = {}
    for task in tasks:
        score = scores.get(task)
        if score is None:
            found[task] = ScoreSummary({}, None, f"the constant predictor's record has no score of {task}")
        elif score.value is None:
            found[task] = ScoreSummary({}, score, _undefined(score))
        else:
            found[task] = ScoreSummary({0: score.value}, score, "")
    return found


def _mean_score(scores: list[Score]) -> Score:
    return replace(scores[0], value=float(np.mean([_value(score) for score in scores])))


def _value(score: Score) -> float:
    assert score.value is not None
    return score.value
