"""Delta_m, Eq. (6): what moves it and what does not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from make_records import score
from mtlbench.results.records.record import Score
from mtlbench.results.statistics.delta import IncomparableScores, delta_m, log_delta, relative_gain

positive = st.floats(0.01, 1e3)


def scores(**values):
    return {task: score(task, value) for task, value in values.items()}


def scaled(found, factor, task):
    """The scores with one task in another unit."""
    return {
        name: Score(s.task, s.metric, s.value * (factor if name == task else 1), s.higher_is_better, True, s.definition)
        for name, s in found.items()
    }


@given(positive, positive, positive, positive)
def test_it_is_the_literal_mean_of_signed_relative_changes(semseg, depth, base_semseg, base_depth):
    expected = 50 * ((semseg - base_semseg) / base_semseg - (depth - base_depth) / base_depth)
    found = delta_m(scores(semseg=semseg, depth=depth), scores(semseg=base_semseg, depth=base_depth))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_row_of_the_paper():
    baseline = scores(depth=0.625, semseg=37.99, normals=20.87)
    assert delta_m(scores(depth=0.584, semseg=40.5, normals=20.59), baseline) == pytest.approx(4.84, abs=0.005)


@pytest.mark.parametrize("delta", [delta_m, log_delta])
def test_the_baseline_against_itself_is_zero(delta):
    baseline = scores(depth=0.6, semseg=40.0)
    assert delta(baseline, baseline) == 0


@pytest.mark.parametrize("delta", [delta_m, log_delta])
def test_positive_means_better_in_both_directions(delta):
    baseline = scores(depth=0.6, semseg=40.0)
    assert delta(scores(depth=0.5, semseg=40.0), baseline) > 0
    assert delta(scores(depth=0.6, semseg=41.0), baseline) > 0
    assert delta(scores(depth=0.7, semseg=40.0), baseline) < 0


@pytest.mark.parametrize("delta", [delta_m, log_delta])
@given(positive, positive, positive, positive, st.floats(0.01, 100))
def test_neither_the_order_of_tasks_nor_a_unit_matters(delta, semseg, depth, base_semseg, base_depth, unit):
    ours, baseline = scores(semseg=semseg, depth=depth), scores(semseg=base_semseg, depth=base_depth)
    expected = pytest.approx(delta(ours, baseline), rel=1e-6, abs=1e-6)
    assert delta(dict(reversed(ours.items())), baseline) == expected
    assert delta(scaled(ours, unit, "depth"), scaled(baseline, unit, "depth")) == expected


@given(positive, positive, positive, positive, positive, positive)
def test_the_difference_of_two_log_deltas_has_no_baseline_in_it(a, b, c, d, e, f):
    one, other = scores(semseg=a, depth=b), scores(semseg=c, depth=d)
    against_e = log_delta(one, scores(semseg=e, depth=f)) - log_delta(other, scores(semseg=e, depth=f))
    against_f = log_delta(one, scores(semseg=f, depth=e)) - log_delta(other, scores(semseg=f, depth=e))
    assert against_e == pytest.approx(against_f, abs=1e-6)


def test_delta_itself_can_be_reordered_by_the_choice_of_the_baseline():
    one, other = scores(semseg=50.0, depth=0.6), scores(semseg=45.0, depth=0.5)
    weak, strong = scores(semseg=20.0, depth=0.6), scores(semseg=44.0, depth=0.3)
    assert delta_m(one, weak) > delta_m(other, weak)
    assert delta_m(one, strong) < delta_m(other, strong)


def test_halving_an_error_counts_as_much_as_doubling_a_score_in_the_log():
    assert log_delta(scores(depth=0.3), scores(depth=0.6)) == pytest.approx(100 * math.log(2))
    assert log_delta(scores(semseg=60.0), scores(semseg=30.0)) == pytest.approx(100 * math.log(2))


@pytest.mark.parametrize(
    ("ours", "baseline"),
    [
        (scores(semseg=40.0, depth=None), scores(semseg=40.0, depth=0.6)),
        (scores(semseg=40.0, depth=0.6), scores(semseg=40.0, depth=None)),
        (scores(semseg=40.0, depth=0.6), scores(semseg=0.0, depth=0.6)),
        (scores(semseg=40.0, depth=0.6), scores(semseg=40.0)),
        (scores(semseg=40.0), scores(semseg=40.0, depth=0.6)),
    ],
    ids=["undefined score", "undefined baseline", "baseline of 0", "no baseline", "no score"],
)
def test_an_undefined_task_leaves_the_whole_undefined(ours, baseline):
    assert math.isnan(delta_m(ours, baseline))
    assert math.isnan(log_delta(ours, baseline))


def test_scores_of_different_definitions_are_not_compared():
    native, resized = score("depth", 0.6, "native"), score("depth", 0.5, "network resolution")
    with pytest.raises(IncomparableScores, match="depth: definition is 'network resolution' here and 'native'"):
        relative_gain(resized, native)
    with pytest.raises(IncomparableScores, match="metric"):
        relative_gain(Score("depth", "absrel", 0.5, False, True, "native"), native)


def test_no_task_is_an_error():
    with pytest.raises(ValueError, match="no task"):
        delta_m({}, {})
