"""The interval over seeds and test images together, from what each image contributes to the scores of each run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import pandas as pd

from mtlbench.results.records import files
from mtlbench.results.records.record import CorruptRecord, in_words
from mtlbench.results.statistics.intervals import Interval, crossed_interval
from mtlbench.results.summary.columns import value_of
from mtlbench.results.summary.runs import Row, Run

Influences = Callable[[str], dict[str, "pd.Series[float]"] | None]  # from a cell id; see records.reading.influence


class NoInfluences(Exception):
    """There is no interval over images. The message says why, and names the cell and its file."""


def over_images(
    row: Row, baseline: Row, values: Mapping[int, float], tasks: tuple[str, ...], influences: Influences
) -> Interval:
    """The interval of Delta_m, from the paired `values` by seed (two or more) and the influence of each image.

    The influence of image i on Delta_m is psi_i = 100/T sum_t sigma_t [psi^M_ti - (M_t / b_t) psi^b_ti] / b_t. It is
    added to the Delta_m of the seed. Raises NoInfluences where a cell has no influences, or has influences of other
    images.
    """
    pseudo_values = {}
    for seed, value in values.items():
        terms = []
        for task in tasks:
            of_row = _influence(row.runs[seed], task, influences)
            of_baseline = _influence(baseline.runs[seed], task, influences)
            if not of_row.index.equals(of_baseline.index):
                raise NoInfluences(
                    f"{_file(row.runs[seed], task)} has other images of {in_words(task)} than "
                    f"{_file(baseline.runs[seed], task)}"
                )
            score, base = row.runs[seed].scores()[task], baseline.runs[seed].scores()[task]
            sign = 1.0 if score.higher_is_better else -1.0
            terms.append(
                100 / len(tasks) * sign * (of_row - value_of(score) / value_of(base) * of_baseline) / value_of(base)
            )
        # An image without a label of task t does not move the score of t. The N_t images with such a label move the
        # score as one of N_t images, not as one of N.
        together = terms[0].index if _same_images(terms) else set().union(*(term.index for term in terms))
        num_images = len(together)
        total = _added([term * (num_images / len(term)) for term in terms])
        pseudo_values[seed] = value + total.sort_index()
    table = pd.DataFrame(pseudo_values)
    if table.isna().any(axis=None):
        raise NoInfluences("seeds were scored on different test images")
    found = crossed_interval(table.to_numpy().T)
    if found is None:
        raise NoInfluences("there is a single test image")
    return found


def _same_images(terms: Sequence[pd.Series[float]]) -> bool:
    return all(term.index.equals(terms[0].index) for term in terms[1:])


def _added(terms: Sequence[pd.Series[float]]) -> pd.Series[float]:
    """The sum over tasks for each image. A task without a label of the image adds nothing."""
    if _same_images(terms):  # the usual case, in a tenth of the time
        return reduce(operator.add, terms)
    return pd.concat(terms, axis=1).fillna(0.0).sum(axis=1)


def _influence(run: Run, task: str, influences: Influences) -> pd.Series[float]:
    try:
        of_cell = influences(_cell(run, task))
    except CorruptRecord as error:
        raise NoInfluences(str(error)) from error
    if of_cell is None:
        raise NoInfluences(f"{_file(run, task)} is missing")
    found = of_cell.get(task)
    if found is None:
        raise NoInfluences(f"{_file(run, task)} has no influences of {in_words(task)}")
    if found.isna().any():
        raise NoInfluences(f"{_file(run, task)}: {in_words(task)} has no influence of some image on its score")
    return found


def _cell(run: Run, task: str) -> str:
    (cell_id,) = (entry.id for entry in run.entries if task in entry.tasks)
    return cell_id


def _file(run: Run, task: str) -> str:
    return files.per_image(_cell(run, task))
