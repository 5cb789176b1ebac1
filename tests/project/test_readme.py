"""What the README shows is what the committed records say."""

from mtlbench.results.report.write import report
from paths import ROOT


def test_the_committed_report_follows_from_the_committed_records(tmp_path):
    report(str(ROOT / "results" / "rooms_long" / "store"), ["rooms_long"], tmp_path)
    for name in ("table.md", "table.tex", "table.csv", "scores.csv", "deltas.csv", "gains.csv", "contrasts.csv"):
        made, committed = tmp_path / "rooms_long" / name, ROOT / "results" / "rooms_long" / name
        assert made.read_text() == committed.read_text(), f"{committed} is not up to date: make long"


def test_the_readmes_table_is_the_reports():
    readme = (ROOT / "README.md").read_text()
    shown = readme.partition("<!-- rooms_long: begin -->")[2].partition("<!-- rooms_long: end -->")[0]
    table = (ROOT / "results" / "rooms_long" / "table.md").read_text()
    without_title = "\n".join(line for line in table.splitlines() if not line.startswith("### "))
    assert shown.strip() == without_title.strip(), "copy results/rooms_long/table.md into the README"
