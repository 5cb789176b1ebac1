"""What a printed cell says: its number, its rounding, or that there is none."""

import pytest

from mtlbench.results.papers.reading.latex import inline
from mtlbench.results.papers.reading.numbers import clean, missing, number


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("37.50", "37.50"),
        ("+2.23", "+2.23"),
        ("-5.03", "-5.03"),
        ("\u22125.03", "-5.03"),  # U+2212
        ("\u20135.03", "-5.03"),  # en dash
        ("--5.03", "-5.03"),
        ("5.2%", "5.2"),
        ("5.2 %", "5.2"),
        ("74.01 ± 0.3", "74.01"),
        ("74.01 +/- 0.3", "74.01"),
        ("74.01 (0.3)", "74.01"),
        ("(74.01)", "74.01"),
        ("1,234.5", "1234.5"),
        ("1,234", "1234"),
        ("1\u2009234.5", "1234.5"),  # a thin space
        ("1.234,5", "1234.5"),
        ("37,5", "37.5"),
        ("0,625", "0.625"),
        ("**12.3**", "12.3"),
        ("12.3*", "12.3"),
        ("12.3†", "12.3"),
        ("12.3²", "12.3"),
        ("*12.3", "12.3"),
        ("12.3 ↑2.1", "12.3"),
        ("112.6M", "112.6"),
        ("~5", "5"),
        ("≈3", "3"),
        (".625", ".625"),
        ("\u200f12.3\u200e", "12.3"),  # marks of direction
        ("\u0661\u0662\u066b\u0663", "12.3"),  # Arabic digits
        (r"\textbf{12.3}", "12.3"),
        (r"$\mathbf{+4.82}$", "+4.82"),
        (r"\underline{$-5.03$}", "-5.03"),
        (r"$74.01_{\pm 0.3}$", "74.01"),
        (r"74.01{\scriptsize$\pm$0.3}", "74.01"),
        (r"\textcolor{red}{12.3}", "12.3"),
        (r"{\color{red}12.3}", "12.3"),
        (r"\cellcolor[HTML]{EFEFEF}12.3", "12.3"),
        (r"\cellcolor{gray!15}\textbf{12.3}", "12.3"),
        (r"12.3\textsuperscript{2}", "12.3"),
        (r"12.3$^{*}$", "12.3"),
        (r"$\phantom{0}9.1$", "9.1"),
        (r"\hphantom{-}4.8", "4.8"),
        (r"$1{,}234$", "1234"),
        (r"5.2\%", "5.2"),
        (r"\SI{12.3}{\percent}", "12.3"),
        (r"{$-$}5.03", "-5.03"),
    ],
)
def test_a_cell_prints_a_number_whatever_stands_around_it(cell, text):
    found = number(inline(cell))
    assert found is not None and found.text == text
    assert found.value == float(text)


@pytest.mark.parametrize(
    "cell", ["", "-", "\u2013", "\u2014", "\u2212", "n/a", "N/A", "NaN", "OOM", "✗", "…", " - ", r"$-$", "--", "(-)"]
)
def test_a_cell_says_that_a_number_is_missing(cell):
    assert missing(inline(cell)) and number(inline(cell)) is None


@pytest.mark.parametrize(
    "cell",
    ["3D-Net", "12-15", "12.3 / 4", "12.3 45.6", "ResNet-50", "mIoU", "2 tasks", "<0.01", "1e999", "t^∘", "1.2.3"],
)
def test_a_cell_with_several_numbers_or_none_prints_no_number(cell):
    assert number(cell) is None


def test_the_numbers_before_rounding_lie_within_half_a_unit_of_the_last_digit():
    for cell, half in (("37.50", 0.005), ("37.5", 0.05), ("38", 0.5), ("0.0125", 0.00005), ("1.2e-3", 0.00005)):
        found = number(cell)
        assert found.half == pytest.approx(half)
        assert (found.low, found.high) == (pytest.approx(found.value - half), pytest.approx(found.value + half))


def test_an_arrow_before_a_number_is_its_sign_in_a_column_of_differences_only():
    assert number("↓5.03", arrows=True).value == -5.03
    assert number("↑ 5.03", arrows=True).value == 5.03
    assert number("↓5.03").value == 5.03


def test_a_clean_text_has_plain_letters_and_one_delta():
    assert clean("\u2206\U0001d45a\u00a0 %\u200f") == "Δm %"
