"""The methods that compete: METHODS names them, and `build` makes the network of one.

A method takes one file and one line here. The name ``package.module:Name`` plugs in a Method from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from mtlbench.methods import outside
from mtlbench.methods.atrc import ATRC
from mtlbench.methods.backbone import Backbone
from mtlbench.methods.baseline import MultiTask, SingleTask
from mtlbench.methods.cross_stitch import CrossStitch
from mtlbench.methods.feature_maps import OutputStride, strides_for
from mtlbench.methods.jtrl import JTRL
from mtlbench.methods.method import Method, Outputs, Target, check_outputs
from mtlbench.methods.mtan import MTAN
from mtlbench.methods.mti_net import MTINet
from mtlbench.methods.nddr_cnn import NDDRCNN
from mtlbench.methods.options import misfits, options_of
from mtlbench.methods.pad_net import PADNet
from mtlbench.methods.parts.order import in_order
from mtlbench.methods.sca_mtl import SCAMTL

__all__ = ["METHODS", "Method", "Outputs", "Target", "build", "check_options", "one_task", "options_of", "resolve"]

METHODS: dict[str, type[Method]] = {
    "single_task": SingleTask,
    "multi_task": MultiTask,
    "pad_net": PADNet,
    "mti_net": MTINet,
    "atrc": ATRC,
    "sca_mtl": SCAMTL,
    "cross_stitch": CrossStitch,
    "nddr_cnn": NDDRCNN,
    "mtan": MTAN,
    "jtrl": JTRL,
}


def build(
    name: str,
    targets: Mapping[str, Target],
    backbone: str = "hrnet_w18_small_v2",
    pretrained: bool = False,
    weights: str | None = None,
    bn_momentum: float = 0.01,
    image_size: tuple[int, int] | None = None,
    output_stride: OutputStride = 32,
    seed: int = 0,
    **options: Any,
) -> Method:
    """Make the network of method `name` for `targets` (task -> Target, in any order), on the CPU.

    There is no other way to make a network. backbone, pretrained, weights, bn_momentum, image_size,
    output_stride: see Backbone. options: keyword arguments of the method.

    All randomness of the initial values comes from `seed`. The values of the backbone depend on nothing else, so they
    are bit-equal across methods and task sets. The global random state is left as it was. The network raises
    ContractBroken in a forward pass whose outputs do not fit the targets and the images.

    Raises ValueError that lists the choices, where the method, an option, the value of an option or the backbone is
    unknown.
    """
    method = resolve(name)
    check_options(name, options)
    if wrong := method.misfit(options, strides_for(output_stride)):
        raise ValueError(f"{name}: {wrong}")
    if not targets:
        raise ValueError(f"{name}: no tasks; a network needs at least one")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2 * seed)
        encoder = Backbone(
            backbone,
            pretrained=pretrained,
            weights=weights,
            bn_momentum=bn_momentum,
            size=image_size,
            output_stride=output_stride,
        )
        torch.default_generator.manual_seed(2 * seed + 1)
        network = method(encoder, in_order(targets), **options)
    network.register_forward_hook(partial(_keeps_the_contract, name, dict(targets)))
    return network


def _keeps_the_contract(name: str, targets: Mapping[str, Target], network: Method, args: Any, outputs: Any) -> None:
    check_outputs(outputs, targets, args[0], name)


def resolve(name: str) -> type[Method]:
    """The class of a method. `name` is a key of METHODS, or "package.module:Name" from outside.

    Raises ValueError that says why there is no such class.
    """
    found = outside.find(name, "method", METHODS)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ValueError(f"method {name!r} is not a subclass of mtlbench.methods.Method but {found!r}")
    return found


def one_task(name: str) -> bool:
    """Whether a network of method `name` has one task, so that several tasks take several networks."""
    return resolve(name).task_counts == (1, 1)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError where `options` do not fit the signature of method `name`. The message names every misfit."""
    if problems := misfits(name, resolve(name), options):
        raise ValueError("; ".join(problems))
