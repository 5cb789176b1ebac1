"""The cost of a cell: what is measured of a run, and what the table says of it."""

import sys

import pytest

from cells import small_benchmark
from mtlbench.harness.bench import cells as bench_cells
from mtlbench.harness.bench import kernels as bench
from mtlbench.harness.bench.cells import Measured

ENDS = """
import pathlib, sys, time
held = []
for number in range(8):
    held.append(bytearray(8_000_000))
    pathlib.Path(sys.argv[1], f"{number}.done").touch()
    time.sleep(0.3)
"""


def times(folder):
    return lambda: bench_cells._times(folder.glob("*.done"))


def test_time_and_growth_are_those_of_the_process(tmp_path):
    found = bench_cells.measure(["-c", ENDS, str(tmp_path)], tmp_path, times(tmp_path), 8)
    assert 0.2 < found.each < found.whole / 8 + 0.5
    assert 4e6 < found.growth < 12e6
    assert found.peak > 8 * 8e6


def test_memory_before_the_second_quarter_is_not_growth():
    ended = [float(second) for second in range(8)]
    imported = [(when / 4, 1e6 * min(when, 8)) for when in range(32)]
    assert bench_cells.growth(imported, ended) == pytest.approx(0, abs=1)
    assert bench_cells.growth([(when, 5 * when) for when in ended], ended) == pytest.approx(5)


def test_a_run_that_fails_is_not_timed_and_its_last_line_is_shown(tmp_path):
    with pytest.raises(RuntimeError, match="0 of 2 ended, and the process with status 1: no room"):
        bench_cells.measure(["-c", "import sys; sys.exit('no room')"], tmp_path, times(tmp_path), 2)


def test_a_trial_of_the_other_side_trains_one_step_and_says_when_it_has_ended(tmp_path, rooms):
    small_benchmark().make(rooms, lambda done, total: None)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rooms").symlink_to(rooms)
    (tmp_path / "plain").mkdir()
    bench_cells.step(str(tmp_path / "plain"), 3)
    assert [file.name for file in (tmp_path / "plain").iterdir()] == ["3.done"]
    assert "mtlbench.harness.training.judge" in sys.modules


def test_the_table_compares_pairs_and_says_what_is_missed(monkeypatch, capsys):
    plain = Measured(each=2.0, whole=100.0, peak=1e9, growth=0.0)
    for ours, missed in (
        (Measured(each=2.4, whole=150.0, peak=1.2e9, growth=0.5e6), []),
        (Measured(each=2.8, whole=150.0, peak=1.6e9, growth=1.5e6), ["cells", "cells_memory", "cells_growth"]),
    ):
        found = [(ours, plain)] * 3
        monkeypatch.setattr(bench, "LONG", {"cells": lambda rounds, cells, found=found: bench_cells.table(found)})
        assert bench.main(["cells"]) == bool(missed)
        lines = [line for line in capsys.readouterr().out.splitlines() if line]
        assert [line.split()[0] for line in lines if line.endswith("missed")] == missed
        assert f"{ours.each / 2:.2f}x" in lines[1] and "1.50x" in lines[2]


def test_it_takes_minutes_and_so_runs_where_it_is_named_and_once(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(bench, "ITEMS", {})
    monkeypatch.setattr(bench, "OTHERS", {"data": lambda rounds: asked.append(("data", rounds)) or []})
    monkeypatch.setattr(bench, "LONG", {"cells": lambda rounds, cells: asked.append((rounds, cells)) or []})
    assert bench.main([]) == 0 and asked == [("data", 11)]
    assert bench.main(["cells", "--cells", "30"]) == bench.main(["cells", "--rounds", "2"]) == 0
    assert asked[1:] == [(1, 30), (2, 100)]
