"""A report: its files, its page, and the command that writes it."""

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from command import main
from make_records import Store, score, three_seeds
from mtlbench.results.report.drawing.dark import PAPER
from mtlbench.results.report.write import report
from tables_of import TASKS

undrawn = pytest.mark.usefixtures("undrawn")


@undrawn
def test_secondary_scores_are_in_the_csv_and_on_the_page_but_classes_only_in_the_csv(tmp_path):
    store = Store(tmp_path / "store")
    extra = tuple(
        type(score("semseg", 1.0))("semseg", name, 70.0, True, False, "") for name in ("pixel_accuracy", "iou/wall")
    )
    for label in ("Single task", "SCA-MTL"):
        store.run(label, TASKS, 0, scores=(score("semseg", 40.0), *extra, score("depth", 0.6)))
    written = report(store.close(), [], tmp_path / "out")
    text = (tmp_path / "out/rooms/scores.csv").read_text()
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert "pixel_accuracy" in text
    assert "iou/wall" in text
    assert "pixel_accuracy" in page
    assert "iou/wall" not in page
    assert "iou/wall" not in written.markdown


@pytest.mark.slow
def test_a_report_has_all_its_files_and_equal_records_give_equal_bytes(tmp_path, written):
    first, folder = written
    second = report(three_seeds(tmp_path / "store"), ["rooms"], tmp_path / "out")
    names = {str(path.relative_to(folder)) for path in first.paths}
    figures = {
        f"figures/rooms-semseg-depth-{name}.{kind}" for name in ("gains", "cost", "learning") for kind in ("png", "pdf")
    }
    texts = {"table.md", "table.tex", "table.csv", "scores.csv", "deltas.csv", "gains.csv", "contrasts.csv"}
    assert names == figures | texts | {"report.html"}
    assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in second.paths]
    assert first.markdown == second.markdown == (folder / "table.md").read_text()


def test_the_page_stands_alone(written):
    whole = (written[1] / "report.html").read_text()
    assert len(whole) < 6e6
    page = re.sub(r'(?s)(<script type="text/plain" id="plotly">).*?</script>', "", whole)
    assert not re.search(r"""(src|srcset)=["'](?!data:)""", page)
    assert "http" not in page
    links = re.findall(r'href="([^"#]+)"', page)
    assert sorted(set(links)) == sorted(
        str(path.relative_to(written[1])) for path in written[0].paths if path.suffix not in (".html", ".png")
    )
    assert page.count("data:image/webp;base64,") == 6  # three figures, each on light and on dark paper
    assert "loss is nan at step 7" in page
    assert "What the choice of the baseline run changes" in page


def test_every_figure_of_the_page_has_a_dark_one_for_dark_pages(written):
    page = (written[1] / "report.html").read_text()
    pictures = re.findall(r"(?s)<picture>(.*?)</picture>", page)
    assert len(pictures) == page.count("<img ") == 3
    for picture in pictures:
        (dark,) = re.findall(
            r'<source srcset="data:image/webp;base64,([^"]+)" media="\(prefers-color-scheme: dark', picture
        )
        (light,) = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', picture)
        both = (Image.open(io.BytesIO(base64.b64decode(found))).convert("RGB") for found in (light, dark))
        corners = [np.array(found.getpixel((0, 0))) / 255 for found in both]
        assert corners[0] == pytest.approx((1, 1, 1)) and corners[1] == pytest.approx(PAPER, abs=0.01)


