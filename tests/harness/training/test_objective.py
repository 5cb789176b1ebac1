"""The objective is a sum over predictions of global means, whatever the process that computes a part of it."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from mtlbench.benchmarks.tasks import factories
from mtlbench.harness.training.objective import Term, task_losses, terms, weighted_sum
from mtlbench.methods.method import Outputs

TASKS = {"semseg": factories.semseg(4), "depth": factories.depth(0.7, 10.0)}


def batch(images=4, rows=32, columns=64):
    label = torch.randint(0, 4, (images, rows, columns), dtype=torch.uint8)
    label[torch.rand(label.shape) < torch.linspace(0, 1, images).view(-1, 1, 1)] = 255  # the last is all void
    depth = torch.rand(images, 1, rows, columns) + 1
    depth[torch.rand(depth.shape) < 0.3] = 0
    return {"semseg": label, "depth": depth}


def outputs(images=4, rows=32, columns=64):
    final = {"semseg": torch.randn(images, 4, rows, columns), "depth": torch.rand(images, 1, rows, columns)}
    coarse = {name: functional.avg_pool2d(maps, 4) for name, maps in final.items()}
    return Outputs(final, [coarse], {"depth": torch.randn(images, 40, rows // 4, columns // 4)})


def objective(*arguments):
    return task_losses(terms(*arguments))


def test_each_prediction_adds_its_mean_over_valid_labels():
    labels, out = batch(), outputs()
    losses = objective(out, labels, TASKS)
    up = functional.interpolate(out.auxiliary[0]["semseg"], size=(32, 64), mode="bilinear")
    expected = sum(
        functional.cross_entropy(maps, labels["semseg"].long(), ignore_index=255) for maps in (out.final["semseg"], up)
    )
    torch.testing.assert_close(losses["semseg"], expected)


def test_shares_of_processes_with_unequal_labels_add_up_to_the_loss_of_one():
    labels, out = batch(), outputs()
    whole = objective(out, labels, TASKS)

    def part(rows):
        return (
            Outputs(
                {k: v[rows] for k, v in out.final.items()},
                [{k: v[rows] for k, v in maps.items()} for maps in out.auxiliary],
                {k: v[rows] for k, v in out.label_logits.items()},
            ),
            {k: v[rows] for k, v in labels.items()},
        )

    parts = [part(slice(0, 1)), part(slice(1, 4))]
    counts = []
    for outs, labs in parts:
        objective(outs, labs, TASKS, lambda c: counts.append(c) or c)
    total = counts[0] + counts[1]
    shares = [objective(outs, labs, TASKS, lambda c: total) for outs, labs in parts]
    for name in TASKS:
        torch.testing.assert_close(shares[0][name] + shares[1][name], whole[name])


def test_a_batch_without_a_valid_label_adds_zero_and_no_gradient():
    labels = {"semseg": torch.full((2, 32, 64), 255, dtype=torch.uint8), "depth": torch.zeros(2, 1, 32, 64)}
    out = outputs(2)
    out.final["depth"].requires_grad_()
    found = terms(out, labels, TASKS)
    assert len(found) == 5 and all(term.loss == 0 for term in found)
    weighted_sum(found, TASKS).backward()
    assert out.final["depth"].grad.abs().max() == 0


def test_the_weighted_sum_uses_each_tasks_weight():
    found = [
        Term("semseg", "final", torch.tensor(2.0)),
        Term("depth", "final", torch.tensor(1.0)),
        Term("depth", "auxiliary 0", torch.tensor(0.5)),
        Term("depth", "label", torch.tensor(1.5)),
    ]
    tasks = {"semseg": factories.semseg(4, weight=0.5), "depth": factories.depth(0.7, 10.0, weight=4.0)}
    assert weighted_sum(found, tasks) == pytest.approx(0.5 * 2 + 4 * 3)
    tasks["depth"] = replace(tasks["depth"], label_weight=0.0)
    assert weighted_sum(found, tasks) == pytest.approx(0.5 * 2 + 4 * 1.5)
    assert task_losses(found) == {"semseg": 2.0, "depth": 3.0}


def test_terms_are_named_by_their_output_and_keep_the_precision_of_the_network():
    found = terms(outputs(), batch(), TASKS)
    assert [term[:2] for term in found] == [
        ("semseg", "final"),
        ("semseg", "auxiliary 0"),
        ("depth", "final"),
        ("depth", "auxiliary 0"),
        ("depth", "label"),
    ]

    out = outputs()
    precise = Outputs(
        *(
            {k: v.double() for k, v in maps.items()}
            if isinstance(maps, dict)
            else [{k: v.double() for k, v in each.items()} for each in maps]
            for maps in (out.final, out.auxiliary, out.label_logits)
        )
    )
    labels = batch()
    labels["depth"] = labels["depth"].double()
    assert all(term.loss.dtype == torch.float64 for term in terms(precise, labels, TASKS))
    halved = functional.interpolate(precise.auxiliary[0]["depth"], size=(32, 64), mode="bilinear")
    valid = labels["depth"] > 0
    expected = (halved - labels["depth"]).abs()[valid].mean()
    assert terms(precise, labels, TASKS)[3].loss == pytest.approx(expected.item(), rel=1e-14)
