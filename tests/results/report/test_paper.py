"""What a report writes for a paper: tables that fit, figures of the exact width, BibTeX, and where numbers are from."""

import re
import shutil
import subprocess

import pytest

from command import main
from make_records import CROWD, FOUR, Store, crowded, pascal, three_seeds
from mtlbench.results.report.paper.bibliography import WITHOUT, WORKS, bibtex
from mtlbench.results.report.paper.layout import Field, fit
from mtlbench.results.report.paper.measure import width as measured
from mtlbench.results.report.paper.widths import TEMPLATES, paper
from mtlbench.results.report.tables import Cell
from mtlbench.results.report.write import report
from paths import ROOT
from tables_of import TASKS

LATEX = shutil.which("pdflatex") or shutil.which("tectonic")
ROOMS_VERDICT = str(ROOT / "results" / "rooms_verdict" / "store")


def test_a_width_is_a_template_or_a_length():
    assert paper("5.5in") == ("5.5in", 5.5, False, None)
    assert paper("neurips") == ("5.5in", 5.5, True, None)  # a template tells the letters too
    assert paper("cvpr").across == 6.875 and paper("3in").across == 6 and paper("ieee").across > 2 * 252 / 72.27
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
    assert r"\multicolumn{2}{c@{}}{$\Delta_m$" in scores and r"\cmidrule(l){4-5}" in scores
    assert r"\multicolumn{2}{c}{Size}" in costs and "MACs" not in scores and "mIoU" not in costs
    assert "failed 1 of 3 seeds" in scores and "}~1 of 3 failed" in scores and "(1 of 3" not in scores
    assert "The numbers of a row that lost seeds" in scores
    for text in (scores, costs):
        marks = set(re.findall(r"\\textsuperscript\{([a-z ]+)\}(?!~)", text))
        notes = re.findall(r"\\textsuperscript\{([a-z])\}~", text)
        assert sorted(mark for several in marks for mark in several.split()) == notes


def tabulars(folder):
    (text,) = [path.read_text() for path in folder.glob("*-scores.tex")]
    return text, text.count(r"\begin{tabular*}")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_four_tasks_and_long_names_are_one_block_in_a_column_and_what_has_no_room_is_a_comment(tmp_path):
    store = crowded(tmp_path / "store", labels=CROWD[:6], pictures=False)
    report(store, [], tmp_path / "out", paper("cvpr"))
    text, blocks = tabulars(tmp_path / "out/crowd/paper")
    below = text.partition(r"\begin{table}")[2]
    assert blocks == 1 and r"\scriptsize\setlength" in below
    assert "% Without room for the 95 % interval of Δm: Multi-task [" in text and "simultaneous over all" not in below
    assert r"\multicolumn{1}{c}{parts}" in below and r"{mErr\kern0.08em{}{\tiny {[}$^\circ${]}}" in below
    assert below.count("mErr") == 2 and "mErr: mean angle between" in below  # the caption says what it is
    report(store, [], tmp_path / "out", paper("6.875in"))
    text, blocks = tabulars(tmp_path / "out/crowd/paper")
    assert blocks == 1 and "Without room" not in text and "95 \\%" in text
    assert "The 95 \\% interval is simultaneous over all pairs of rows." in text.partition(r"\begin{table}")[2]
    report(store, [], tmp_path / "out", paper("2.5in"))
    text, blocks = tabulars(tmp_path / "out/crowd/paper")
    assert blocks > 1 and f"% In {blocks} blocks: the narrowest single one is " in text and "Without room" not in text


def test_columns_that_do_not_fit_go_into_blocks_that_do():
    names = Field("", "Method", (Cell("A method"),))
    fields = [Field(f"task {i}", "mIoU [%]", (Cell("12.34 ± 0.56"),)) for i in range(12)]
    for room in (150.0, 240.0, 400.0):
        found = fit(names, fields, room)
        shown = [field for block in found.blocks for field in block]
        assert [(field.group, field.cells) for field in shown] == [(field.group, field.cells) for field in fields]
        assert len(found.blocks) > 1 and found.why
        for block in found.blocks:
            widths = [max(field.width(found.size), measured(field.group, found.size)) for field in block]
            first = found.wrap or names.width(found.size)
            assert first + sum(widths) + found.gap * len(block) <= room
    assert len(fit(names, fields, 1200).blocks) == 1 and not fit(names, fields, 1200).why


