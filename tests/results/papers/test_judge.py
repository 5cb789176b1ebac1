"""Which printed deltas are possible: by brute force, on honest tables, and with one mistake in them."""

import itertools

import pytest

from mtlbench.results.papers.columns import Choices, tables
from mtlbench.results.papers.judge import FREE, judge
from mtlbench.results.papers.printed import audit_text
from mtlbench.results.papers.reading import sources
from mtlbench.results.papers.reading.grid import BadTable
from printed_tables import DENSE, NAMES, NYUV2, NYUV2_TASKS, cells, header, honest, html, markdown, separated

HEAD = """<tr><td rowspan="3">Method</td><td colspan="2">Segmentation</td><td colspan="2">Depth</td>
<td colspan="5">Surface Normal</td><td rowspan="3">{}</td></tr>
<tr><td rowspan="2">mIoU ↑</td><td rowspan="2">Pix Acc ↑</td><td rowspan="2">Abs Err ↓</td>
<td rowspan="2">Rel Err ↓</td><td colspan="2">Angle Dist ↓</td><td colspan="3">Within t° ↑</td></tr>
<tr><td>Mean</td><td>Median</td><td>11.25</td><td>22.5</td><td>30</td></tr>"""


def audited(text, choices=None):
    return audit_text(text, "it", choices or Choices()).tables[0]


def verdicts(text, choices=None):
    return {row.verdict.entry.method: row.verdict.verdict for row in audited(text, choices).rows}


def wrong(text):
    """The one row that is impossible."""
    (found,) = [row for row in audited(text).rows if row.verdict.verdict == "impossible"]
    return found


def test_the_range_is_that_of_all_roundings():
    (row,) = [
        row for row in audited("Method,mIoU,RMSE,Δm\nSTL,40.0,0.60,-\nA,41.0,0.6,1.25\n").rows if row.verdict.printed
    ]
    points = (-1, -0.4, 0.3, 1)
    deltas = [
        50 * ((41 + a * 0.05) / (40 + b * 0.05) - 1 - (0.6 + c * 0.05) / (0.6 + d * 0.005) + 1)
        for a, b, c, d in itertools.product(points, repeat=4)
    ]  # the two entries of RMSE have decimals of their own
    found = row.verdict.range
    assert (found.low, found.high) == (pytest.approx(min(deltas)), pytest.approx(max(deltas)))
    assert found.value == pytest.approx(1.25)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("arrow", ["", " ↓", " ↑"])
def test_no_honest_delta_is_called_impossible_whatever_its_sign(seed, lower, arrow):
    text = separated([header(delta=f"Delta_m (%){arrow}"), *cells(honest(lower=lower, seed=seed))])
    found = audited(text)
    assert found.impossible == 0 and found.compared == 4
    reading = found.judged[0].reading
    assert reading.lower == lower
    assert bool(reading.said) == (
        arrow in (" ↓", " ↑") and lower != (arrow == " ↓")
    )  # it says so where the arrow is wrong


@pytest.mark.parametrize("tasks", [None, NYUV2_TASKS])
@pytest.mark.parametrize("title", ["Δm% ↓", "Δm% ↓ task-weighted"])
def test_the_mean_by_metric_and_by_task_are_told_apart(tasks, title):
    text = html(cells(honest(NYUV2, lower=True, tasks=tasks)), HEAD.format(title))
    found = audited(text)
    assert found.impossible == 0 and found.compared == 4
    assert found.judged[0].reading.mean == ("task" if tasks else "metric")


def test_two_columns_of_deltas_may_have_two_means_and_two_signs():
    by_metric, by_task = (
        honest(NYUV2, lower=lower, tasks=tasks) for lower, tasks in ((True, None), (False, NYUV2_TASKS))
    )
    rows = [[*one, two[-1]] for one, two in zip(cells(by_metric), cells(by_task), strict=True)]
    head = HEAD.format('Δm ↓</td><td rowspan="3">Δm ↑')
    found = audited(html(rows, head))
    assert found.impossible == 0 and found.compared == 8
    assert [judged.reading.lower for judged in found.judged] == [True, False]
    assert [judged.reading.mean for judged in found.judged] == ["metric", "task"]


@pytest.mark.parametrize("printed", ["-", "", "n/a", "0", "+0.00", "\u2013"])
@pytest.mark.parametrize(
    "name", ["STL", "Single-Task", "Single task baselines", "Independent", "ST (R50)", "TaskPrompter"]
)
@pytest.mark.parametrize("place", [0, 2, -1])
def test_the_baseline_is_found_by_its_name_or_by_the_delta_that_it_lacks(printed, name, place):
    first, *rest = cells(honest(names=(name, "Baseline: Uniform", "MTL", "Ours")), missing=printed)
    rest.insert(place if place >= 0 else len(rest), first)
    found = audited(separated([header(), *rest], "\t"))
    assert found.impossible == 0 and found.compared == 3
    assert [found.table.entries[base].method for base in found.judged[0].reading.baselines] == [name]


