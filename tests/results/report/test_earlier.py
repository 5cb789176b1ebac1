"""What an earlier report has left in a folder and the new one does not write is removed, and no file of a user is."""

import pytest

from command import invoke
from make_records import Store, three_seeds
from mtlbench.results.report.web.earlier import files_of_earlier
from mtlbench.results.report.write import report
from tables_of import TASKS

AGAINST = {"against.md", "against.csv", "against_cells.csv"}


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("undrawn")
def test_a_report_without_another_store_removes_what_was_written_against_one_and_says_so(tmp_path):
    store, folder = three_seeds(tmp_path / "s"), tmp_path / "out/rooms"
    plain = ["report", "rooms", "--store", store, "--out", tmp_path / "out"]
    assert invoke(*plain, "--against", three_seeds(tmp_path / "old")).exit_code == 0
    assert names(folder) > AGAINST
    for name in ("notes.md", "against.txt", "overview.md"):  # of a user: the page names none of them
        (folder / name).write_text("mine")
    said = invoke(*plain)
    assert "removed against.md, against.csv, against_cells.csv of an earlier report" in " ".join(said.stdout.split())
    assert not AGAINST & names(folder) and {"notes.md", "against.txt", "overview.md"} < names(folder)
    assert "against.md" not in (folder / "report.html").read_text()
    assert "removed" not in invoke(*plain).stdout


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("page", [None, '<p>Files beside it: <a href="against.md">against.md</a></p>'])
def test_without_a_page_of_a_report_nothing_is_removed(tmp_path, page):
    folder = tmp_path / "out/rooms"
    folder.mkdir(parents=True)
    (folder / "against.md").write_text("mine")
    if page is not None:
        (folder / "report.html").write_text(page)
    assert report(three_seeds(tmp_path / "s"), ["rooms"], tmp_path / "out").removed == ()
    assert (folder / "against.md").read_text() == "mine"


@pytest.mark.slow  # draws figures
def test_figures_of_rows_that_are_gone_are_removed_and_those_of_a_user_stay(tmp_path):
    folder = tmp_path / "out/rooms"
    report(three_seeds(tmp_path / "s"), [], tmp_path / "out")
    (folder / "figures/mine.png").write_text("mine")
    (folder / "paper").mkdir()
    (folder / "paper/table.tex").write_text("mine")
    before = names(folder)
    assert {path.relative_to(folder).as_posix() for path in files_of_earlier(folder)} == {
        f"figures/rooms-semseg-depth-{name}.{kind}" for name in ("gains", "cost", "learning") for kind in ("pdf", "png")
    }
    store = Store(tmp_path / "fewer")
    store.single(TASKS, 0, status="missing")
    store.run("SCA-MTL", TASKS, 0, status="missing")
    written = report(store.close(), [], tmp_path / "out")
    assert len(written.removed) == 6
    assert names(folder) == before - {path.relative_to(folder).as_posix() for path in written.removed}
    said = invoke("report", "--store", tmp_path / "fewer", "--out", tmp_path / "out")
    assert "paper is of an earlier report; --paper writes it anew" in " ".join(said.stdout.split())
