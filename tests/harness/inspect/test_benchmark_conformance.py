"""Each rule of `mtlbench check` for benchmarks is broken by a benchmark, which is told how."""

import itertools
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from additions import HEIGHT, Gap, Squares
from command import main
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.harness.data.copy import Copy
from mtlbench.harness.inspect import benchmark_conformance as conformance


class NoTest(Squares):
    splits: ClassVar = {"train": 4}


class Empty(Squares):
    def open(self, root, split, tasks):
        return []


class LabelsUnasked(Squares):
    def open(self, root, split, tasks):
        return super().open(root, split, ["height"])


class OneName(Squares):
    def open(self, root, split, tasks):
        return [sample._replace(id="same") for sample in super().open(root, split, tasks)]


class Floats(Squares):
    def open(self, root, split, tasks):
        return [sample._replace(image=sample.image / 255) for sample in super().open(root, split, tasks)]


class Flat(Squares):
    def open(self, root, split, tasks):
        found = super().open(root, split, tasks)
        return [sample._replace(labels={t: label[0] for t, label in sample.labels.items()}) for sample in found]


class Restless(Squares):
    count: ClassVar = itertools.count()

    def fingerprint(self, root):
        return str(next(self.count))


class Unsent(Squares):
    def open(self, root, split, tasks):
        class Local(list):
            """No other process can import it."""

        return Local(super().open(root, split, tasks))


def with_task(**changes):
    class Changed(Squares):
        tasks: ClassVar = {"height": replace(HEIGHT, **changes)}

    return Changed


def mean(prediction, label):
    valid = label > 0
    return torch.where(valid, (prediction - label).abs(), 0).sum() / valid.sum(), valid.sum().float()


def per_image(prediction, label):
    return (prediction - label).abs().sum((1, 2, 3)), (label > 0).sum()


class Single(Gap):
    def statistics(self, prediction, label):
        return super().statistics(prediction, label).float()


class Mixed(Gap):
    def statistics(self, prediction, label):
        return super().statistics(prediction - prediction.mean(), label)


class Misnamed(Gap):
    def scores(self, total):
        return {"distance": total[0]}


BROKEN = [  # a rule, a benchmark that breaks it, and what is said
    ("attributes", NoTest, "splits is {'train': 4}"),
    ("splits", Empty, "train has 0 images with all tasks, and 0 without any"),
    ("splits", LabelsUnasked, "'train-0' has labels of height, which were not asked for"),
    ("splits", OneName, "train: two images are called 'same'"),
    ("samples", Floats, r"the image of 'train-0' is torch.float32 [3, 32, 64], not torch.uint8 [3, 32, 64]"),
    ("samples", Flat, "height of 'train-0' is torch.float32 [32, 64], not torch.float32 [1, 32, 64]"),
    ("fingerprint", Restless, "it is '0' first, and '1' then"),
    ("processes", Unsent, "Local"),
    ("losses", with_task(loss=mean), "loss of height gives the sum nan and the count 0 without a valid pixel"),
    ("losses", with_task(label_loss=per_image), "label_loss of height gives [2] and []; both must be scalars"),
    ("metrics", with_task(metric=Single()), "the statistics of height are torch.float32 [2, 2], not torch.float64"),
    ("metrics", with_task(metric=Mixed()), "the statistics of height depend on the other images of the batch"),
    ("metrics", with_task(metric=Misnamed()), "height has the scores distance; score_types names gap"),
]


def test_every_rule_is_broken_by_a_benchmark():
    assert [rule.__name__ for rule in conformance.RULES] == list(dict.fromkeys(rule for rule, _, _ in BROKEN))


@pytest.mark.parametrize(("rule", "benchmark", "message"), BROKEN)
def test_a_benchmark_that_breaks_a_rule_is_told_how(rule, benchmark, message, tmp_path):
    results = {found.rule: found for found in conformance.check_benchmark(Copy(benchmark(), tmp_path))}
    found = results[getattr(conformance, rule).__doc__]
    assert message in (found.problem or ""), results
    assert found.remedy and conformance.REMEDIES.keys() == {each.__name__ for each in conformance.RULES}


@pytest.mark.parametrize("made", [Squares(), BENCHMARKS["rooms"](size=(32, 64), train=2, val=2, test=2)])
def test_a_whole_benchmark_keeps_every_rule(made, tmp_path):
    torch.manual_seed(5)
    results = list(conformance.check_benchmark(Copy(made, tmp_path)))
    assert [found.problem for found in results] == [None] * len(conformance.RULES)
    assert all(found.checked for found in results)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == after, "the global random state has moved"


def test_the_command_checks_a_benchmark(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path))
    assert main(["check", "additions:Squares"]) == 0
    assert capsys.readouterr().out.count("ok  ") == len(conformance.RULES)
    assert main(["check", "test_benchmark_conformance:Floats"]) == 1
    assert "FAIL         a sample is an image uint8 [3, H, W]" in capsys.readouterr().out
    assert main(["check", "nyud"]) == 2
    assert "benchmark nyud reads data from disk: give --data PATH" in capsys.readouterr().err
    assert main(["check", "plugin:Fine", "--data", str(tmp_path)]) == 2
    assert "--data and --set are for benchmarks, and plugin:Fine is none" in capsys.readouterr().err
    assert main(["check", "nothing"]) == 2
    assert "unknown method or benchmark 'nothing'; known: single_task, " in capsys.readouterr().err
