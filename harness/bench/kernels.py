"""Is the form that we compute cheaper than the obvious one, and equal to it?

Run it by `python -m mtlbench.harness.bench [NAME...]`.

Each item pairs a reference, written in the obvious way, with our form. First, outputs and gradients must be equal. The
comparison must notice two controls: inputs that are off by a hundredth in a hundredth of their places (labels by one
class), and a gradient that is off by a hundredth. Then both forms run by turns, A B B A, on one thread, and the ratio
of their process times is printed. The A/A row pairs our form with itself: a ratio within its range is a tie.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlbench.benchmarks.tasks.kinds import IGNORE
from mtlbench.benchmarks.tasks.miou import MeanIoU
from mtlbench.harness.bench import cells as bench_cells
from mtlbench.harness.bench import evaluation as bench_evaluation
from mtlbench.harness.bench import loading as bench_data
from mtlbench.harness.inspect.describe import align
from mtlbench.methods.parts.attention import cross_attention
from mtlbench.methods.parts.heads import HRHead, concatenate
from mtlbench.methods.parts.layers import size_of, upsample

Form = Callable[..., Tensor]


@dataclass(frozen=True)
class Item:
    """Two forms of one computation. `make(small)` draws the inputs of both; `small` ones are for tests."""

    title: str
    goal: float  # times ours should be as fast as the reference
    make: Callable[[bool], tuple[Tensor, ...]]
    reference: Form
    ours: Form
    backward: bool = True  # time and compare gradients too


class Unequal(AssertionError):
    """The two forms differ, or a control was not noticed: a time would mean nothing."""


class Times(NamedTuple):
    """Ratios of process time, reference over ours, one a round; `same` are those of ours over ours."""

    ratios: list[float]
    same: list[float]


# Eq. (2) at 1/8 of 384 x 512, as many channels as SCA-MTL has there.


def explicit_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The weights of Eq. (2) written out: query, key [B, D, L], value [B, C, L] -> [B, C, L], by way of [B, L, L]."""
    weights = query.mT @ key
    return ((weights / weights.sum(2, keepdim=True)) @ value.mT).mT


def attention_inputs(small: bool) -> tuple[Tensor, ...]:
    length = 24 if small else 3072
    query, key, value = (torch.randn(1, 32, length) for _ in range(3))
    return F.softplus(query), F.softplus(key), value


# A linear prediction from a pyramid, where no hidden layer stands between. (No head here is that; HRHead has one.)

CHANNELS, CLASSES = [18, 36, 72, 144], 40


def pyramid(small: bool) -> list[Tensor]:
    rows, columns = (16, 24) if small else (120, 160)
    maps = (torch.randn(1, c, rows >> k, columns >> k) for k, c in enumerate(CHANNELS))
    return [x.contiguous(memory_format=torch.channels_last) for x in maps]  # as training does


def prediction_inputs(small: bool) -> tuple[Tensor, ...]:
    return torch.randn(CLASSES, sum(CHANNELS), 1, 1), torch.randn(CLASSES), *pyramid(small)


def predict_after_upsampling(weight: Tensor, bias: Tensor, *maps: Tensor) -> Tensor:
    return F.conv2d(concatenate(maps), weight, bias)


def predict_before_upsampling(weight: Tensor, bias: Tensor, *maps: Tensor) -> Tensor:
    finest, *coarser = torch.split(weight, CHANNELS, dim=1)
    prediction = F.conv2d(maps[0], finest, bias)
    for source, part in zip(maps[1:], coarser, strict=True):
        prediction = prediction + upsample(F.conv2d(source, part), size_of(prediction))
    return prediction


# HRHead, as it runs on a CPU. Without the bias before its norm, which cancels there.


@functools.cache
def _head() -> HRHead:
    return HRHead(CHANNELS, CLASSES)


def _free(head: HRHead) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in head.named_parameters() if name != "fuse.mix.bias"}


def head_inputs(small: bool) -> tuple[Tensor, ...]:
    return (*pyramid(small), *_free(_head()).values())


