"""The pages of docs/: what they compute is right, what they name exists, and the site builds without a warning."""

import importlib
import re
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from command import invoke
from make_records import score
from mtlbench.results.statistics.delta import delta_m, relative_gain
from mtlbench.results.statistics.planner import seeds_needed
from mtlbench.results.statistics.verdicts import contrasts, not_worse_than_best
from paths import ROOT

DOCS = ROOT / "docs"
TABLE = (DOCS / "reading_a_table.md").read_text()
ROWS = re.findall(r"^\| ([\w-]+(?: \w+)?) \| (\d) \| ([\d.]+) \| ([\d.]+) \| ([-\d.]+) \|$", TABLE, re.MULTILINE)
LABELS = list(dict.fromkeys(row[0] for row in ROWS))


def scores(label, seed):
    (found,) = [row for row in ROWS if row[:2] == (label, seed)]
    return {"semseg": score("semseg", float(found[2])), "depth": score("depth", float(found[3]))}


def deltas():
    """[rows, seeds] of the worked example."""
    return np.array([[delta_m(scores(label, s), scores(LABELS[0], s)) for s in "012"] for label in LABELS])


def test_the_deltas_of_the_worked_example_follow_from_its_scores():
    assert len(ROWS) == 9 and LABELS == ["Single task", "Multi-task", "New"]
    printed = np.array([float(row[4]) for row in ROWS]).reshape(3, 3)
    assert np.abs(deltas() - printed).max() < 0.0051
    terms = [relative_gain(scores("New", "0")[t], scores(LABELS[0], "0")[t]) for t in ("semseg", "depth")]
    assert terms == pytest.approx([4.0, 2.5]) and "= 4.00 points" in TABLE and "= 2.50 points" in TABLE
    for label, found in zip(LABELS[:0:-1], deltas()[:0:-1], strict=True):
        assert f"{found.mean():.2f} ± {found.std(ddof=1):.2f} for {label}" in TABLE


def test_the_intervals_and_verdicts_of_the_worked_example_are_those_of_the_report():
    pairs = contrasts(deltas(), margin=0.5)
    printed = re.findall(
        r"^\| ([\w-]+) against ([\w -]+) \| ([-\d.]+) \| \[([-\d.]+), ([-\d.]+)\] \| (\w+) \|$", TABLE, re.MULTILINE
    )
    assert len(printed) == len(pairs) == 3
    turned = {"better": "worse", "worse": "better"}
    for pair in pairs:  # printed the other way round: the later row against the earlier one
        numbers = [f"{-value:.2f}" for value in (pair.difference, pair.high, pair.low)]
        verdict = turned.get(pair.verdict, pair.verdict)
        assert (LABELS[pair.second], LABELS[pair.first], *numbers, verdict) in printed
    assert not_worse_than_best(pairs) == {LABELS.index("New")}


def test_the_plan_on_the_page_is_the_planners():
    assert f"it is {seeds_needed(1, 0.82, rows=6)} in a table of 6 rows" in TABLE


def test_the_metric_on_its_page_keeps_the_contract_of_metrics():
    code = re.findall(r"```python\n(.*?)```", (DOCS / "your_metric.md").read_text(), re.DOTALL)
    names = {}
    exec(code[0], names)
    metric = names["MeanGap"]()
    prediction, label = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8).round(decimals=1)
    whole = metric.statistics(prediction, label)
    assert whole.dtype == torch.float64 and whole.shape == (4, 2)
    each = [metric.statistics(p[None], y[None]) for p, y in zip(prediction, label, strict=True)]
    assert torch.equal(torch.cat(each), whole)
    found = metric.scores(whole.sum(0))
    assert found.keys() == metric.score_types.keys() and metric.primary in found
    metres = (prediction - label).abs()[label > 0].double().mean().item()
    assert metric.score_types["gap"].unit == "mm" and found["gap"].item() == pytest.approx(1000 * metres)


