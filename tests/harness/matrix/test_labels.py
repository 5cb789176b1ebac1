"""What a label, a title or a caption may hold, and how a file that is no matrix is refused."""

import pytest

from cells import small_matrix
from mtlbench.harness.matrix.text.written import MatrixError, load


@pytest.mark.parametrize("label", ["\x1b[31mred", "bell\a", "nul\0", "m" * 81])
def test_a_label_that_would_move_a_terminal_or_fill_a_page_is_refused(label):
    with pytest.raises(MatrixError) as refused:
        small_matrix(methods=[{"name": "multi_task", "label": label}], baseline=label)
    assert "methods.0.label" in str(refused.value)
    assert "control character" in str(refused.value) or "80 characters" in str(refused.value)


@pytest.mark.parametrize("label", ["日本 é", "a|b $x_1$ <b>%", "m" * 80])
def test_odd_letters_are_none_of_these(label):
    assert small_matrix(methods=[{"name": "multi_task", "label": label}], baseline=label).methods[0].label == label


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"methods: [a\nseeds: 3", "not YAML: line 2, column 6: "),
        (b"\xff\xfe\x00", "not YAML: it is no text in UTF-8"),
        (b"", "it is empty; `mtlbench new matrix NAME` writes one to start from"),
        (b"[1, 2]", "keys with values are expected, such as methods: [...], not '[1, 2]'"),
    ],
)
def test_a_file_that_is_no_matrix_is_refused_in_one_line(tmp_path, content, said):
    file = tmp_path / "m.yaml"
    file.write_bytes(content)
    with pytest.raises(MatrixError) as refused:
        load(str(file))
    assert said in str(refused.value) and len(refused.value.problems) == 1 and "\n" not in refused.value.problems[0]


def test_a_name_that_is_nearly_right_is_hinted_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    with pytest.raises(FileNotFoundError, match=r"perhaps mine\.yaml is meant$"):
        load("mine")
    with pytest.raises(FileNotFoundError, match=r"perhaps smoke is meant$"):
        load("smoke.yaml")
    with pytest.raises(FileNotFoundError, match="is a folder and no matrix file"):
        load(str(tmp_path))


@pytest.mark.parametrize("label", ["", "  "])
def test_an_empty_label_is_refused_at_its_entry(label):
    with pytest.raises(MatrixError) as refused:
        small_matrix(methods=["single_task", {"name": "multi_task", "label": label}])
    assert refused.value.problems == [f"methods.1.label: {label!r} is empty; write a text, or leave the key out"]