def test_letters_become_smaller_before_anything_is_left_out_and_fine_print_before_the_interval():
    names = Field("", "Method", (Cell("A method with a long name"),))
    fields = [Field(f"task {i}", "mIoU [%] ↑", (Cell("12.34 ± 0.56"),), "score") for i in range(3)]
    fields += [
        Field("Δm", "mean ± sd", (Cell("+1.23 ± 0.45"),), "delta"),
        Field("Δm", "95 % interval", (Cell("[+0.12, +2.34]"),), "interval"),
    ]
    seen = []
    for room in range(600, 100, -5):
        found = fit(names, fields, room)
        state = (*(any(test(f) for b in found.blocks for f in b) for test in HAS), len(found.blocks) > 1)
        seen += [state] if state not in seen[-1:] else []
    assert seen == [  # fine print, the standard deviation of Delta_m, its interval, several blocks
        (False, True, True, False),
        (False, False, True, False),
        (True, True, True, False),
        (True, False, True, False),
        (True, True, False, False),
        (True, False, True, True),
    ]
    complete = fit(names, fields, 250.0, complete=True)
    assert all(any(test(f) for b in complete.blocks for f in b) for test in HAS)


HAS = (
    lambda field: field.fine,
    lambda field: field.role == "delta" and "±" in field.cells[0].text,
    lambda field: field.role == "interval",
)


def test_the_points_of_numbers_lie_below_each_other():
    cells = (Cell("0.00"), Cell("+12.34 ± 0.56"), Cell("failed"), Cell("−1.20 ± 0.30"))  # noqa: RUF001
    field = Field("Δm", "mean", cells, "delta")
    assert field.padded == (("+0", " ± 0.56"), ("", ""), ("", ""), ("0", ""))
    assert Field("Size", "MACs", (Cell("1.00"), Cell("12.00")), "cost").padded == (("", ""), ("", ""))


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


def wide(root):
    """Four tasks, and six rows with long names."""
    return crowded(root, labels=(CROWD[0], *CROWD[-5:]), pictures=False)


def five(root):
    """Five tasks, nine rows with long names, classes and pictures, none of which has room in a column."""
    return crowded(root, tasks=(*FOUR, "edge"))


@pytest.mark.slow
def test_pictures_that_would_be_tiny_in_a_column_go_across_both_and_the_comment_says_so(tmp_path):
    for asked, wide in (("cvpr", 6.875), ("3in", 6.0), ("neurips", 5.5)):
        report(ROOMS_VERDICT, [], tmp_path / asked, paper(asked))
        folder = tmp_path / asked / "rooms_verdict/paper"
        found = {path.stem.rpartition("-")[2]: path for path in (folder / "figures").iterdir()}
        for name, path in found.items():
            (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ", path.read_bytes())
            is_sheet = name.startswith("predictions")
            assert float(box) == pytest.approx(72 * (wide if is_sheet else paper(asked).inches))
        text = (folder / "rooms-semseg-normals-figures.tex").read_text()
        across = 0 if asked == "neurips" else 2
        said = text.count(f"% Across both columns, {wide:g}in: in one column it would be too small.\n")
        assert said == text.count(r"\begin{figure*}") == text.count(r"\end{figure*}") == across


WIDER = [pytest.param(asked, marks=pytest.mark.drill) for asked in ("neurips", "84mm")]


@pytest.mark.skipif(LATEX is None, reason="neither pdflatex nor tectonic is installed")
@pytest.mark.parametrize("asked", [pytest.param("cvpr", marks=pytest.mark.slow), *WIDER])
@pytest.mark.parametrize("make", [three_seeds, pascal, odd, wide, five, None])
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
    assert not re.search("Overfull|Float too large", log) and not re.search("^!", log, re.MULTILINE)
    assert "Output written on" in log
