"""The table of a terminal fits it, says the verdict first, and shows no number that was cut."""

import io

import pytest
from rich.console import Console

from make_records import three_seeds
from mtlbench.harness.cli.outcome import show_report
from mtlbench.results.report.write import report

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("outcome")
    return report(three_seeds(root / "store"), [], root / "out")


def shown(written, width):
    said = io.StringIO()
    show_report(written, Console(file=said, width=width, highlight=False))
    return said.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_table_fits_and_nothing_is_cut(written, width):
    text = shown(written, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text and "<sup>" not in text
    (table,) = written.tables
    places = [place for place, column in enumerate(table.columns) if column.title in ("Method", "Δm", "95 % interval")]
    for row in table.rows[:-1]:  # the constant predictor has neither
        assert all(row[place].text in text for place in places)


def test_the_claim_stands_above_the_table_and_each_row_has_its_verdict(written):
    text = shown(written, 120)
    (table,) = written.tables
    assert text.index(table.claim[:30]) < text.index("Verdict")
    assert dict(zip((row[0].text for row in table.rows), table.verdicts, strict=True))["Single task"] == ""
    assert {verdict for verdict in table.verdicts if verdict} <= {"better", "worse", "equivalent", "undecided"}


def test_wide_terminals_show_costs_and_narrow_ones_leave_them_out(written):
    assert "Training" in shown(written, 200) and "Training" not in shown(written, 80)