def head_after_upsampling(*inputs: Tensor) -> Tensor:
    mix, scale, shift, weight, bias = inputs[len(CHANNELS) :]
    mixed = F.conv2d(concatenate(inputs[: len(CHANNELS)]), mix)
    return F.conv2d(F.relu(F.batch_norm(mixed, None, None, scale, shift, training=True)), weight, bias)


def head_as_it_is(*inputs: Tensor) -> Tensor:
    parameters = dict(zip(_free(_head()), inputs[len(CHANNELS) :], strict=True))
    prediction: Tensor = torch.func.functional_call(_head(), parameters, (inputs[: len(CHANNELS)],))
    return prediction


# The counts behind a mean IoU, of an image of NYUD-v2's size.


def segmentation_inputs(small: bool) -> tuple[Tensor, ...]:
    rows, columns = (13, 17) if small else (425, 560)
    predicted, label = torch.randint(CLASSES, (2, 1, rows, columns))
    label = label.to(torch.uint8)
    label[:, :, : columns // 10] = IGNORE
    return predicted, label


def counts_by_class(predicted: Tensor, label: Tensor) -> Tensor:
    """Masks of each class in turn: [1, 3 C], as MeanIoU counts them."""
    classes, labels = predicted.numpy(), label.numpy()
    valid = labels != IGNORE
    rows = []
    for of_class in range(CLASSES):
        is_label, is_predicted = labels == of_class, classes == of_class
        true = np.sum(is_label & is_predicted & valid)
        false = np.sum(is_predicted & ~is_label & valid)
        missed = np.sum(is_label & ~is_predicted & valid)
        rows.append([true, true + false, true + missed])
    return torch.from_numpy(np.array(rows, dtype=np.float64).T.reshape(1, -1))


ITEMS: dict[str, Item] = {
    "cross_attention": Item(
        "Eq. (2) summed over the source first, L = 3072, d = 32", 25, attention_inputs, explicit_attention,
        cross_attention,
    ),
    "prediction": Item(
        "40 channels predicted before upsampling, where linear", 1.8, prediction_inputs, predict_after_upsampling,
        predict_before_upsampling,
    ),
    "head": Item(
        "HRHead, its first layer before upsampling", 1.3, head_inputs, head_after_upsampling, head_as_it_is,
    ),
    "confusion": Item(
        "counts of 40 classes by one bincount", 8, segmentation_inputs, counts_by_class, MeanIoU(CLASSES).counts,
        backward=False,
    ),
}  # fmt: skip

# Measurements of something else than two forms of a tensor computation: rounds -> lines of the table.
OTHERS: dict[str, Callable[[int], list[bench_data.Row]]] = {
    "data": bench_data.rows,
    "evaluation": bench_evaluation.rows,
}
# These take minutes a round, so they run where they are named, and once unless --rounds says more: rounds, cells.
LONG: dict[str, Callable[[int, int], list[bench_data.Row]]] = {"cells": bench_cells.rows}


def verify(item: Item, inputs: tuple[Tensor, ...]) -> None:
    """Raise Unequal unless both forms agree in outputs and gradients, and the comparison notices the controls."""
    expected = _evaluate(item.reference, inputs, item.backward)
    difference = _difference(expected, _evaluate(item.ours, inputs, item.backward))
    if difference is not None:
        raise Unequal(f"{item.title}: {difference}")
    for control, form in _controls(item).items():
        if _difference(expected, _evaluate(form, inputs, item.backward)) is None:
            raise Unequal(f"{item.title}: the comparison did not notice {control}")


def _controls(item: Item) -> dict[str, Form]:
    """Our form with a mistake in it."""

    def inputs_off(*inputs: Tensor) -> Tensor:
        return item.ours(*map(_moved, inputs))

    def gradient_off(first: Tensor, *others: Tensor) -> Tensor:
        return item.ours(first + 0.01 * (first - first.detach()), *others)

    gradient = {"a gradient that is off by a hundredth": gradient_off}
    return {"inputs that are off by a hundredth in a hundredth of their places": inputs_off} | (
        gradient if item.backward else {}
    )


def _moved(x: Tensor) -> Tensor:
    here = (torch.arange(x.numel()) < max(1, x.numel() // 100)).view(x.shape)
    return torch.where(here, x * 1.01 if x.is_floating_point() else (x + 1) % CLASSES, x)


def _evaluate(form: Form, inputs: tuple[Tensor, ...], backward: bool) -> list[Tensor]:
    """The output and, with `backward`, the gradients of a fixed weighting of it by all inputs."""
    inputs = tuple(x.detach().requires_grad_(backward) for x in inputs)
    output = form(*inputs)
    if not backward:
        return [output]
    weighting = torch.linspace(0.5, 1.5, output.numel()).view(output.shape)
    return [output.detach(), *torch.autograd.grad(output, inputs, weighting)]


def _difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> str | None:
    """Where they differ by more than rounding, 1e-4 of the largest value, or None."""
    for index, (one, other) in enumerate(zip(expected, found, strict=True)):
        apart, scale = float((one - other).abs().max()), float(one.abs().max())
        if apart > 1e-4 * scale:
            what = "outputs" if index == 0 else f"gradients of input {index - 1}"
            return f"{what} differ by {apart:.3g} where the largest is {scale:.3g}"
    return None


def clock(item: Item, inputs: tuple[Tensor, ...], rounds: int) -> Times:
    """Rounds of A B B A, reference and ours, and of ours alone."""
    ratios, same = [], []
    for form in (item.reference, item.ours):
        _seconds(form, inputs, item.backward)  # not timed, because it allocates memory
    for _ in range(rounds):
        ratios.append(_round(item.reference, item.ours, inputs, item.backward))
        same.append(_round(item.ours, item.ours, inputs, item.backward))
    return Times(ratios, same)


def _round(a: Form, b: Form, inputs: tuple[Tensor, ...], backward: bool) -> float:
    a1, b1, b2, a2 = (_seconds(form, inputs, backward) for form in (a, b, b, a))
    return (a1 + a2) / (b1 + b2)


def _seconds(form: Form, inputs: tuple[Tensor, ...], backward: bool) -> float:
    """Process time of a call, repeated until it lasts long enough to be read."""
    calls, started = 0, time.process_time()
    while (passed := time.process_time() - started) < 0.02:
        _evaluate(form, inputs, backward)
        calls += 1
    return passed / calls


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; 1 where a goal is missed."""
    known = [*ITEMS, *OTHERS, *LONG]
    parser = argparse.ArgumentParser(
        prog="python -m mtlbench.harness.bench", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all but {', '.join(LONG)}"
    )
    parser.add_argument("--rounds", type=int, help="default: 11, and 1 of cells")
    parser.add_argument("--cells", type=int, default=100, metavar="N", help="of a run of cells; default: 100")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"no item is called {', '.join(unknown)}; there are {', '.join(known)}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lines = [["item", "what", "median", "range", "goal", ""]]
    missed = 0
    for name in chosen.names or [*ITEMS, *OTHERS]:
        rounds = chosen.rounds or (1 if name in LONG else 11)
        if name in OTHERS or name in LONG:
            for row in OTHERS[name](rounds) if name in OTHERS else LONG[name](rounds, chosen.cells):
                lines.append([row.name, row.title, row.median, row.range, row.goal, "" if row.reached else "missed"])
                missed += not row.reached
            continue
        item = ITEMS[name]
        inputs = item.make(False)
        verify(item, inputs)
        times = clock(item, inputs, rounds)
        reached = statistics.median(times.ratios) >= item.goal
        missed += not reached
        lines.append([name, item.title, *_figures(times.ratios), f"{item.goal:g}x", "" if reached else "missed"])
        lines.append(["", "A/A", *_figures(times.same), "", ""])
    print(align(lines, left=2))
    return 1 if missed else 0


def _figures(ratios: list[float]) -> list[str]:
    return [f"{statistics.median(ratios):.2f}x", f"{min(ratios):.2f}-{max(ratios):.2f}"]
