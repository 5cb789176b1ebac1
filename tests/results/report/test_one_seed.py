"""A report of one seed a row speaks of no interval, no whisker, no band and no mean over seeds."""

import html
import re

import matplotlib.pyplot as plt
import pytest

from make_records import Store, score, three_seeds, value
from mtlbench.results.records.record import Score
from mtlbench.results.report.captions import ALONE
from mtlbench.results.report.drawing.figures import FIGURES, palette
from mtlbench.results.report.write import report
from tables_of import TASKS, summaries

OF_SEVERAL = re.compile(r"(?i)whisker|\bbands?\b(?!\.)|95 %|over (the )?seeds|means|±|variance")


def one_seed(root):
    """Three rows with training losses of the final predictions and scores of classes."""
    store = Store(root)
    store.final = True
    for label in ("Single task", "PAD-Net", "SCA-MTL"):
        scores = [score(task, value(label, task, 0)) for task in TASKS]
        scores += [Score("semseg", f"iou/{name}", 50.0, True, False, "", "IoU", unit="%") for name in ("wall", "bed")]
        store.run(label, TASKS, 0, scores=tuple(scores))
    return store.close()


def read(page):
    """The text of a page, without what its scripts write."""
    text = re.sub(r"(?s)<(style|script)\b.*?</\1>|<img[^>]*>|<source[^>]*>", " ", page)
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


@pytest.mark.slow  # draws a report of all figures, for a page and a paper
def test_the_page_the_text_and_the_paper_of_one_seed_name_nothing_that_needs_two(tmp_path):
    written = report(one_seed(tmp_path / "store"), [], tmp_path / "out")
    shown = read((tmp_path / "out/rooms/report.html").read_text())
    assert ALONE in shown
    for text in (shown, written.markdown, read(written.start.read_text())):
        assert not (found := OF_SEVERAL.search(text)), text[max(0, found.start() - 90) : found.end() + 90]


@pytest.mark.parametrize("width", [None, 3.25])
def test_the_notes_and_captions_of_figures_say_that_one_seed_has_no_interval(tmp_path, width):
    store = one_seed(tmp_path)
    (summary,), _ = summaries(store)
    drawn = {}
    for name, draw in FIGURES.items():
        if picture := draw(summary, store, palette(list(summary.rows), width)):
            drawn[name] = picture.caption
            for text in (picture.caption, *(text.get_text() for text in picture.figure.findobj(plt.Text))):
                assert not OF_SEVERAL.search(text), text
            plt.close(picture.figure)
    assert set(drawn) == {"gains", "cost", "learning", "fit", "classes"}
    assert all("ne seed a row" in caption for caption in drawn.values())


@pytest.mark.slow  # draws a report of all figures
def test_the_page_of_several_seeds_still_explains_its_whiskers_and_bands(tmp_path):
    report(three_seeds(tmp_path / "store"), [], tmp_path / "out")
    shown = read((tmp_path / "out/rooms/report.html").read_text())
    assert ALONE not in shown
    for told in ("Whiskers: on Δm", "Whiskers: as on Δm above", "band ±1", "95 % over seeds", "95 % interval"):
        assert told in shown