def test_each_group_of_rows_may_have_a_baseline_of_its_own():
    rows = []
    for seed, name in enumerate(("InvPT [55]", "TaskPrompter [56]", "MLoRE [50]")):
        rows += cells(
            honest(
                [metric._replace(baseline=metric.baseline * (1 + seed / 5)) for metric in DENSE],
                (name, "+ Ours"),
                seed=seed,
            )
        )
    found = audited(markdown([header(), *rows]))
    assert found.impossible == 0 and found.compared == 3
    assert len(found.judged[0].reading.baselines) == 3
    assert [row.verdict.against for row in found.rows][1::2] == ["InvPT [55]", "TaskPrompter [56]", "MLoRE [50]"]


def test_single_task_models_with_a_row_each_are_one_baseline():
    first, *rest = honest()
    parts = [["Single task", *("-" for _ in DENSE), "-"] for _ in DENSE]
    for place, number in enumerate(first.metrics):
        parts[place][place + 1] = number
    found = audited(separated([header(), *parts, *cells(rest)]))
    assert found.impossible == 0 and found.compared == 4


def test_the_directions_of_unknown_metrics_are_those_that_fit():
    rows = honest()
    text = separated([["Method", "Foo", "Bar", "Baz", "Qux", "Δm"], *cells(rows)])
    found = audited(text)
    assert found.impossible == 0
    assert [metric.higher for metric in found.judged[0].reading.metrics] == [metric.higher for metric in DENSE]


def test_a_metric_that_does_not_count_and_a_fraction_are_found_and_said():
    rows = [
        [name, *metrics[:2], f"0.{20 + place}", *metrics[2:], delta or "-"]
        for place, (name, metrics, delta) in enumerate(honest())
    ]
    titles = header()
    text = separated([[*titles[:3], "Depth RMSE(log) ↓", *titles[3:]], *rows])
    found = audited(text)
    assert found.impossible == 0 and [metric.index for metric in found.judged[0].reading.metrics] == [1, 2, 4, 5]
    assert found.judged[0].reading.said
    small = [row._replace(delta=row.delta and f"{float(row.delta) / 100:.4f}") for row in honest()]
    found = audited(separated([header(delta="Δm"), *cells(small)]))
    assert found.impossible == 0 and found.judged[0].reading.said == ("a fraction, and not percent",)


def test_one_row_alone_never_overrules_what_a_table_says():
    rows = honest(names=NAMES[:2])
    flipped = [rows[0], rows[1]._replace(delta=f"{-float(rows[1].delta):.2f}")]
    row = wrong(separated([header(delta="Δm ↑"), *cells(flipped)]))
    assert "with the other sign" in row.readings


def mistaken(change, metrics=DENSE, **options):
    """An honest table but for its last row."""
    rows = honest(metrics, **options)
    rows[-1] = change(rows[-1], rows)
    return separated([header(metrics), *cells(rows)])


def test_an_impossible_delta_is_explained_by_its_sign():
    row = wrong(mistaken(lambda row, rows: row._replace(delta=f"{-float(row.delta):.2f}")))
    assert "with the other sign" in row.readings


def test_an_impossible_delta_is_explained_by_another_baseline():
    def against_the_second(row, rows):
        gains = [
            (float(mine) / float(other) - 1) * (1 if metric.higher else -1)
            for mine, other, metric in zip(row.metrics, rows[1].metrics, DENSE, strict=True)
        ]
        return row._replace(delta=f"{25 * sum(gains):.2f}")

    assert any("'Multi task'" in said for said in wrong(mistaken(against_the_second)).readings)


def test_an_impossible_delta_is_explained_by_a_direction():
    def turned(row, rows):
        gains = [
            (float(mine) / float(base) - 1) * (1 if metric.higher or metric.title == "Normal mErr" else -1)
            for mine, base, metric in zip(row.metrics, rows[0].metrics, DENSE, strict=True)
        ]
        return row._replace(delta=f"{25 * sum(gains):.2f}")

    assert "if higher is better in 'Normal mErr ↓'" in wrong(mistaken(turned)).readings


@pytest.mark.parametrize("place", range(4))
def test_an_impossible_delta_is_explained_by_one_wrong_digit(place):
    def mistyped(row, rows):
        text = row.metrics[place]
        digit = text.index(".") + 1  # the first decimal
        other = f"{text[:digit]}{(int(text[digit]) + 5) % 10}{text[digit + 1 :]}"
        return row._replace(metrics=[other if index == place else metric for index, metric in enumerate(row.metrics)])

    true = honest()[-1].metrics[place]
    changes = {change.where: change for change in wrong(mistaken(mistyped)).changes}
    change = changes[DENSE[place].header]
    assert change.misprint and float(change.low) <= float(true) <= float(change.high)


def test_a_number_copied_from_another_row_is_named():
    def copied(row, rows):
        return row._replace(metrics=[*row.metrics[:2], rows[1].metrics[2], *row.metrics[3:]])

    change = {change.where: change for change in wrong(mistaken(copied)).changes}["Normal mErr ↓"]
    assert change.also == "Multi task"


