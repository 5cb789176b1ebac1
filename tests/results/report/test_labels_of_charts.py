"""The labels of the page's chart of costs, as a browser draws them."""

import html
import json
import re
from itertools import combinations

import pytest

from browser import dom
from make_records import three_seeds
from mtlbench.results.report.write import report


@pytest.mark.slow  # figures are drawn, and a browser starts
def test_no_label_of_the_chart_of_costs_is_struck_by_a_line_or_lies_on_a_marker(tmp_path):
    """In the chart as the browser draws it, where letters have their true size."""
    report(three_seeds(tmp_path / "store", gaps=False), ["rooms"], tmp_path / "out")
    page = tmp_path / "out/rooms/report.html"
    script = """<script>
    const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
    addEventListener("load", () => setTimeout(() => {
      const part = document.querySelector("[data-part=costs]");
      const lines = [];
      part.querySelectorAll(".lines path.js-line, .errorbars path, .zerolinelayer path").forEach((path) => {
        const m = path.getScreenCTM(), count = 400, length = path.getTotalLength();
        for (let i = 0; i <= count; i++) {
          const p = path.getPointAtLength(i / count * length);
          lines.push([p.x * m.a + m.e, p.y * m.d + m.f]);
        }
      });
      const e = document.createElement("pre");
      e.id = "got";
      e.textContent = JSON.stringify({
        labels: [...part.querySelectorAll(".scatterlayer text")].map((t) => [t.textContent, box(t)]),
        markers: [...part.querySelectorAll(".scatterlayer .points path.point")].map(box), lines,
      });
      document.body.append(e);
    }, 3000));</script></body>"""
    page.write_text(page.read_text().replace("</body>", script))
    got = json.loads(html.unescape(re.search(r'(?s)<pre id="got">(.*?)</pre>', dom(page, folder=tmp_path))[1]))
    assert len(got["labels"]) == 5 == len(got["markers"]) and len(got["lines"]) > 1000
    for label, (left, top, right, bottom) in got["labels"]:
        for x, y in got["lines"]:
            assert not (left + 1 < x < right - 1 and top + 2 < y < bottom - 2), label
        for a, b, c, d in got["markers"]:
            assert min(right, c) - max(left, a) < 1 or min(bottom, d) - max(top, b) < 2, label
    for (one, box), (other, beside) in combinations(got["labels"], 2):
        assert (
            min(box[2], beside[2]) < max(box[0], beside[0]) + 1 or min(box[3], beside[3]) < max(box[1], beside[1]) + 2
        ), (
            one,
            other,
        )
