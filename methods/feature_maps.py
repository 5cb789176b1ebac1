"""The network of timm, or from outside, behind a backbone: how it is made, and where its four maps are.

Where a network of timm differs from the network of its authors, one line in CARE repairs it. One line in weights.py
pins the ImageNet weights of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from mtlbench.methods import packaged
from mtlbench.methods.outside import is_outside, load
from mtlbench.methods.weights import check_file, how_to_fetch, load_own, no_imagenet_weights, pinned_tag, quiet

STRIDES = (4, 8, 16, 32)

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # images come to a backbone in this form
IMAGENET_STD = (0.229, 0.224, 0.225)

Size = tuple[int, int]  # rows, columns
OutputStride = Literal[8, 16, 32]

WORKING = ("hrnet_w18_small_v2", "resnet50", "convnext_tiny", "efficientnet_b0", "pvt_v2_b1")  # for images of any size


def _fuse_bilinearly(network: nn.Module) -> None:
    """Upsample between HRNet's branches as its authors do. With timm's nearest neighbour the maps differ by 10-16 %."""
    for module in network.modules():
        if isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", False


class Care(NamedTuple):
    """What turns timm's form of a network into the form of its authors."""

    options: Mapping[str, Any]  # of timm.create_model
    change: Callable[[nn.Module], None]  # of the network that timm has made


CARE: dict[str, Care] = {  # how the name of the network begins -> its care
    # HRNet's own 18/36/72/144 channels; timm's default widens them to 128..1024.
    "hrnet": Care({"feature_location": "", "out_indices": (1, 2, 3, 4)}, _fuse_bilinearly),
}


class Features(NamedTuple):
    """A network that gives feature maps, and where these maps are in its output."""

    network: nn.Module
    channels: tuple[int, ...]  # of the four maps
    levels: tuple[int, ...]  # the places of the four maps in the network's output
    channels_last: bool = False  # whether the maps are [B, H, W, C]
    norm: tuple[Any, Any] | None = None  # mean and std of the images of its weights; None: ImageNet's


def strides_for(output_stride: int) -> tuple[int, ...]:
    """The strides of the four maps of a network whose coarsest map is at `output_stride`."""
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride {output_stride!r}: it is 8, 16 or 32")
    return tuple(min(stride, output_stride) for stride in STRIDES)


def check(name: str, size: Size | None, output_stride: OutputStride = 32) -> None:
    """Raise ValueError where a backbone cannot be made for images of `size`, see Backbone. No weights are read."""
    if is_outside(name):
        refuse_dilation(name, output_stride)
        from_outside(name, False, None)
    else:
        _options(name, size, output_stride)


def refuse_dilation(name: str, output_stride: int) -> None:
    """Raise ValueError for a network from outside that is to be dilated, which only its author can do."""
    if output_stride != STRIDES[-1]:
        raise ValueError(
            f"backbone {name!r} is from outside of the package and gives maps at strides {list(STRIDES)}; "
            "leave output_stride at 32"
        )


def _care(name: str) -> Care:
    return next(
        (care for beginning, care in CARE.items() if name.startswith(beginning)), Care({}, lambda network: None)
    )


def from_timm(
    name: str, pretrained: bool, weights: str | None, size: Size | None, output_stride: OutputStride
) -> Features:
    import timm  # here, because it takes seconds, and a list of methods and their options need not wait for it

    base = name.split(".")[0]
    options = {**_options(base, size, output_stride), "pretrained": pretrained or weights is not None}
    if weights == "package":
        options["pretrained_cfg_overlay"] = {"state_dict": packaged.load(name)}
    elif weights is not None:
        check_file(name, base, weights, options)
        options["pretrained_cfg_overlay"] = {"file": weights}
    elif pretrained and "." not in name:
        name = f"{name}.{pinned_tag(name)}"
    try:
        with quiet():
            network: Any = timm.create_model(name, **options)
    except OSError as error:
        raise FileNotFoundError(f"{name}: no pretrained weights ({error}). {how_to_fetch(name)}") from error
    except RuntimeError as error:
        if weights is None and "." not in name:
            raise  # there is no tag and no file that could be the cause
        why = " ".join(str(error).split())
        raise ValueError(f"backbone {name!r}, weights {weights!r}: {why}") from error
    levels = _levels(network, output_stride)
    channels = tuple(int(network.feature_info.channels()[level]) for level in levels)
    _care(base).change(network)
    norm = _norm(network) if options["pretrained"] else None
    return Features(network, channels, levels, _channels_last(network), norm)


def _norm(network: Any) -> tuple[Any, Any] | None:
    """Mean and standard deviation of the images that a network's weights expect; None where these are ImageNet's."""
    config = network.pretrained_cfg
    norm = (tuple(config["mean"]), tuple(config["std"]))
    return None if norm == (IMAGENET_MEAN, IMAGENET_STD) else norm


def _levels(network: Any, output_stride: int) -> tuple[int, ...]:
    """The places of the four maps in the output of a network of timm."""
    reductions = network.feature_info.reduction()
    if output_stride == STRIDES[-1]:
        return tuple(reductions.index(stride) for stride in STRIDES)
    return tuple(range(len(reductions)))[-len(STRIDES) :]  # a dilated network has two maps or three at one stride


