"""What a report writes for a paper: tables that fit, figures of the exact width, BibTeX, and where numbers are from."""

import re
import shutil
import subprocess

import pytest

from command import main
from make_records import Store, pascal, three_seeds
from mtlbench.results.report.paper.bibliography import WITHOUT, WORKS, bibtex
from mtlbench.results.report.paper.measure import width as measured
from mtlbench.results.report.paper.tables import Field, fit
from mtlbench.results.report.paper.widths import TEMPLATES, paper
from mtlbench.results.report.tables import Cell
from mtlbench.results.report.write import report
from paths import ROOT
from tables_of import TASKS

LATEX = shutil.which("pdflatex") or shutil.which("tectonic")
ROOMS_VERDICT = str(ROOT / "results" / "rooms_verdict" / "store")


def test_a_width_is_a_template_or_a_length():
    assert paper("neurips") == paper("5.5in") == ("5.5in", 5.5)
    assert paper("84mm").inches == pytest.approx(84 / 25.4)
    assert paper("241pt").inches == pytest.approx(3.3347, abs=1e-4)
    assert all(3 < paper(name).inches < 6 for name in TEMPLATES)


@pytest.mark.parametrize("wrong", ["nature", "5.5", "5,5in", "-3in", "0.1in", "500in", "1e9in", ""])
def test_a_wrong_width_is_refused_in_one_line_before_anything_is_written(tmp_path, capsys, wrong):
    store = three_seeds(tmp_path / "store")
    assert main(["report", "--store", store, "--out", str(tmp_path / "out"), "--paper", wrong]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and repr(wrong) in said and "in" in said
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    root = tmp_path_factory.mktemp("paper")
    written = report(three_seeds(root / "store"), [], root / "out", paper("cvpr"))
    return written, root / "out" / "rooms" / "paper"


@pytest.mark.slow
def test_a_paper_has_all_its_files_and_equal_records_give_equal_bytes(tmp_path, kit):
    written, folder = kit
    names = {str(path.relative_to(folder)) for path in written.paths if folder in path.parents}
    tables = {f"rooms-semseg-depth-{name}.tex" for name in ("scores", "costs", "figures")}
    drawn = {f"figures/rooms-semseg-depth-{name}.pdf" for name in ("gains", "cost", "learning")}
    assert names == tables | drawn | {"methods.bib", "example.tex"}
    again = report(three_seeds(tmp_path / "store"), [], tmp_path / "out", paper("cvpr"))
    assert [path.read_bytes() for path in written.paths] == [path.read_bytes() for path in again.paths]


def test_figures_are_as_wide_as_the_paper(kit):
    for path in (kit[1] / "figures").iterdir():
        (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ", path.read_bytes())
        assert float(box) == pytest.approx(72 * 3.25)


def test_where_the_numbers_are_from_is_a_comment_and_not_in_the_caption(kit):
    for path in kit[1].glob("rooms-*.tex"):
        text = path.read_text()
        comments = [line for line in text.splitlines() if line.startswith("%")]
        for line in ("% commit: 0123456789ab", "% torch: 2.11.0", "% data: d0d0", "% device: cpu"):
            assert line in comments
        rest = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        assert not re.search("0123456789ab|2.11.0|d0d0|Records", rest)


def test_a_table_has_its_width_grouped_heads_and_only_its_own_notes(kit):
    scores = (kit[1] / "rooms-semseg-depth-scores.tex").read_text()
    costs = (kit[1] / "rooms-semseg-depth-costs.tex").read_text()
    assert all(r"\begin{tabular*}{3.25in}" in text for text in (scores, costs))
    for head in (r"\multicolumn{1}{c}{semseg}", r"\multicolumn{1}{c}{depth}", r"\cmidrule(lr){2-2}", "mIoU"):
        assert head in scores
    assert r"\multicolumn{2}{c}{Size}" in costs and "MACs" not in scores and "mIoU" not in costs
    assert "failed 1 of 3 seeds" in scores and "}~1 of 3 failed" in scores and "(1 of 3" not in scores
    assert "The numbers of a row that lost seeds" in scores
    for text in (scores, costs):
        marks = set(re.findall(r"\\textsuperscript\{([a-z ]+)\}(?!~)", text))
        notes = re.findall(r"\\textsuperscript\{([a-z])\}~", text)
        assert sorted(mark for several in marks for mark in several.split()) == notes


@pytest.mark.slow
def test_what_has_no_room_is_a_comment(tmp_path, kit):
    narrow = (kit[1] / "rooms-semseg-depth-scores.tex").read_text()
    assert "% Without room for the 95 % interval of Δm: Multi task [−4.11, −1.75]" in narrow  # noqa: RUF001
    assert "simultaneous over all pairs of rows." not in narrow.partition(r"\begin{table}")[2]
    report(three_seeds(tmp_path / "store"), [], tmp_path / "out", paper("6.875in"))
    wide = (tmp_path / "out/rooms/paper/rooms-semseg-depth-scores.tex").read_text()
    assert "Without room" not in wide and "95 \\% interval" in wide
    assert "The 95 \\% interval is simultaneous over all pairs of rows." in wide.partition(r"\begin{table}")[2]


def test_columns_that_do_not_fit_go_into_blocks_that_do():
    names = Field("", "Method", (Cell("A method"),))
    fields = [Field(f"task {i}", "mIoU [%]", (Cell("12.34 ± 0.56"),)) for i in range(12)]
    for room in (150.0, 240.0, 400.0):
        found = fit(names, fields, room)
        assert [field for block in found.blocks for field in block] == fields and len(found.blocks) > 1
        for block in found.blocks:
            widths = [max(field.width(found.size), measured(field.group, found.size)) for field in (names, *block)]
            assert sum(widths) + found.gap * len(block) <= room
    assert len(fit(names, fields, 1200).blocks) == 1


def test_every_method_of_ours_has_an_entry_or_is_a_baseline():
    from mtlbench.methods import METHODS

    assert set(METHODS) == WORKS.keys() | set(WITHOUT)
    text = bibtex({**{name.upper(): name for name in METHODS}, "Mine @home": "my_module:Mine"})
    assert set(re.findall(r"^@inproceedings\{(\w+),", text, re.MULTILINE)) == {work.key for work in WORKS.values()}
    assert text.count("@") == len(WORKS)  # BibTeX reads all else as a comment
    assert "my_module:Mine): no entry, since the method is from outside" in text


def odd(root):
    """Labels, titles and failures with letters that LaTeX reads as its own."""
    store = Store(root, "odd", title="50 % & more_of #1", caption="a_b ~ {c} ^ \\d")
    for seed in range(2):
        store.single(TASKS, seed)
        store.run("A_long & strange name <of> 100 %", TASKS, seed)
        store.run("SCA-MTL", TASKS, seed, status="failed" if seed else "finished")
    return store.close()


@pytest.mark.slow  # LaTeX, several times
@pytest.mark.skipif(LATEX is None, reason="neither pdflatex nor tectonic is installed")
@pytest.mark.parametrize("asked", ["neurips", "cvpr", "84mm"])
@pytest.mark.parametrize("make", [three_seeds, pascal, odd, None])
def test_latex_takes_everything_without_an_error_and_nothing_sticks_out(tmp_path, asked, make):
    store = ROOMS_VERDICT if make is None else make(tmp_path / "store")
    written = report(store, [], tmp_path / "out", paper(asked))
    (example,) = [path for path in written.paths if path.name == "example.tex"]
    if LATEX.endswith("tectonic"):
        commands = [[LATEX, "--keep-logs", example.name]]
    else:
        latex = [LATEX, "-interaction=nonstopmode", "-halt-on-error", example.name]
        bibliography = [["bibtex", "example"]] if shutil.which("bibtex") else []
        commands = [latex, *bibliography, latex]
    for command in commands:
        done = subprocess.run(command, cwd=example.parent, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-3000:]
    log = (example.parent / "example.log").read_text(errors="replace")
    assert "Overfull" not in log and not re.search("^!", log, re.MULTILINE)
    assert "Output written on" in log
