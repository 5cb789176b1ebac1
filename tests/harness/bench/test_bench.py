"""The cost benchmark: its forms agree at toy size, and what does not agree is never timed."""

from dataclasses import replace

import pytest
import torch

from mtlbench.harness.bench import kernels as bench
from mtlbench.harness.bench.kernels import ITEMS, Unequal, clock, verify


@pytest.mark.parametrize("name", ITEMS)
def test_both_forms_of_every_item_agree_and_the_controls_are_noticed(name):
    verify(ITEMS[name], ITEMS[name].make(True))


@pytest.mark.parametrize("name", ITEMS)
def test_a_form_that_is_off_by_a_hundredth_is_refused(name):
    item = ITEMS[name]
    inputs = item.make(True)
    with pytest.raises(Unequal, match="outputs differ by"):
        verify(replace(item, ours=lambda *given: item.ours(*given) * 1.01), inputs)


@pytest.mark.parametrize("name", [name for name, item in ITEMS.items() if item.backward])
def test_a_form_with_the_right_output_and_a_wrong_gradient_is_refused(name):
    item = ITEMS[name]

    def ours(*given):
        output = item.ours(*given)
        return output + 0.01 * (output - output.detach())

    with pytest.raises(Unequal, match="gradients of input 0 differ"):
        verify(replace(item, ours=ours), item.make(True))


def test_a_comparison_that_misses_a_control_is_refused(monkeypatch):
    monkeypatch.setattr(bench, "_difference", lambda expected, found: None)
    item = ITEMS["cross_attention"]
    with pytest.raises(Unequal, match="did not notice inputs that are off"):
        verify(item, item.make(True))


def test_a_ratio_is_the_reference_over_ours():
    slow, x = ITEMS["cross_attention"], torch.ones(64, 64)
    item = replace(
        slow, reference=lambda x: (x @ x @ x @ x @ x @ x @ x @ x @ x) * 0, ours=lambda x: x * 0, backward=False
    )
    times = clock(item, (x,), rounds=3)
    assert len(times.ratios) == len(times.same) == 3
    assert min(times.ratios) > 1.5
    assert sorted(times.ratios)[1] > sorted(times.same)[1]


def test_the_command_prints_ours_against_itself_and_fails_where_a_goal_is_missed(monkeypatch, capsys):
    item = ITEMS["confusion"]
    small = {
        "a": replace(item, make=lambda _: item.make(True), goal=0),
        "b": replace(item, make=lambda _: item.make(True), goal=1e9),
    }
    monkeypatch.setattr(bench, "ITEMS", small)
    monkeypatch.setattr(bench, "OTHERS", {})
    assert bench.main(["a", "--rounds", "1"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["item", "a", "A/A"]
    assert bench.main(["--rounds", "1"]) == 1
    assert "missed" in capsys.readouterr().out.splitlines()[3]


def test_an_unknown_item_is_named_with_those_that_exist(capsys):
    with pytest.raises(SystemExit) as caught:
        bench.main(["attention"])
    assert caught.value.code == 2
    assert "no item is called attention; there are cross_attention" in capsys.readouterr().err