def _channels_last(network: nn.Module) -> bool:
    return str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")


@lru_cache(maxsize=64)
def _options(name: str, size: Size | None, output_stride: int = STRIDES[-1]) -> dict[str, Any]:
    """What timm needs to make feature maps of a network for images of `size`; None: of its own size, if it has one.

    Found by networks without values on the meta device, as timm does not tell which networks are made for one size.
    Raises ValueError where there is no such network, or where none gives maps at the strides.
    """
    import timm

    base = name.split(".")[0]
    if not timm.is_model(base):
        close = timm.list_models(f"*{base.split('_')[0]}*")
        raise ValueError(
            f"unknown backbone {name!r}: timm {timm.__version__} has no such network; "
            f"similar: {', '.join(close[:12]) or 'none; see timm.list_models()'}"
        )
    config = timm.get_pretrained_cfg(base)
    own = config.input_size[1:] if config is not None and config.fixed_input_size else (256, 256)
    options = {"features_only": True, **_care(base).options}
    if output_stride != STRIDES[-1]:
        return _dilated(name, {**options, "output_stride": output_stride}, size or own)
    if not (wrong := _shortcoming(base, options, size or own)):
        return options
    for_size = {**options, "img_size": size}
    if size is not None and not _shortcoming(base, for_size, size):
        return for_size
    raise ValueError(
        f"backbone {name!r} {wrong}; some that work: {', '.join(name for name in WORKING if name != base)}"
    )


def _dilated(name: str, options: dict[str, Any], size: Size) -> dict[str, Any]:
    """The options of a dilated network. Raises ValueError for a network that has no such form."""
    if wrong := _shortcoming(name.split(".")[0], options, size):
        family = "HRNet has no dilated form" if name.startswith("hrnet") else f"timm has no such form (it {wrong})"
        raise ValueError(
            f"backbone {name!r} with output_stride {options['output_stride']}: {family}; "
            "set output_stride to 32, or use a ResNet, such as resnet50"
        )
    return options


@torch.no_grad()
def _shortcoming(name: str, options: Mapping[str, Any], size: Size) -> str:
    """Why the maps of a network of timm are not at the strides for images of `size`; "" if they are."""
    import timm

    rows, columns = size
    strides = strides_for(output_stride := options.get("output_stride", STRIDES[-1]))
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network: Any = timm.create_model(name, **options).eval()
            reductions = network.feature_info.reduction()
            if not set(strides) <= set(reductions):
                return f"gives maps at strides {reductions}; methods need {list(strides)}"
            maps = network(torch.zeros(1, 3, rows, columns))
            found = [
                list(maps[level].shape[1:3] if _channels_last(network) else maps[level].shape[2:])
                for level in _levels(network, output_stride)
            ]
    except Exception as error:  # what a network of timm raises for a size that it was not made for is not told
        why = (str(error).splitlines() or [""])[0].rstrip(".")
        return f"does not take images of {rows} x {columns} ({type(error).__name__}{why and ': '}{why})"
    wanted = [[rows // stride, columns // stride] for stride in strides]
    return "" if found == wanted else f"gives maps of {found} for images of {rows} x {columns}; methods need {wanted}"


def from_outside(name: str, pretrained: bool, weights: str | None) -> Features:
    if pretrained:
        raise no_imagenet_weights(name)
    make = load(name, "backbone")
    try:
        network = make()
    except Exception as error:  # `make` is the code of the network's author, which may fail in any way
        raise ValueError(
            f"backbone {name!r} cannot be made: {type(error).__name__}: {error}; it must be a class or a function "
            "that makes a torch.nn.Module without arguments"
        ) from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"backbone {name!r} makes {type(network).__name__}, which is no torch.nn.Module")
    if weights is not None:
        load_own(network, name, weights)
    return Features(network, _channels_of(name, network), tuple(range(len(STRIDES))))


@torch.no_grad()
def _channels_of(name: str, network: nn.Module) -> tuple[int, ...]:
    """The channels of a network's four maps, found with an image. Raises ValueError where it gives other maps."""
    rows, columns = 64, 96  # not square, so that a network that swaps rows and columns is noticed
    try:
        maps = deepcopy(network).eval()(torch.zeros(1, 3, rows, columns))
    except Exception as error:  # the network is the code of its author, which may fail in any way
        raise ValueError(
            f"backbone {name!r} fails for an image [1, 3, {rows}, {columns}]: {type(error).__name__}: {error}"
        ) from error
    found = [list(getattr(one, "shape", ())) for one in maps] if isinstance(maps, list | tuple) else []
    sizes = [[rows // stride, columns // stride] for stride in STRIDES]
    if [shape[2:] if len(shape) == 4 else shape for shape in found] != sizes:
        gave = f"a list of {', '.join(map(str, found))}" if found else type(maps).__name__
        wanted = ", ".join(f"[1, C, {height}, {width}]" for height, width in sizes)
        raise ValueError(
            f"backbone {name!r} turns an image [1, 3, {rows}, {columns}] into {gave}; it must be a list of {wanted}"
        )
    return tuple(one.shape[1] for one in maps)
