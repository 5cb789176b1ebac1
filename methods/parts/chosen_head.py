"""The heads that several methods let a matrix choose with their option `head`, and what each head asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from mtlbench.methods.method import Method, Target
from mtlbench.methods.parts.deeplab import DeepLabHead
from mtlbench.methods.parts.heads import FCNHead, HRHead

HEADS: dict[str, type[HRHead] | type[FCNHead] | type[DeepLabHead]] = {
    "hrnet": HRHead,
    "fcn_atrc": FCNHead,
    "deeplab": DeepLabHead,
}
COARSEST_OF_DEEPLAB = 16  # its dilations are made for stride 8


def make_heads(head: str, channels: Sequence[int], targets: Mapping[str, Target]) -> nn.ModuleDict:
    """A head for each task, over four maps with these channels."""
    return nn.ModuleDict({task: HEADS[head](channels, target.channels) for task, target in targets.items()})


class WithChosenHead(Method):
    """A method with the option `head`."""

    @classmethod
    def misfit(cls, options: Mapping[str, Any], strides: Sequence[int]) -> str:
        if options.get("head") != "deeplab" or strides[-1] <= COARSEST_OF_DEEPLAB:
            return ""
        return (
            f"head deeplab reads maps at stride 8, or 16, and the backbone's last map is at stride {strides[-1]}; set "
            "the backbone's output_stride to 8, which a ResNet can have, or choose another head"
        )

    @classmethod
    def needs_two_images(cls, options: Mapping[str, Any]) -> str:
        if options.get("head") != "deeplab":
            return ""
        return "head deeplab normalises a single value of each channel and image"


class OnDilatedResNets(WithChosenHead):
    """A method that was published on dilated ResNets with DeepLab's head alone."""

    published_on = "resnet18 and resnet50 with output_stride 8 and head deeplab"

    @classmethod
    def is_as_published(cls, options: Mapping[str, Any], backbone: str, output_stride: int) -> bool:
        base = backbone.split(".")[0]
        return base in ("resnet18", "resnet50") and output_stride == 8 and options.get("head") == "deeplab"
