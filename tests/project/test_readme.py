"""What the README shows is what the committed records say."""

import re
import sys

import pytest

from command import invoke
from mtlbench.results.report.write import report
from paths import ROOT


@pytest.mark.slow
def test_the_committed_report_follows_from_the_committed_records(tmp_path):
    report(str(ROOT / "results" / "rooms_verdict" / "store"), ["rooms_verdict"], tmp_path)
    for name in (
        "table.md",
        "table.tex",
        "table.csv",
        "scores.csv",
        "deltas.csv",
        "gains.csv",
        "contrasts.csv",
        "classes.csv",
    ):
        made, committed = tmp_path / "rooms_verdict" / name, ROOT / "results" / "rooms_verdict" / name
        assert made.read_text() == committed.read_text(), f"{committed} is not up to date: make verdict"


def test_the_readmes_table_is_the_reports():
    readme = (ROOT / "README.md").read_text()
    shown = readme.partition("<!-- rooms_verdict: begin -->")[2].partition("<!-- rooms_verdict: end -->")[0]
    table = (ROOT / "results" / "rooms_verdict" / "table.md").read_text()
    without_title = "\n".join(line for line in table.splitlines() if not line.startswith("### "))
    assert shown.strip() == without_title.strip(), "copy results/rooms_verdict/table.md into the README"


@pytest.mark.slow
def test_the_readmes_method_passes_every_check_and_fits_into_its_matrix(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "# my_method.py" in block]
    (tmp_path / "my_method.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    done = invoke("check", "my_method:MyMethod")
    assert done.exit_code == 0, done.output
    (methods,) = re.findall(r"`methods: (\[single_task, .*?\])` in a matrix", readme)
    (tmp_path / "mine.yaml").write_text(
        f"benchmark: {{name: rooms, tasks: [semseg, depth]}}\nmethods: {methods}\nseeds: [0]\ntrain: {{epochs: 1}}\n"
    )
    done = invoke("run", "mine.yaml", "--dry-run")
    assert done.exit_code == 0 and "MyMethod" in done.output, done.output
    sys.modules.pop("my_method")
