"""What the reader of a page chooses, its page computes as the report does, and what cannot be computed is not shown."""

import html
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from browser import dom
from make_records import CENTRE, Store, score
from mtlbench.results.records.reading import read
from mtlbench.results.report.drawing.looks import MARKERS, palette
from mtlbench.results.report.tables import table, with_verdicts
from mtlbench.results.report.web import choices
from mtlbench.results.report.web.pages import TEMPLATES
from mtlbench.results.report.write import report
from mtlbench.results.summary.runs import comparisons
from mtlbench.results.summary.summary import summarise
from tables_of import TASKS, summaries

WEIGHTS = [(1.0, 1.0), (3.0, 3.0), (2.0, 1.0), (0.0, 1.0), (0.3, 0.9)]


def gaps(root):
    """Rows that share all seeds, some seeds, and no seed with others; a row of one seed, and a row without any run."""
    store = Store(root)
    for seed in range(4):
        store.single(TASKS, seed)
        store.run("SCA-MTL", TASKS, seed)
        store.run("PAD-Net", TASKS, seed, status="failed" if seed == 1 else "finished")
    for seed in (7, 8, 9):
        store.run("Late", TASKS, seed)
    store.run("MTI-Net", TASKS, 2)
    store.run("Never", TASKS, 0, status="missing")
    return store.close()


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """The path of a store, its summary, and what a page embeds of it."""
    store = gaps(tmp_path_factory.mktemp("choices") / "store")
    (summary,) = summaries(store)[0]
    return store, summary, choices.embedded(summary, palette(list(summary.rows)), None)


def against(store, label):
    """The summary with another baseline, from the records."""
    results = read(store, "rooms")
    manifest = replace(results.manifest, baseline=label)
    (comparison,) = comparisons(replace(results, manifest=manifest))
    return summarise(comparison, store)


def weighted(delta, weights):
    """seed -> Delta_m with a weight for each task, from the gains of the summary."""
    return {
        seed: math.fsum(w * delta.gains[task][seed] for task, w in zip(TASKS, weights, strict=True))
        / math.fsum(weights)
        for seed in delta.values
    }


def test_the_page_computes_delta_for_every_baseline_and_weights_as_the_report_does(tmp_path, chosen):
    store, _, numbers = chosen
    page = tmp_path / "delta.html"
    page.write_text(
        f"<pre id='out'></pre><script>{(TEMPLATES / 'delta.js').read_text()}\n"
        f"const table = {json.dumps(numbers)}, all = {json.dumps(WEIGHTS)};\n"
        "document.getElementById('out').textContent = JSON.stringify(table.rows.map((_, b) => all.map((w) =>"
        " Delta.compute(table, b, w).map((found, i) => ({found, judged: Delta.judged(table, b, w, i)})))));</script>"
    )
    found = json.loads(html.unescape(re.search(r"<pre id=.out.>(.*?)</pre>", dom(page, folder=tmp_path))[1]))
    labels = [row["label"] for row in numbers["rows"]]
    assert labels == ["Single task", "SCA-MTL", "PAD-Net", "Late", "MTI-Net"]
    unpaired = 0
    for baseline, of_baseline in zip(labels, found, strict=True):
        summary = against(store, baseline)
        written = table(summary, read(store, "rooms").manifest)
        verdicts = dict(zip((row[0].text for row in written.rows), written.verdicts, strict=True))
        for weights, of_weights in zip(WEIGHTS, of_baseline, strict=True):
            for label, cell in zip(labels, of_weights, strict=True):
                delta, shown = summary.rows[label].delta, cell["found"]
                values = weighted(delta, weights)
                assert {run["seed"]: run["delta"] for run in shown["runs"]} == pytest.approx(values, abs=1e-9)
                assert shown["mean"] == pytest.approx(np.mean(list(values.values())) if values else 0, abs=1e-9)
                assert shown["paired"] == delta.paired
                unpaired += not delta.paired
                if weights[0] != weights[1]:
                    assert cell["judged"] == {"interval": None, "verdict": ""}
                    continue
                assert shown["mean"] == pytest.approx(delta.mean, abs=1e-9)
                expected = None if delta.seeds is None else pytest.approx([delta.seeds.low, delta.seeds.high])
                assert cell["judged"] == {"interval": expected, "verdict": verdicts[label]}
    assert unpaired


