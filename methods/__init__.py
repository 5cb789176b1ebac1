"""Who competes: METHODS names them, `build` makes one.

A method is one file and one line here. ``package.module:Name`` plugs in a Method from outside.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
import typing
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import torch

from mtlbench.methods.atrc import ATRC
from mtlbench.methods.backbone import Backbone
from mtlbench.methods.baseline import MultiTask, SingleTask
from mtlbench.methods.method import Method, Outputs, Target, check_outputs
from mtlbench.methods.mti_net import MTINet
from mtlbench.methods.pad_net import PADNet
from mtlbench.methods.parts.order import in_order
from mtlbench.methods.sca_mtl import SCAMTL

__all__ = ["METHODS", "Method", "Outputs", "Target", "build", "check_options", "options_of", "resolve"]

METHODS: dict[str, type[Method]] = {
    "single_task": SingleTask,
    "multi_task": MultiTask,
    "pad_net": PADNet,
    "mti_net": MTINet,
    "atrc": ATRC,
    "sca_mtl": SCAMTL,
}


def build(
    name: str,
    targets: Mapping[str, Target],
    backbone: str = "hrnet_w18_small_v2",
    pretrained: bool = False,
    weights: str | None = None,
    bn_momentum: float = 0.01,
    seed: int = 0,
    **options: Any,
) -> Method:
    """The one way to make a network: method `name` for `targets` (task -> Target, in any order), on the CPU.

    backbone, pretrained, weights, bn_momentum: see Backbone. options: keyword arguments of the method. Random initial
    values depend on `seed` alone, and those of the backbone on nothing else: they are bit-equal across methods and task
    sets. The global random state is left as it was. The network raises ValueError from a forward pass whose outputs do
    not fit the targets and the images.

    Raises ValueError for an unknown method, option, option's value or backbone, listing the choices.
    """
    method = resolve(name)
    check_options(name, options)
    if not targets:
        raise ValueError(f"{name}: no tasks; a network needs at least one")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2 * seed)
        encoder = Backbone(backbone, pretrained=pretrained, weights=weights, bn_momentum=bn_momentum)
        torch.default_generator.manual_seed(2 * seed + 1)
        network = method(encoder, in_order(targets), **options)
    network.register_forward_hook(partial(_keeps_the_contract, name, dict(targets)))
    return network


def _keeps_the_contract(name: str, targets: Mapping[str, Target], network: Method, args: Any, outputs: Any) -> None:
    check_outputs(outputs, targets, args[0], name)


def resolve(name: str) -> type[Method]:
    """The class of a method: a key of METHODS, or "package.module:Name" from outside."""
    if name in METHODS:
        return METHODS[name]
    module, _, attribute = name.partition(":")
    if not (all(part.isidentifier() for part in module.split(".")) and attribute.isidentifier()):
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}; or package.module:Name of your own")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # it is anybody's code that runs
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        where = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""  # the first is this file
        raise ValueError(f"method {name!r} cannot be imported: {type(error).__name__}: {error}{where}") from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ValueError(f"method {name!r} is not a subclass of methods.Method but {found!r}")
    return found


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError where `options` do not fit the signature of method `name`, in name, type, or by being left out.

    It says all that is wrong.
    """
    method = resolve(name)
    hints = options_of(method)
    problems = []
    for option, value in options.items():
        if option not in hints:
            problems.append(f"{name} has no option {option!r}; it has: {', '.join(hints) or 'none'}")
            if name not in METHODS:
                problems[-1] += " (an option is a keyword-only argument of the constructor, after `*`)"
        elif not _fits(value, hints[option]):
            problems.append(f"{name}: option {option} is {value!r}; it takes {_describe(hints[option])}")
    for parameter in inspect.signature(method).parameters.values():
        if parameter.name in hints and parameter.default is parameter.empty and parameter.name not in options:
            kind = _describe(hints[parameter.name])
            problems.append(f"{name}: option {parameter.name} ({kind}) is not given and has no default")
    if problems:
        raise ValueError("; ".join(problems))


def options_of(method: type[Method]) -> dict[str, Any]:
    """The options of a method with their types: the keyword-only arguments of its constructor.

    Raises ValueError where a type cannot be read.
    """
    parameters = inspect.signature(method).parameters.values()
    annotations = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    # Resolved for the options alone: a method may import the types of its other arguments for type checkers only.
    namespace = SimpleNamespace(__annotations__=annotations)
    constructor: Any = method.__init__  # which a subclass in another module may inherit
    try:
        return typing.get_type_hints(namespace, globalns=getattr(constructor, "__globals__", {}))
    except Exception as error:  # an annotation of anybody's is evaluated
        raise ValueError(
            f"{method.__name__}: the type of an option cannot be read ({error}); import it there"
        ) from error


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint in (bool, int, str):
        return type(value) is hint
    return True  # richer types are checked by the method, when it is built


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    return str(getattr(hint, "__name__", hint))
