"""Labels in any letters: LaTeX compiles them, or the report says in a line which LaTeX they need."""

import shutil
import subprocess

import pytest

from make_records import Store
from mtlbench.results.records.reading import read
from mtlbench.results.report.formats import GREEK, LATEX, escape_latex
from mtlbench.results.report.paper.letters import OTHERS, remarks, set_by_latex
from mtlbench.results.report.paper.widths import paper
from mtlbench.results.report.write import report
from tables_of import TASKS, shown

EASY = ("SCA-MTL, λ = 0.1", "Müller\N{EN DASH}Łoś", "2 \N{MULTIPLICATION SIGN} 3")
HARD = {"Сеть": "С е т ь", "多任务": "任 务 多"}  # noqa: RUF001
PDFLATEX = shutil.which("pdflatex")


def store(root, labels):
    made = Store(root)
    for label in ("Single task", *labels):
        made.run(label, TASKS, 0)
    return made.close()


@pytest.mark.usefixtures("undrawn")
def test_a_label_that_pdflatex_does_not_set_is_named_in_one_line_in_the_report_and_in_its_files(tmp_path):
    written = report(store(tmp_path / "s", (*EASY, *HARD)), [], tmp_path / "out", paper("neurips"))
    wanted = [
        f"label {label!r}: pdflatex does not set {letters}; use lualatex or xelatex with a font that has them, "
        "or a label in Latin letters"
        for label, letters in HARD.items()
    ]
    wanted.append(
        "label '多任务': a font of the figures lacks 任 务 多; figures show boxes in their place; "
        "use a label in Latin letters"
    )
    assert list(written.letters) == wanted
    for file in ("table.tex", "paper/rooms-semseg-depth-scores.tex", "paper/rooms-semseg-depth-costs.tex"):
        text = (tmp_path / "out/rooms" / file).read_text()
        assert all(f"% {line}\n" in text for line in wanted)


def test_nothing_is_said_of_labels_that_every_latex_sets(tmp_path):
    made = store(tmp_path, EASY)
    assert remarks(read(made, "rooms").manifest, shown(made)) == []


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")
def test_pdflatex_sets_every_letter_that_is_said_to_be_set(tmp_path):
    letters = [chr(code) for code in range(0xA0, 0x250) if set_by_latex(chr(code))]
    assert "é" in letters and "ř" in letters and len(letters) > 150
    lines = [escape_latex(text) for text in (*letters, *OTHERS, *GREEK, *LATEX, *EASY)]
    (tmp_path / "a.tex").write_text(
        "\\documentclass{article}\n\\begin{document}\n" + "\n\n".join(lines) + "\n\\end{document}\n", encoding="utf-8"
    )
    command = [PDFLATEX, "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, [line for line in done.stdout.splitlines() if line.startswith("! ")]
    assert "Missing character" not in (tmp_path / "a.log").read_text(errors="replace")
