"""The page shows the matrix that was asked for, where the store has it, and a button copies it."""

import re

import pytest

from browser import dom
from make_records import three_seeds
from mtlbench.results.records import files
from mtlbench.results.report.write import report

pytestmark = pytest.mark.usefixtures("undrawn")

TEXT = "name: rooms\ntitle: a < b & ü\nmethods:\n- single_task\n"


@pytest.fixture
def page(tmp_path):
    store = three_seeds(tmp_path / "store")
    (tmp_path / "store" / files.matrix_text("rooms")).write_text(TEXT)
    report(store, [], tmp_path / "out")
    return tmp_path / "out/rooms/report.html"


def test_the_matrix_is_on_the_page_and_beside_it(page):
    text = page.read_text()
    assert (page.parent / "matrix.yaml").read_text() == TEXT
    assert '<a href="matrix.yaml">matrix.yaml</a>' in text
    shown = re.search(r'(?s)<pre id="matrix">(.*?)</pre>', text)[1]
    assert shown.replace("&lt;", "<").replace("&amp;", "&") == TEXT
    assert "mtlbench ui --store STORE" in text


def test_an_old_store_shows_none(tmp_path, page):
    (tmp_path / "store" / files.matrix_text("rooms")).unlink()
    written = report(str(tmp_path / "store"), [], tmp_path / "old")
    assert "matrix.yaml" not in (tmp_path / "old/rooms/report.html").read_text()
    assert not [path for path in written.paths if path.name == "matrix.yaml"]


@pytest.mark.slow  # a browser starts
@pytest.mark.parametrize("clipboard", [True, False])
def test_the_button_copies_the_text(tmp_path, page, clipboard):
    """With the clipboard of a page from a server, and without one."""
    held = "{writeText: async (text) => copied.push(text)}" if clipboard else "undefined"
    before = (
        "<script>window.copied = [];"
        f"Object.defineProperty(navigator, 'clipboard', {{value: {held}}});"
        "document.execCommand = (what) => copied.push(what, getSelection().toString());</script></head>"
    )
    after = (
        "<script>document.querySelector('details:has(#matrix)').open = true;"
        "document.querySelector('[data-copies]').click();"
        "setTimeout(() => { const e = document.createElement('pre'); e.id = 'got'; "
        "e.textContent = JSON.stringify([copied, document.querySelector('[data-copies]').textContent]);"
        "document.body.append(e); }, 500);</script></body>"
    )
    page.write_text(page.read_text().replace("</head>", before).replace("</body>", after))
    got = re.search(r'(?s)<pre id="got">(.*?)</pre>', dom(page, folder=tmp_path))[1]
    assert r"title: a &lt; b &amp; ü\nmethods:\n- single_task" in got
    assert got.endswith('"Copied"]') and ('"copy"' in got) == (not clipboard)
