"""A table as Markdown, LaTeX and CSV."""

import re
import shutil
import subprocess
from dataclasses import replace

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from make_records import CROWD, Store, crowded, score, three_seeds, value
from mtlbench.results.report import frames
from mtlbench.results.report.formats import escape_latex, escape_markdown, markdown
from mtlbench.results.report.paper.tables import latex
from mtlbench.results.report.tables import CONSTANT
from paths import ROOT, TESTS
from tables_of import TASKS, shown, summaries

GOLDEN = TESTS / "golden"
LONG = (CROWD[0], *CROWD[-5:])
MANY = ("semseg", "human_parts", "depth", "normals")


@pytest.mark.parametrize(("name", "write"), [("table.md", markdown), ("table.tex", latex)])
def test_a_table_is_written_as_it_was(tmp_path, name, write):
    assert write(shown(three_seeds(tmp_path))) == (GOLDEN / name).read_text()


@pytest.mark.slow  # LaTeX
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("tasks", [None, ("semseg", "depth"), ("semseg", "depth", "normals"), MANY])
def test_the_tables_of_all_columns_fit_a_plain_article(tmp_path, tasks):
    if tasks is None:
        text = (ROOT / "results/rooms_verdict/table.tex").read_text()
    else:
        text = latex(shown(crowded(tmp_path / "store", tasks=tasks, labels=LONG, pictures=False), "crowd"))
    assert text.startswith("% All columns, for an appendix: scores, and then costs. They fit the width of a plain")
    (tmp_path / "table.tex").write_text(text)
    (tmp_path / "all.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in (tmp_path / "all.log").read_text(errors="replace")


def test_the_tables_of_all_columns_leave_nothing_out(tmp_path):
    (one,) = shown(crowded(tmp_path, tasks=MANY, pictures=False), "crowd")
    text = latex([one])
    for row in one.rows:
        for cell in row:
            for part in cell.text.split(" ± "):
                assert escape_latex(part) in text
    assert text.count(r"\begin{table}") == 2 and "Without room" not in text


def test_labels_with_special_characters_break_neither_format(tmp_path):
    store = Store(tmp_path)
    store.single(TASKS, 0)
    store.run("50 % & a_b | <c> #1", TASKS, 0, scores=(score("semseg", 40.0), score("depth", 0.6)))
    tables = shown(store.close())
    lines = [line for line in markdown(tables).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"50 \% \& a\_b | \textless{}c\textgreater{} \#1" in latex(tables)


def test_scores_csv_has_every_score_and_every_absence(tmp_path):
    found, manifest = summaries(three_seeds(tmp_path))
    long = frames.scores(found, manifest)
    assert long["status"].value_counts().to_dict() == {"finished": 6 + 6 + 4 + 2 + 6 + 2, "failed": 2, "missing": 4}
    row = long[(long["label"] == "SCA-MTL") & (long["seed"] == 1) & (long["task"] == "depth")]
    assert row["value"].item() == value("SCA-MTL", "depth", 1)


def test_table_csv_keeps_full_precision(tmp_path):
    (summary,), _ = summaries(three_seeds(tmp_path))
    found = frames.rows(summary).set_index("label")
    assert found.loc["SCA-MTL", "delta_m"] == summary.rows["SCA-MTL"].delta.mean
    assert found.loc["PAD-Net", ["finished", "failed", "missing"]].tolist() == [2, 1, 0]
    assert found.loc[CONSTANT, "semseg_mean"] == 1.16


@pytest.mark.slow
def test_table_csv_counts_in_whole_numbers_and_deltas_csv_has_every_run(tmp_path, written):
    folder = written[1]
    counts = pd.read_csv(folder / "table.csv", dtype=str).set_index("label")["finished"]
    assert (counts["SCA-MTL"], counts["MTI-Net"]) == ("3", "1")
    deltas = pd.read_csv(folder / "deltas.csv", keep_default_na=False)
    of_row = deltas[(deltas["label"] == "SCA-MTL") & (deltas["task"] == "")].set_index("seed")["gain"]
    (summary,), _ = summaries(three_seeds(tmp_path))
    assert of_row.to_dict() == pytest.approx(summary.rows["SCA-MTL"].delta.values)
    gains = deltas[(deltas["label"] == "SCA-MTL") & (deltas["task"] != "")].groupby("seed")["gain"].mean()
    assert gains.to_dict() == pytest.approx(of_row.to_dict())


def test_readers_see_the_names_of_tasks_in_words_and_files_of_numbers_as_they_are(tmp_path):
    tasks, store = ("semseg", "human_parts"), Store(tmp_path)
    for seed in range(2):
        store.single(tasks, seed, only=("semseg",) if seed else None)
        store.run("Multi task", tasks, seed)
    store.run("PAD-Net", tasks, 0, scores=(score("semseg", 40.0), score("human_parts", None)))
    store.close()
    texts = [write(shown(str(tmp_path))) for write in (markdown, latex)]
    for text in texts:
        assert "human parts" in text and "human parts: mIoU is undefined" in text
        assert "human_parts" not in re.sub(r"tab:\S+", "", text).replace(r"\_", "_")
    (summary,), manifest = summaries(str(tmp_path))
    assert set(frames.scores([summary], manifest)["task"]) == set(tasks)
    assert "human_parts_mean" in frames.rows(summary).columns


def test_a_reader_meets_few_sentences_first_and_finds_every_other_one_below_them(tmp_path):
    (one,) = shown(three_seeds(tmp_path))
    one = replace(one, controls=("Controls that hold: one.",))
    text, tex = markdown([one]), latex([one])
    first, _, rest = text.partition("<details><summary>How the intervals are made")
    head, _, below = tex.partition("}\n\\label")
    assert len(one.details) > 3
    for sentence in (*one.caption, *one.exact):
        hidden = sentence in one.details
        assert ((escape_markdown(sentence) in first), f"* {escape_markdown(sentence)}\n" in rest) == (
            not hidden,
            hidden,
        )
        assert ((escape_latex(sentence) in head), escape_latex(sentence) in below) == (not hidden, hidden)
    assert not re.search("studentised|moderated|t interval|Records", first + head)
    html = MarkdownIt().render(text)
    assert html.count("<li>") == len(one.details) and "</summary>\n<ul>" in html