def test_a_row_whose_score_is_zero_cannot_be_the_baseline(tmp_path):
    store = Store(tmp_path)
    for seed in range(2):
        store.single(TASKS, seed)
        zero = score("semseg", 0.0 if seed else 1.0)
        store.run("Zero", TASKS, seed, scores=(zero, score("depth", CENTRE["depth"])))
    (summary,) = summaries(store.close())[0]
    numbers = choices.embedded(summary, palette(list(summary.rows)), None)
    assert [row["label"] for row in numbers["rows"]] == ["Single task", "Zero"]
    assert numbers["choices"][1] is None and numbers["choices"][0][1]["interval"]


def test_the_verdicts_stand_behind_the_intervals(chosen):
    _, summary, _ = chosen
    written = table(summary, read(chosen[0], "rooms").manifest)
    shown = with_verdicts(written)
    place = [column.title for column in shown.columns].index("Verdict")
    assert shown.columns[place - 1].title == "95 % interval"
    assert tuple(row[place].text for row in shown.rows) == written.verdicts
    assert "better" in written.verdicts
    assert [(*row[:place], *row[place + 1 :]) for row in shown.rows] == list(written.rows)
    assert with_verdicts(replace(written, verdicts=("",) * len(written.rows))).columns == written.columns


@pytest.mark.slow  # a browser starts, and draws
def test_all_symbols_of_the_charts_have_the_area_of_the_circle(tmp_path):
    """Plotly draws a row's symbols in a browser, which counts the points of a grid that lie in each."""
    looks = palette([f"row {place}" for place in range(len(MARKERS))])
    rows = [choices.looks_of(label, looks) for label in looks]
    assert {row["symbol"] for row in rows} == {symbol for symbol, *_ in choices.SYMBOLS.values()}
    page = tmp_path / "symbols.html"
    script = """
    Plotly.newPlot("plot", rows.map((row, i) => ({
      x: [i], y: [0], mode: "markers", marker: { symbol: row.symbol, size: 40 * row.size },
    }))).then((plot) => {
      const steps = [...Array(201).keys()].map((step) => 0.4 * step - 40);
      const column = (path, x) => steps.filter((y) => path.isPointInFill(new DOMPoint(x, y))).length;
      const area = (path) => 0.16 * steps.reduce((sum, x) => sum + column(path, x), 0);
      const areas = [...plot.querySelectorAll("path.point")].map(area);
      document.getElementById("out").textContent = JSON.stringify(areas);
    });"""
    page.write_text(
        f"<div id='plot'></div><pre id='out'></pre><script>{get_plotlyjs()}</script>"
        f"<script>const rows = {json.dumps(rows)};{script}</script>"
    )
    areas = json.loads(re.search(r"<pre id=.out.>(.*?)</pre>", dom(page, folder=tmp_path))[1])
    assert areas == pytest.approx([math.pi * 20**2] * len(MARKERS), rel=0.03)


@pytest.mark.slow  # a browser starts twice, and draws
def test_the_page_draws_what_its_address_asks_for_and_shows_no_interval_of_another_choice(tmp_path, chosen):
    report(chosen[0], ["rooms"], tmp_path / "out")
    page = tmp_path / "out" / "rooms" / "report.html"
    asked = "#table=rooms-semseg-depth&baseline=PAD-Net"
    drawn, weighed = (dom(page, asked + more, folder=tmp_path) for more in ("", "&weights=2,1"))
    summary = against(chosen[0], "PAD-Net")
    for text in (drawn, weighed):
        assert text.count('class="main-svg"') >= 2 * 4  # gains, cost, and a learning curve of each task
        assert text.count('<figure data-of="rooms-semseg-depth" hidden="">') == 3
    interval = summary.rows["SCA-MTL"].delta.seeds
    line = live_row(drawn, "SCA-MTL")
    assert line[1] == f"+{summary.rows['SCA-MTL'].delta.mean:.2f}"
    assert line[2] == f"[+{interval.low:.2f}, +{interval.high:.2f}]" and line[3] == "better"
    assert live_row(weighed, "SCA-MTL")[2:4] == ["—", ""]
    values = weighted(summary.rows["SCA-MTL"].delta, (2, 1)).values()
    assert live_row(weighed, "SCA-MTL")[1] == f"+{np.mean(list(values)):.2f}"
    assert "There is no interval and no verdict for unequal weights." in weighed
    assert "stay those of the matrix: its own baseline, equal weights" in drawn


def live_row(text, label):
    """The cells of a row in the table of the reader's choice."""
    (block,) = re.findall(r'(?s)data-part="numbers".*?</table>', text)
    (line,) = [line for line in re.findall(r"(?s)<tr>(.*?)</tr>", block) if f"<td>{label}</td>" in line]
    return re.findall(r"<td[^>]*>(.*?)</td>", line)
