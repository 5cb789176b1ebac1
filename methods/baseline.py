"""The two baselines: one network for each task, and one backbone with a head for each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Outputs, Target
from mtlbench.methods.parts.chosen_head import WithChosenHead, make_heads
from mtlbench.methods.parts.layers import size_of, upsample
from mtlbench.methods.parts.order import in_order


class MultiTask(WithChosenHead):
    """One backbone with a head for each task, as in MTL-PyTorch.

    Options:
        head: each task's decoder: "hrnet" mixes all four maps at stride 4 by a 1x1 convolution, "fcn_atrc" is that of
            ATRC's baselines, with a 3x3 convolution, and "deeplab" is for dilated ResNets.
    """

    def __init__(
        self,
        backbone: Backbone,
        targets: Mapping[str, Target],
        *,
        head: Literal["hrnet", "fcn_atrc", "deeplab"] = "hrnet",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = make_heads(head, backbone.channels, in_order(targets))

    def forward(self, image: Tensor) -> Outputs:
        pyramid = self.backbone(image)
        final = {task: upsample(head(pyramid), size_of(image)) for task, head in self.heads.items()}
        return Outputs(final, auxiliary=[], label_logits={})


class SingleTask(MultiTask):
    """A network for each task: the usual baseline of a multi-task comparison.

    Each is the network of `multi_task` with one task. Raises ValueError for several tasks.
    """

    task_counts = (1, 1)

    def __init__(
        self,
        backbone: Backbone,
        targets: Mapping[str, Target],
        *,
        head: Literal["hrnet", "fcn_atrc", "deeplab"] = "hrnet",
    ) -> None:
        if len(targets) != 1:
            raise ValueError(
                f"single_task takes one task, not {len(targets)} ({', '.join(targets)}): make a network for each task, "
                "or use multi_task"
            )
        super().__init__(backbone, targets, head=head)
