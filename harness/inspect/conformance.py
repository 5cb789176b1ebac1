"""What every method must satisfy, ours and anybody's: run by the tests over METHODS and by `mtlbench check`.

A rule is a function that raises Broken with what it found; its docstring is its name. No rule is an `assert`: the
verdicts are the same under `python -O`. REMEDIES has what to do where a rule itself does not say it, and NEEDS which
rules cannot be checked after another is broken.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from mtlbench import methods
from mtlbench.harness.inspect.remedies import (
    Broken,
    MapsRead,
    Verdict,
    common_parts,
    for_outputs,
    said_of,
    without_gradient,
)
from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.training import optimizers
from mtlbench.harness.training.cost import network_cost
from mtlbench.methods.method import Method, Outputs, Target, check_outputs

ROWS, COLUMNS = 64, 96  # not square, so that a swap of the two shows

# One task of each kind, as on the benchmarks. What a method may know of them is their numbers.
TARGETS = {
    "semseg": Target(channels=5, classes=5),
    "depth": Target(channels=1, classes=40),
    "normals": Target(channels=3, classes=40),
}

Subject = TypeVar("Subject")  # what a rule is about: the name of a method, a copy of a benchmark


def check_method(name: str) -> Iterator[Verdict]:
    """A verdict for every rule, as it is found. Raises ValueError where there is no such method."""
    methods.resolve(name)
    return verdicts(RULES, name, REMEDIES, NEEDS)


def verdicts(
    rules: Sequence[Callable[[Subject], None]],
    subject: Subject,
    remedies: Mapping[str, str],
    needs: Mapping[str, Sequence[str]],
) -> Iterator[Verdict]:
    """A verdict for every rule; the first line of a rule's docstring is its title.

    remedies: rule -> what to do where it is broken and does not say it; needs: rule -> rules that must hold before it
    is tried. A rule that fails with the words of an earlier one was not checked either.
    """
    broken: dict[str, str] = {}  # rule -> what its error says
    for rule in rules:
        title, name = (rule.__doc__ or rule.__name__).strip().splitlines()[0], rule.__name__
        if any(earlier in broken for earlier in needs.get(name, ())):
            yield Verdict(title, checked=False)
            continue
        try:
            rule(subject)
            yield Verdict(title)
            continue
        except Broken as error:
            words, problem, remedy = str(error), str(error), error.remedy
        except Exception as error:  # a rule runs the subject's own code, which may fail in any way
            words, problem, remedy = str(error), said_of(error), ""
        again = words in broken.values()
        broken[name] = words
        yield Verdict(title, checked=False) if again else Verdict(title, problem, remedy or remedies[name])


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
        raise Broken(f"{', '.join(places[2:])} can be given by place", "put a `*,` before: options are keyword-only")
    rest = [p.name for p in parameters if p.kind is p.VAR_KEYWORD and not methods.options_of(method)]
    if rest and name not in methods.METHODS:
        raise Broken(f"**{rest[0]} names no option", "write each option as an argument after `*`, with a default")
    try:
        methods.check_options(name, {})
    except ValueError as error:
        raise Broken(str(error), "give each option a type and a default, as in `*, width: int = 64`") from error


def built(name: str) -> None:
    """a network is built for one task and for several, with the defaults of all options"""
    for tasks in task_sets(name):
        build(name, tasks)


def shapes(name: str) -> None:
    """final has every task at the image's size; auxiliary maps and label logits have their task's channels"""
    for tasks in task_sets(name):
        method, targets, images = build(name, tasks), {task: TARGETS[task] for task in tasks}, image()
        for mode in (True, False):
            outputs = method.train(mode).forward(images)  # called, the network would raise without a remedy
            try:
                check_outputs(outputs, targets, images, name)
            except ValueError as error:
                raise Broken(str(error), for_outputs(outputs, targets, (ROWS, COLUMNS))) from error


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
    """a training step gives every parameter that is not frozen a finite gradient"""
    for tasks in task_sets(name):
        method = build(name, tasks).train()
        with MapsRead(method) as read:
            objective = everything(method(image()))
        if not objective.requires_grad:
            raise Broken("no prediction depends on a parameter that is trained")
        torch.autograd.backward(objective)
        trained = {key: parameter for key, parameter in method.named_parameters() if parameter.requires_grad}
        if without := [key for key, parameter in trained.items() if parameter.grad is None]:
            raise without_gradient(method, without, read)
        if wild := [k for k, p in trained.items() if p.grad is not None and not p.grad.isfinite().all()]:
            raise Broken(
                f"the gradient is not finite for {', '.join(common_parts(wild, [*trained])[:4])}",
                "look in forward for a division by 0, or a square root or a logarithm at 0; add a small number there",
            )


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
            raise Broken("a parameter is in two groups", "let each part of the network stand in one group alone")
        if trainable - set(grouped):
            left = [key for key, p in method.named_parameters() if p.requires_grad and id(p) not in set(grouped)]
            parts = ", ".join(common_parts(left, [key for key, _ in method.named_parameters()])[:4])
            raise Broken(
                f"{len(left)} trainable parameters are in no group ({parts}) and would stay as they are",
                "add them to a group, or freeze them in the constructor: `parameter.requires_grad_(False)`",
            )
        if set(grouped) - trainable:
            raise Broken(
                f"{len(set(grouped) - trainable)} parameters of the groups are frozen, or not the method's own",
                "collect the groups from `self.parameters()`, and of these take only those with `requires_grad`",
            )
        if not {id(parameter) for parameter in method.shared_parameters()} <= {id(p) for p in method.parameters()}:
            raise Broken(
                "shared_parameters has a parameter that is not the method's own",
                "return parameters of modules that the constructor puts on `self`",
            )
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
            raise Broken(
                f"{path} has no tensor of the backbone that it was given",
                "keep it there as it is, with `self.backbone = backbone`, or a copy of it for each task",
            )
        for key, value in state.items():
            if key in reference and not torch.equal(value, reference[key]):
                raise Broken(f"{path}.{key} differs from the one that other methods start from")


def no_host_reads(name: str) -> None:
    """a forward pass reads no value on the host, so that a GPU need not wait and costs can be counted"""
    for tasks in task_sets(name):
        network_cost(build(name, tasks), (ROWS, COLUMNS))


RULES: tuple[Callable[[str], None], ...] = (
    options, built, shapes, order, gradients, parameter_groups, repeatable, independent, saving, backbone_first,
    no_host_reads,
)  # fmt: skip

NEEDS: dict[str, Sequence[str]] = {
    **{rule.__name__: ("built",) for rule in (shapes, parameter_groups, backbone_first)},
    **{
        rule.__name__: ("built", "shapes")
        for rule in (order, gradients, repeatable, independent, saving, no_host_reads)
    },
}

AT_RANDOM = "draw nothing at random in evaluation (ask `self.training`)"
REMEDIES: dict[str, str] = {
    "options": "begin the constructor with `def __init__(self, backbone, targets, *, width: int = 64)`",
    "built": "let the constructor work with whatever tasks `targets` names; where one task makes no sense, say so: "
    "`task_counts = (2, None)`",
    "shapes": "let forward take images [B, 3, H, W] of any size that is a multiple of 32, and any number of tasks",
    "order": f"combine the tasks in an order of their own, as `sorted(targets)`, and {AT_RANDOM}",
    "gradients": "do not call forward, or a part of it, under `no_grad`, and detach no prediction",
    "parameter_groups": "leave parameter_groups out, or correct what it names",
    "repeatable": f"draw first values with functions of torch in the constructor alone, and {AT_RANDOM}",
    "independent": "take no mean, maximum or norm over the images of a batch in evaluation; a batch norm does not",
    "saving": "put what forward uses into parameters or `self.register_buffer`, so that it is in the state_dict",
    "backbone_first": "change no weight of the backbone: all rows of a table must start from the same ones",
    "no_host_reads": "write it with operations on tensors, without `.item()`, `float(x)`, `.numpy()` and "
    "`if tensor:`; `torch.where` chooses between values",
}