@undrawn
def test_the_page_escapes_what_the_matrix_says(tmp_path):
    store = Store(tmp_path / "store", title="<script>alert(1)</script>", caption="a < b & c")
    store.single(TASKS, 0)
    store.run("<b>x</b>", TASKS, 0, scores=(score("semseg", 40.0), score("depth", 0.6)))
    report(store.close(), [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert "<script>alert" not in page
    assert "<b>x" not in page
    assert "a &lt; b &amp; c" in page


@undrawn
def test_published_rows_of_the_same_benchmark_and_tasks_are_context_on_the_page(tmp_path):
    store = Store(tmp_path / "store")
    store.single(("semseg", "human_parts", "normals"), 0, benchmark="pascal_context")
    report(store.close(), [], tmp_path / "out")
    page = (tmp_path / "out/rooms/report.html").read_text()
    assert page.count("Published for the same benchmark and tasks") == 1
    assert "<td>SCA-MTL paper, Table 4</td>" in page
    assert "<td>SCA-MTL paper, Table 3</td>" not in page
    # in this table's order of tasks, whatever the paper's is
    assert "<td>MTINet</td><td>59.04</td><td>61.56</td><td>14.94</td><td>1.66</td>" in page
    for head in ("semseg mIoU [%]", "human parts mIoU [%]", "normals mean angle [°]"):
        assert f"{head}</th>" in page


def test_the_page_of_another_benchmark_shows_no_published_row(written):
    assert "Published for the same" not in (written[1] / "report.html").read_text()


@undrawn
def test_the_command_writes_a_report_and_prints_its_tables(tmp_path, capsys):
    store = Store(tmp_path / "store")
    store.single(TASKS, 0, status="missing")
    assert main(["report", "rooms", "--store", store.close(), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "No verdict: no run is finished yet." in said and f"report   {tmp_path / 'out/rooms/report.html'}" in said


@undrawn
def test_a_report_takes_the_file_that_a_run_takes(tmp_path, capsys):
    store, file = three_seeds(tmp_path / "store"), tmp_path / "rooms.yaml"
    file.write_text("name: rooms\n")
    assert main(["report", str(file), "--store", store, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/rooms/table.md").exists()


@undrawn
@pytest.mark.parametrize(("store", "matrix"), [("nowhere", "rooms"), ("store", "tabel1"), ("empty", None)])
def test_a_wrong_path_ends_with_2_and_one_clear_line(tmp_path, capsys, store, matrix):
    three_seeds(tmp_path / "store")
    (tmp_path / "empty").mkdir()
    arguments = [
        "report",
        *([matrix] if matrix else []),
        "--store",
        str(tmp_path / store),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert store in captured.err
    assert not (tmp_path / "out").exists()


@undrawn
def test_a_broken_record_ends_with_1_and_its_path_beside_the_other_rows(tmp_path, capsys):
    store = three_seeds(tmp_path / "store")
    broken = next((tmp_path / "store/cells").glob("single*/record.json"))
    broken.write_text("{")
    assert main(["report", "--store", store, "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert broken.parent.name in captured.err and "PAD-Net" in captured.out


@undrawn
def test_a_newer_record_ends_with_1_and_one_line(tmp_path, capsys):
    store = three_seeds(tmp_path / "store")
    newer = next((tmp_path / "store/cells").glob("single*/record.json"))
    newer.write_text(newer.read_text().replace('"schema": 1', '"schema": 9'))
    assert main(["report", "--store", store, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and newer.parent.name in said and "newer version of mtlbench" in said


@undrawn
def test_a_store_elsewhere_ends_with_2_and_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for place, named in (("s3://bucket/runs", "s3://bucket/runs"), ("foo://x", "foo://x")):
        assert main(["report", "--store", place, "--out", str(tmp_path / "out")]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert named in captured.err


@pytest.mark.slow
def test_a_report_needs_neither_torch_nor_methods_nor_benchmarks(tmp_path):
    store = three_seeds(tmp_path / "store")
    code = (
        "import sys; from mtlbench.harness.cli.app import app; "
        f"app(['report', '--store', {store!r}, '--out', {str(tmp_path / 'out')!r}], standalone_mode=False); "
        "unwanted = {'torch', 'mtlbench.methods', 'mtlbench.benchmarks', 'ray', 'mlflow'}; "
        "print(sorted(unwanted & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
