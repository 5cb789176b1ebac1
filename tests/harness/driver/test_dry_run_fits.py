"""What a dry run shows fits a terminal: names are broken between words, and numbers stay behind their names."""

from datetime import datetime

import pytest

from mtlbench.harness.driver import forecast
from mtlbench.harness.inspect import columns
from mtlbench.harness.matrix.entries import Resources
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import embedded

NOON = datetime(2026, 11, 27, 12, 0)


def planned(name):
    """A forecast of an embedded matrix with long numbers, without counting anything."""
    cells = {item.cell.id: item for item in expand(read(name))}.values()
    return forecast.Forecast(
        [forecast.Line(item, "new", 139.97e6, 1121.6e9, 120.8 * 2**30, 9_900, 1.2, []) for item in cells], [], [], 1
    )


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", ["table2", "table4", "survey_pascal", "atrc_search"])
def test_rows_fit_the_terminal_with_their_time_on_the_line_of_their_name(name, width):
    assert name in embedded()
    text = forecast.show(planned(name), Resources(), NOON, width).partition("\n\n")[0].splitlines()
    assert max(map(len, text)) <= width
    assert text[0].startswith("row ") and text[0].endswith(" memory        time") and "to run" in text[0]
    begun = [line for line in text[1:] if not line.startswith(" ")]
    assert all(line.rstrip().endswith(("min", " s")) for line in begun)
    wide = forecast.show(planned(name), Resources(), NOON).partition("\n\n")[0].splitlines()
    assert len(begun) == len(wide) - 1
    names = [line.partition("  ")[0] for line in wide[1:]]
    rest = " ".join(line.strip().partition("  ")[0] for line in text[1:])
    assert rest.replace("+ ", "+") == " ".join(names)


def test_a_wide_terminal_has_all_columns_on_one_line_a_row():
    found = planned("table2")
    wide = forecast.show(found, Resources(), NOON, 120)
    assert wide == forecast.show(found, Resources(), NOON)
    assert wide.split()[:8] == ["row", "cells", "to", "run", "parameters", "MACs", "memory", "time"]


def test_a_cell_fits_the_terminal_with_its_time_on_the_first_line():
    name = "SCA-MTL · semseg+human_parts+normals+saliency+edge · seed 0"
    told = forecast.Told("new", name, len(name) + 4, 9_900, 3900)
    first, *more = told.text(80).splitlines()
    assert len(first) <= 80 and first.endswith("9,900 steps  1 h 05 min") and all(len(line) <= 80 for line in more)
    said = " ".join([first[9:].partition("  ")[0], *(line.strip() for line in more)])
    assert said.replace("+ ", "+") == name
    assert told.text() == f"new      {name}          9,900 steps  1 h 05 min"


def test_a_word_that_is_longer_than_the_line_stays_whole():
    assert columns.broken("one two+three", 4) == ["one", "two+", "three"]
    assert columns.broken("", 4) == [""]
