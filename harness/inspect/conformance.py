"""What every method must satisfy, ours and anybody's: run by the tests over METHODS and by `mtlbench check`.

A rule is a function that raises Broken with what it found; its docstring is its name. No rule is an `assert`: the
verdicts are the same under `python -O`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from mtlbench import methods
from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.training import optimizers
from mtlbench.harness.training.cost import network_cost
from mtlbench.methods.method import Method, Outputs, Target

ROWS, COLUMNS = 64, 96  # not square, so that a swap of the two shows

# One task of each kind, as on the benchmarks. What a method may know of them is their numbers.
TARGETS = {
    "semseg": Target(channels=5, classes=5),
    "depth": Target(channels=1, classes=40),
    "normals": Target(channels=3, classes=40),
}

Subject = TypeVar("Subject")  # what a rule is about: the name of a method, a copy of a benchmark


class Broken(Exception):
    """A rule is broken; the message says how."""


def check_method(name: str) -> Iterator[tuple[str, str | None]]:
    """(rule, None or what is wrong) for every rule, as it is found. Raises ValueError where there is no such method."""
    methods.resolve(name)
    return verdicts(RULES, name)


def verdicts(rules: Sequence[Callable[[Subject], None]], subject: Subject) -> Iterator[tuple[str, str | None]]:
    """(the first line of a rule's docstring, None or what is wrong with the subject) for every rule."""
    for rule in rules:
        title = (rule.__doc__ or rule.__name__).strip().splitlines()[0]
        try:
            rule(subject)
            found = None
        except Broken as broken:
            found = str(broken)
        except Exception as error:  # a rule runs the subject's own code, which may fail in any way
            found = f"{type(error).__name__}: {error}"
        yield title, found


def task_sets(name: str) -> list[list[str]]:
    """One task alone, and several where the method takes them."""
    single = [[task] for task in TARGETS]
    return [tasks for tasks in (*single, ["semseg", "depth"], list(TARGETS)) if methods.resolve(name).takes(len(tasks))]


def build(name: str, tasks: list[str], seed: int = 0) -> Method:
    return methods.build(name, {task: TARGETS[task] for task in tasks}, seed=seed)


def image(batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, ROWS, COLUMNS, generator=generator)


def options(name: str) -> None:
    """the constructor takes (backbone, targets, *, options), and every option has a default"""
    method = methods.resolve(name)
    parameters = list(inspect.signature(method).parameters.values())
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(places) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise Broken(f"it takes {', '.join(places) or 'nothing'}, and not a backbone and targets")
    if len(places) > 2:
        raise Broken(f"{', '.join(places[2:])} can be given by place; put a `*,` before: options are keyword-only")
    rest = [p.name for p in parameters if p.kind is p.VAR_KEYWORD and not methods.options_of(method)]
    if rest and name not in methods.METHODS:
        raise Broken(f"**{rest[0]} names no option; write each as an argument after `*`")
    methods.check_options(name, {})


def shapes(name: str) -> None:
    """final has every task at the image's size; auxiliary maps and label logits have their task's channels"""
    for tasks in task_sets(name):
        method = build(name, tasks)
        for mode in (True, False):
            method.train(mode)(image())  # a network that was built checks its outputs itself


def order(name: str) -> None:
    """the order in which tasks are given changes nothing"""
    for tasks in task_sets(name):
        there, back = build(name, tasks).eval(), build(name, tasks[::-1]).eval()
        with torch.no_grad():
            one, other = there(image()), back(image())
        for task in tasks:
            if not torch.equal(one.final[task], other.final[task]):
                raise Broken(f"{task} differs when {', '.join(tasks)} is reversed")


def gradients(name: str) -> None:
    """a training step gives every parameter a finite gradient"""
    for tasks in task_sets(name):
        method = build(name, tasks).train()
        torch.autograd.backward(everything(method(image())))
        without = [key for key, parameter in method.named_parameters() if parameter.grad is None]
        if without:
            raise Broken(f"no gradient for {_some(without)}")
        wild = [k for k, p in method.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        if wild:
            raise Broken(f"the gradient is not finite for {_some(wild)}")


def _some(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def everything(outputs: Outputs) -> Tensor:
    """A stand-in objective that looks at every output."""
    maps = [*outputs.final.values(), *outputs.label_logits.values()]
    maps += [prediction for level in outputs.auxiliary for prediction in level.values()]
    total = torch.stack([prediction.float().square().mean() for prediction in maps]).sum()
    return total if outputs.penalty is None else total + outputs.penalty


def parameter_groups(name: str) -> None:
    """parameter_groups holds every trainable parameter once, shared_parameters some of them"""
    for tasks in task_sets(name):
        method = build(name, tasks)
        grouped = [id(parameter) for group in method.parameter_groups() for parameter in group["params"]]
        trainable = {id(parameter) for parameter in method.parameters() if parameter.requires_grad}
        if len(grouped) > len(set(grouped)):
            raise Broken("a parameter is in two groups")
        if trainable - set(grouped):
            raise Broken(f"{len(trainable - set(grouped))} trainable parameters are in no group")
        if set(grouped) - trainable:
            raise Broken(
                f"{len(set(grouped) - trainable)} parameters of the groups are frozen, or not the method's own"
            )
        if not {id(parameter) for parameter in method.shared_parameters()} <= trainable:
            raise Broken("shared_parameters has a parameter that is frozen, or not the method's own")
        optimizers.make(method, TrainConfig(epochs=1))  # raises for an unknown optimiser or schedule of a group


def repeatable(name: str) -> None:
    """equal seeds give equal networks, and evaluation gives equal predictions twice"""
    tasks = task_sets(name)[-1]
    one, other = build(name, tasks, seed=3).eval(), build(name, tasks, seed=3).eval()
    for (key, value), again in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if not torch.equal(value, again):
            raise Broken(f"{key} differs between two networks of one seed")
    with torch.no_grad():
        first, second = one(image()).final, one(image()).final
    for task in tasks:
        if not torch.equal(first[task], second[task]):
            raise Broken(f"{task} differs between two evaluations")


def independent(name: str) -> None:
    """in evaluation an image's prediction does not depend on the rest of the batch"""
    tasks = task_sets(name)[-1]
    method = build(name, tasks).eval()
    with torch.no_grad():
        together, alone = method(image()).final, method(image()[:1]).final
    for task in tasks:
        difference = (together[task][:1] - alone[task]).abs().max() / alone[task].std().clamp(min=1e-6)
        if not difference < 1e-4:  # a NaN too
            raise Broken(f"{task} differs by {difference:.1e} of its standard deviation")


def saving(name: str) -> None:
    """weights survive a state_dict into a network of another seed"""
    tasks = task_sets(name)[-1]
    one, other = build(name, tasks, seed=0).eval(), build(name, tasks, seed=1).eval()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        expected, found = one(image()).final, other(image()).final
    for task in tasks:
        if not torch.equal(expected[task], found[task]):
            raise Broken(f"{task} differs after loading")


def backbone_first(name: str) -> None:
    """the backbone, or each task's copy of it, starts from the bits that every method's starts from"""
    reference = methods.build("multi_task", {"depth": TARGETS["depth"]}, seed=5).backbone.state_dict()
    backbone = build(name, task_sets(name)[-1], seed=5).backbone
    copies = (
        {f"backbone.{task}": copy for task, copy in backbone.items()} if isinstance(backbone, nn.ModuleDict) else {}
    )
    for path, encoder in (copies or {"backbone": backbone}).items():
        state = encoder.state_dict()
        if not state.keys() & reference.keys():
            raise Broken(f"{path} has no tensor of the backbone that it was given; keep the backbone there as it is")
        for key, value in state.items():
            if key in reference and not torch.equal(value, reference[key]):
                raise Broken(f"{path}.{key} differs from the one that other methods start from")


def no_host_reads(name: str) -> None:
    """a forward pass reads no value on the host, so that a GPU need not wait and costs can be counted"""
    for tasks in task_sets(name):
        network_cost(build(name, tasks), (ROWS, COLUMNS))


RULES: tuple[Callable[[str], None], ...] = (
    options, shapes, order, gradients, parameter_groups, repeatable, independent, saving, backbone_first, no_host_reads,
)  # fmt: skip
