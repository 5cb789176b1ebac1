"""What an evaluation costs is measured on what `statistics.collect` does, and the table shows it."""

import torch

from mtlbench.harness.bench import evaluation as bench_evaluation
from mtlbench.harness.bench import kernels as bench


def test_an_evaluation_costs_more_than_its_forward_pass(monkeypatch):
    scored = []
    collect = bench_evaluation.collect
    monkeypatch.setattr(bench_evaluation, "collect", lambda *a: scored.append(rows := collect(*a)) or rows)
    found = bench_evaluation.measure(torch.device("cpu"), 2, size=(32, 64), stored=(28, 56), batch=2, images=4)
    assert len(found) == 2 and len(scored) == 3  # one round is not counted
    assert {(row.task, row.number) for row in scored[0]} == {(t, n) for t in bench_evaluation.TASKS for n in range(4)}
    assert all(share.evaluation > max(0, share.scoring) for share in found)


def test_the_table_says_what_scoring_adds_and_whether_that_is_too_much(monkeypatch, capsys):
    for scoring, status in ((0.02, 0), (0.2, 1)):
        shares = [bench_evaluation.Shares(scoring, 0.3)] * 3
        monkeypatch.setattr(bench_evaluation, "measure", lambda *a, shares=shares, **k: shares)
        assert bench.main(["evaluation", "--rounds", "3"]) == status
        shown = capsys.readouterr().out
        assert f"{scoring:.1%}" in shown and "30.0%" in shown and ("missed" in shown) == bool(status)
