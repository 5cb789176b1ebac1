"""How far something is: bars where a terminal can draw them, and else few lines, none of which is empty."""

import io
import re

import pytest
from rich.console import Console

from mtlbench.harness.driver.bars import AGAIN, FIRST, animated, bars


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def console(terminal, **variables):
    said = io.StringIO()
    return Console(file=said, force_terminal=terminal, width=80, _environ={"TERM": "xterm", **variables}), said


@pytest.mark.parametrize("variables", [{}, {"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
def test_a_log_has_a_line_now_and_then_and_no_empty_one(variables):
    shown, said = console(False, **variables)
    clock = Clock()
    with bars(shown, clock) as told:
        for second in range(41):
            clock.now = float(second)
            told("making rooms", second, 1400)
    assert said.getvalue().splitlines() == [
        f"making rooms: {done} of 1,400" for done in (int(FIRST), int(FIRST + AGAIN))
    ]


def test_what_is_done_in_a_second_says_nothing_in_a_log():
    shown, said = console(False)
    with bars(shown, Clock()) as told:
        told("making rooms", 6, 6)
    assert said.getvalue() == ""


def test_a_terminal_that_cannot_draw_gets_lines():
    shown, said = console(True, TERM="dumb")
    clock = Clock()
    with bars(shown, clock) as told:
        clock.now = 2.0
        told("images", 3, 9)
    assert not animated(shown) and said.getvalue() == "images: 3 of 9\n"


def test_a_terminal_gets_a_bar_that_is_removed():
    shown, said = console(True)
    with bars(shown) as told:
        told("images", 3, 9)
    assert animated(shown) and "images" in said.getvalue()
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.getvalue().rsplit("\r", 1)[-1])
    assert last.strip() == ""