def test_every_offered_change_makes_the_row_possible():
    text = mistaken(lambda row, rows: row._replace(delta=f"{float(row.delta) + 0.8:.2f}"))
    row = wrong(text)
    assert len(row.changes) == 5  # the four metrics and the delta itself
    for change in row.changes:
        for number in (change.nearest, change.low, change.high):
            last = text.splitlines()[-1]
            assert last.count(change.printed) == 1
            assert verdicts(text.replace(last, last.replace(change.printed, number)))["Ours"] == "possible", change


def test_a_wrong_number_of_the_baseline_is_named_where_it_explains_all_rows():
    rows = honest()
    true = rows[0].metrics[2]
    rows[0] = rows[0]._replace(metrics=[*rows[0].metrics[:2], f"{float(true) + 3:.2f}", rows[0].metrics[3]])
    found = audited(
        separated([header(), *cells(rows)]), Choices(metrics=("1", "2", "3", "4"), baseline_row="Single task")
    )
    assert found.impossible == 4
    assert any("Normal mErr ↓ of 'Single task'" in note and f" as {true}"[:6] in note for note in found.notes)


def test_rows_are_not_judged_without_their_numbers():
    rows = cells(honest())
    rows[1][2], rows[2][-1] = "-", "-"
    found = audited(separated([header(), *rows]))
    said = {row.verdict.entry.method: (row.verdict.verdict, row.verdict.why) for row in found.rows}
    assert said["Multi task"] == ("not judged", "it prints no single number for Depth RMSE ↓")
    assert said["PCGrad"][0] == "not judged" and "prints no number for Δm (%)" in said["PCGrad"][1]
    assert found.impossible == 0 and found.compared == 2


def test_a_row_with_too_few_cells_is_not_judged():
    rows = cells(honest())
    del rows[2][3]
    found = verdicts(html([header(), *rows]))
    assert list(found.values()) == ["baseline", "possible", "not judged", "possible", "possible"]


def test_a_baseline_prints_nothing_but_zero():
    rows = cells(honest())
    rows[0][-1] = "0.50"
    assert verdicts(separated([header(), *rows]))["Single task"] == "impossible"


def test_equal_rows_and_weak_tests_are_noted():
    rows = cells(honest())
    rows[2][1:5] = rows[3][1:5]
    notes = audited(separated([header(), *rows])).notes
    assert any("'PCGrad' and 'Nash-MTL' print the same 4 metrics but different Δm" in note for note in notes)
    assert not any("weak" in note for note in notes)
    coarse = separated([["Method", "mIoU", "RMSE", "Δm"], ["STL", "40", "0.6", "-"], ["A", "41", "0.6", "3.1"]])
    assert any("weak test" in note for note in audited(coarse).notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Method,mIoU,RMSE,Δm\nA,40.1,0.61,2.1\nB,41.1,0.60,3.1\n", "it:2: no baseline for 'Δm': no row"),
        ("Method,mIoU,RMSE,Δm\nSTL,40.1,0.00,-\nB,41.1,0.60,3.1\n", "it:2: the baseline 'STL' prints 0.00 for 'RMSE'"),
        ("Method,mIoU,RMSE,Δm\nSTL,a,b,c\nB,d,e,f\n", "no number below 'B'"),
        ("STL,40.1,0.6,0\nB,41.1,0.60,3.1\n", "it:1: numbers without a header"),
        ("Method,mIoU,RMSE\nSTL,40.1,0.6\nB,41.1,0.60\n", "it:2: no column of Δm among Method, mIoU, RMSE"),
        ("Method,Params,Δm\nSTL,40.1,0\nB,41.1,0.60\n", "it:2: no column of a metric beside 'Δm'"),
        ("just some words\n", "it: no table was found; give LaTeX"),
        ("M,p,q,s,u,v,w,Δm\nSTL,1,2,3,4,5,6,-\nB,1,2,3,4,5,6,1\n", "it:2: nothing says whether higher or"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_named_with_its_line(text, message):
    with pytest.raises(BadTable) as raised:
        audited(text)
    assert str(raised.value).startswith(message) or message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_hundred_rows_and_marks_of_direction_are_no_obstacle():
    names = ("STL", *(f"M{number}" for number in range(200)))
    rows = cells(honest(names=names))
    rows[77][-1] = "77.77"
    text = separated([header(), *([f"\u202b{row[0]}\u202c", *(f"\u200f{cell}" for cell in row[1:])] for row in rows)])
    found = verdicts(text)
    assert [name for name, verdict in found.items() if verdict == "impossible"] == ["M76"]
    assert len(found) == 201


def test_a_reading_that_contradicts_nothing_is_preferred():
    (grid,) = sources.tables(separated([header(), *cells(honest())]), "it")
    (table,) = tables(grid, Choices())
    (judged,) = judge(table, Choices())
    assert judged.reading.cost < FREE
