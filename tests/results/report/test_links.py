"""Where MLflow has the runs of a matrix, the page leads to them, and says of each cell how it ended."""

import re

import pytest

from make_records import three_seeds
from mtlbench.results.records.reading import read
from mtlbench.results.report.web.links import Links
from mtlbench.results.report.write import report
from tables_of import TASKS

pytestmark = pytest.mark.usefixtures("undrawn")

SERVER = "https://mlflow.example"


@pytest.fixture
def links(tmp_path):
    """The links of all rows but one, and of all cells that have ended."""
    results = read(three_seeds(tmp_path / "s"), "rooms")
    labels = {entry.label for entry in results.manifest.entries} - {"SCA-MTL"}
    ended = (*results.records, *results.failures)
    return Links(
        SERVER,
        {"rows": f"{SERVER}/#/rows?a=1&b=2", "all cells": f"{SERVER}/#/cells"},
        {(label, "+".join(TASKS), "rooms"): f"{SERVER}/#/row/{label.replace(' ', '')}" for label in labels},
        {cell_id: f"{SERVER}/#/cell/{cell_id}" for cell_id in ended},
    )


def test_names_of_rows_lead_to_their_runs_and_seeds_to_their_cells(tmp_path, links):
    written = report(str(tmp_path / "s"), [], tmp_path / "out", links={"rooms": links})
    page = (tmp_path / "out/rooms/report.html").read_text()
    for label in ("Single task", "PAD-Net"):
        assert f'<a href="{SERVER}/#/row/{label.replace(" ", "")}">{label}</a>' in page
    assert "<td>SCA-MTL</td>" in page and "<td>Constant predictor<sup>" in page  # they have no run
    assert set(re.findall(rf'href="{SERVER}/#/cell/([^"]+)"', page)) == set(links.cells)
    shown = page.split("Runs in MLflow, by seed</summary>")[1].split("</table>")[0]
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in re.findall(r"<tr>(.*?)</tr>", shown)[1:]]
    told = {(label, tasks): re.sub(r"<[^>]*>", "", cells) for label, tasks, cells in lines}
    assert told == {
        ("Single task", "semseg"): "0 1 2",
        ("Single task", "depth"): "0 1 2",
        ("Multi task", "semseg + depth"): "0 1 2",
        ("PAD-Net", "semseg + depth"): "0 1 (failed) 2",
        ("MTI-Net", "semseg + depth"): "0 1 (missing) 2 (missing)",
        ("SCA-MTL", "semseg + depth"): "0 1 2",
    }
    assert f'<a href="{SERVER}/#/rows?a=1&amp;b=2">' in page
    assert f'<a href="{SERVER}/#/rows?a=1&amp;b=2">' in written.start.read_text()


def test_without_links_a_page_says_how_to_get_them(tmp_path, links):
    pages = [
        report(str(tmp_path / "s"), [], tmp_path / out, links=given).paths
        for out, given in (("none", {}), ("other", {"another": links}))
    ]
    for text in (path.read_text() for paths in pages for path in paths if path.suffix == ".html"):
        assert SERVER not in text and "Runs in MLflow" not in text
    assert "--mlflow URL" in (tmp_path / "none/rooms/report.html").read_text()
