"""The data benchmark: at toy size, and with controls that must be noticed."""

import pytest
import torch

from mtlbench.harness.bench import kernels as bench
from mtlbench.harness.bench import loading as bench_data
from mtlbench.harness.bench.loading import Row


def test_rows_are_those_of_the_table_and_the_forms_agree():
    rows = bench_data.rows(1, images=2, stored=(212, 280), size=(224, 320))
    assert [row.name for row in rows] == ["data", "", "data_decoding", "data_cache"]
    assert rows[1].title == "A/A" and rows[1].reached
    for row in rows:
        assert float(row.median.rstrip("x")) > 0


def test_forms_that_show_different_things_are_not_timed(tmp_path, monkeypatch):
    ours = bench_data.our_fields

    def shifted(sample, drawn, size):
        fields = ours(sample, drawn, size)
        return fields | {"depth": fields["depth"] + 0.2}

    monkeypatch.setattr(bench_data, "our_fields", shifted)
    with pytest.raises(ValueError, match="0000: depth differs in"):
        bench_data.rows(1, images=1, stored=(85, 112), size=(96, 128))


def test_a_comparison_that_notices_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(bench_data, "_apart", lambda expected, found: None)
    with pytest.raises(ValueError, match="was not noticed"):
        bench_data.rows(1, images=1, stored=(85, 112), size=(96, 128))


def test_the_command_prints_the_rows_and_fails_where_a_goal_is_missed(monkeypatch, capsys):
    for reached, code in ((True, 0), (False, 1)):
        rows = [Row("data", "title", "2.00x", "1.00-3.00", "3x", reached)]
        monkeypatch.setattr(bench, "OTHERS", {"data": lambda rounds, rows=rows: rows})
        assert bench.main(["data"]) == code
        line = capsys.readouterr().out.splitlines()[1]
        assert line.split()[:2] == ["data", "title"] and ("missed" in line) == (not reached)
    assert torch.get_num_threads() == 1
