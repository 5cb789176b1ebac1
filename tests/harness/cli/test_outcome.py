"""The table of a terminal fits it, says the verdict first, and shows no number that was cut."""

import io
import re
import shlex
from dataclasses import replace

import pytest
from rich.console import Console

from cells import small_matrix
from command import invoke
from make_records import three_seeds
from mtlbench.harness.cli.outcome import show_report
from mtlbench.harness.cli.run import _command, _show_outcome
from mtlbench.harness.driver.run import Outcome
from mtlbench.harness.matrix.text.written import Override, Written
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.reading import read
from mtlbench.results.report.write import Report, report

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
        assert all(row[place].text.partition(" ± ")[0] in text for place in places)


def test_the_claim_stands_above_the_table_and_each_row_has_its_verdict(written):
    text = shown(written, 120)
    (table,) = written.tables
    assert text.index(table.claim[:30]) < text.index("Verdict")
    assert dict(zip((row[0].text for row in table.rows), table.verdicts, strict=True))["Single task"] == ""
    assert {verdict for verdict in table.verdicts if verdict} <= {"better", "worse", "equivalent", "undecided"}


def test_wide_terminals_show_costs_and_narrow_ones_leave_them_out(written):
    assert "Training" in shown(written, 200) and "Training" not in shown(written, 80)


def test_columns_that_do_not_fit_are_counted_in_one_line_that_says_where_they_are(written):
    (line,) = [line for line in shown(written, 80).splitlines() if line.startswith("left out: ")]
    assert "report.html" in line
    assert all(title not in shown(written, 80) for title in ("Training", "MACs", "±"))
    assert line.startswith("left out: 3 costs, standard deviations;")
    (line,) = [line for line in shown(written, 60).splitlines() if line.startswith("left out: ")]
    assert line.startswith("left out: 2 scores, 4 costs, standard deviations;")


def test_each_task_has_its_score_at_80_columns_whatever_else_has_room(written):
    (table,) = written.tables
    scores = [place for place, column in enumerate(table.columns) if column.part == "score"]
    for width in range(76, 121):
        text = shown(written, width)
        assert all(row[place].text.partition(" ± ")[0] in text for row in table.rows for place in scores)
        assert max(map(len, text.splitlines())) <= max(width, 90)  # the line of what is left out is not broken


def test_a_terminal_as_wide_as_the_line_says_shows_all_columns_and_a_narrower_one_does_not(written):
    enough = int(re.search(r"widen to (\d+) columns", shown(written, 80))[1])
    assert "left out: " not in shown(written, enough)
    assert "left out: 1 cost;" in shown(written, enough - 1)


def test_a_report_ends_with_the_command_that_trains_what_is_missing(tmp_path):
    store = Store(three_seeds(tmp_path / "store"))
    manifest = read(store.url, "rooms").manifest
    missing = sum(store.state(cell_id) != "finished" for cell_id in manifest.ids)
    asked = ("report", "rooms", "--store", store.url, "--out", tmp_path / "out")
    last = invoke(*asked).stdout.splitlines()[-1]  # nobody has typed a command
    assert missing and last == f"missing  {missing} of {len(manifest.ids)} cells of rooms"
    command = _command("my rows.yaml", Written("", {}, [Override("seeds=[0]", ("seeds",), [0])]), ["rooms=r"], None)
    store.put(files.matrix("rooms"), replace(manifest, command=command).to_json())
    *_, count, following = invoke(*asked).stdout.splitlines()
    typed = ["mtlbench", "run", "my rows.yaml", "--set", "seeds=[0]", "--data", "rooms=r", "--store", store.url]
    assert count == last and following.startswith("next     ") and shlex.split(following)[1:] == typed


def test_commands_name_a_store_with_a_space_as_a_shell_takes_it(tmp_path, capsys):
    store = Store(str(tmp_path / "my store"))
    quoted = shlex.quote(store.url)
    assert f"`mtlbench run MATRIX --store {quoted}` begins one" in invoke("status", "--store", store.url).stdout
    ended = Outcome(0, [], {"c1": "it fell"}, {}, [], Report((), "", (), (), "", ()))
    _show_outcome(small_matrix(), store, ended, tmp_path / "out", None)
    said = capsys.readouterr()
    assert f"mtlbench ui --store {quoted}\n" in said.out and f"mtlbench show c1 --store {quoted}\n" in said.err


def test_a_report_of_a_finished_matrix_names_no_command(tmp_path):
    store = Store(three_seeds(tmp_path / "store"))
    manifest = read(store.url, "rooms").manifest
    entries = tuple(entry for entry in manifest.entries if store.state(entry.id) == "finished")
    store.put(files.matrix("rooms"), replace(manifest, entries=entries, command="mtlbench run rooms").to_json())
    said = invoke("report", "rooms", "--store", store.url, "--out", tmp_path / "out").stdout
    assert "report   " in said and "missing" not in said and "next" not in said
