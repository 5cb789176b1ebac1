"""The shared encoder: any timm network that gives feature maps at strides 4, 8, 16 and 32."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mtlbench.methods.weights import check_file, how_to_fetch, pinned_tag, quiet

STRIDES = (4, 8, 16, 32)


class Backbone(nn.Module):
    """Feature maps at strides 4, 8, 16 and 32 of the timm network `name`.

    image [B, 3, H, W] -> 4 maps, finest first, [B, channels[k], H / strides[k], W / strides[k]]; H and W must be
    multiples of 32 (ValueError).

    bn_momentum: of the batch norms: 0.01 in MTL-PyTorch, which fine-tunes; 0.1 in ATRC.

    pretrained: ImageNet weights from the Hugging Face Hub (or its local cache), under a pinned tag; for a network
    without one write it into the name, as in "resnet18.a1_in1k". weights: a local file of the same network
    (safetensors), which takes the place of the download.

    Raises ValueError where timm has no such network, where its maps are not at these strides, or where `weights` does
    not fit; FileNotFoundError where weights were asked for and could not be had.
    """

    channels: tuple[int, ...]
    strides = STRIDES

    def __init__(
        self,
        name: str = "hrnet_w18_small_v2",
        *,
        pretrained: bool = False,
        weights: str | None = None,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.network, self.channels, self.levels, self.channels_last = _features(name, pretrained, weights)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = bn_momentum

    def forward(self, image: Tensor) -> list[Tensor]:
        height, width = image.shape[-2:]
        if height % STRIDES[-1] or width % STRIDES[-1]:
            raise ValueError(
                f"image of {height} x {width} pixels: both sides must be multiples of {STRIDES[-1]}; pad or resize it"
            )
        maps = self.network(image)
        return [maps[level].permute(0, 3, 1, 2) if self.channels_last else maps[level] for level in self.levels]


def _features(name: str, pretrained: bool, weights: str | None) -> tuple[nn.Module, tuple[int, ...], list[int], bool]:
    """The timm network, the channels of its four maps, their places in its output, and whether that is [B, H, W, C]."""
    import timm  # here, because it takes seconds that listing methods and their options need not wait for

    base = name.split(".")[0]
    if not timm.is_model(base):
        close = timm.list_models(f"*{base.split('_')[0]}*")
        raise ValueError(
            f"unknown backbone {name!r}: timm {timm.__version__} has no such network; "
            f"similar: {', '.join(close[:12]) or 'none; see timm.list_models()'}"
        )
    options: dict[str, Any] = {"features_only": True, "pretrained": pretrained or weights is not None}
    if base.startswith("hrnet"):
        # HRNet's own 18/36/72/144 channels; timm's default widens them to 128..1024.
        options |= {"feature_location": "", "out_indices": (1, 2, 3, 4)}
    if weights is not None:
        check_file(name, base, weights, options)
        options["pretrained_cfg_overlay"] = {"file": weights}
    elif pretrained and "." not in name:
        name = f"{name}.{pinned_tag(name)}"
    try:
        with quiet():
            network = timm.create_model(name, **options)
    except OSError as error:
        raise FileNotFoundError(f"{name}: no pretrained weights ({error}). {how_to_fetch(name)}") from error
    except RuntimeError as error:
        if weights is None and "." not in name:
            raise  # neither the tag nor the file can be the cause
        raise ValueError(f"backbone {name!r}, weights {weights!r}: {error}") from error

    info: Any = network.feature_info
    reductions = info.reduction()
    if not set(STRIDES) <= set(reductions):
        raise ValueError(f"backbone {name!r} gives maps at strides {reductions}; methods need {list(STRIDES)}")
    levels = [reductions.index(stride) for stride in STRIDES]
    channels = tuple(int(info.channels()[level]) for level in levels)
    if base.startswith("hrnet"):
        _fuse_bilinearly(network)
    return network, channels, levels, str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")


def _fuse_bilinearly(network: nn.Module) -> None:
    """Upsample between HRNet's branches as its authors do; timm's nearest neighbour moves the maps by 10-16 %."""
    for module in network.modules():
        if isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", False