def test_the_metric_takes_its_place_in_the_file_of_a_new_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert invoke("new", "dataset", "gap_rooms").exit_code == 0
    metric, place = re.findall(r"```python\n(.*?)```", (DOCS / "your_metric.md").read_text(), re.DOTALL)
    Path("my_metric.py").write_text(metric)
    written = Path("gap_rooms.py").read_text()
    (made,) = re.findall(r"^ +made = .*\n", written, re.MULTILINE)
    imports, lines = place.rsplit("\n\n", 1)
    changed = written.replace(
        "from __future__ import annotations\n", f"from __future__ import annotations\n{imports}\n"
    )
    Path("gap_rooms.py").write_text(changed.replace(made, textwrap.indent(lines, " " * 8)))
    tasks = importlib.import_module("gap_rooms").GapRooms().tasks
    assert [*tasks] == ["semseg", "depth"] and tasks["depth"].metric.primary == "gap"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_command_and_option_on_a_page_exists(page):
    blocks = "".join(re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL))
    for line in re.findall(r"^(?:\.venv/bin/)?mtlbench (.*)$", blocks, re.MULTILINE):
        words = line.split()
        done = invoke(*(words[:2] if words[0] in ("data", "launch", "new") else words[:1]), "--help")
        assert done.exit_code == 0, line
        for option in re.findall(r"--[a-z-]+", line):
            assert option in done.output, f"{page.name}: {line}"


def test_every_page_is_in_the_menu_once():
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = re.findall(r"[\w]+\.md", str(menu))
    assert sorted(pages) == sorted(page.name for page in DOCS.glob("*.md"))


class Loaded(HTMLParser):
    """Collects what a browser loads for a page."""

    def __init__(self):
        super().__init__()
        self.places = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.places.append(attributes.get("src") or "")
        if tag == "link" and attributes.get("rel") != "canonical":
            self.places.append(attributes.get("href") or "")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        parser = Loaded()
        parser.feed((tmp_path / "site" / f"{page.stem}.html").read_text())
        assert parser.places and not [place for place in parser.places if "//" in place], page.name
    assert "Keep a Changelog" in (tmp_path / "site" / "changelog.html").read_text()


def test_the_mean_gain_is_called_by_one_name_wherever_people_read():
    first, pages = "Δm (Delta_m, Eq. 6 of the paper)", [ROOT / "README.md", *DOCS.glob("*.md")]
    texts = {page.name: page.read_text() for page in pages}
    assert [name for name, text in texts.items() if "Delta_m" in text.replace(first, "")] == []
    assert {"README.md", "reading_a_table.md"} <= {name for name, text in texts.items() if first in text}
    helps = {command: invoke(command, "--help").stdout for command in ("audit", "status", "plan")}
    assert {command: "Delta_m" in said or "Δm" not in said for command, said in helps.items()} == dict.fromkeys(
        helps, False
    )


# Words that a newcomer does not know -> how the first page that has them explains them.
EXPLAINED = {
    ("README.md", "MACs"): "MACs are the multiply-accumulate operations of a network for one image, in billions",
    (
        "reading_a_table.md",
        "MACs",
    ): "MACs are the multiply-accumulate operations of a network for one image, in billions",
    ("your_data.md", "fingerprint"): "its fingerprint, a short hash by which records tell one copy from another",
    ("your_data.md", "left-up-back"): "x left, y up, z to the viewer, which is the frame `left-up-back`",
    (
        "your_data.md",
        "protocol",
    ): "what training draws for an image (crop, zoom, flip), each under the name that the key "
    "`protocol` of a matrix chooses",
    ("real_data.md", "fingerprint"): "the fingerprint of the copy: a short hash of its lists",
    ("real_data.md", "left-up-back"): "`left-up-back`, the frame of all samples, is x to the left, y up, and z back",
    ("real_data.md", "protocol"): "What training draws for an image (crop, zoom, flip) is the benchmark's protocol",
}


@pytest.mark.parametrize(("page", "term"), EXPLAINED)
def test_a_term_is_explained_where_it_first_stands(page, term):
    text = " ".join((ROOT if page == "README.md" else DOCS).joinpath(page).read_text().split())
    explanation = EXPLAINED[page, term]
    assert explanation in text
    assert text.index(term) == text.index(explanation) + explanation.index(term)
