"""The two baselines: a network a task, and one backbone with a head a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Method, Outputs, Target
from mtlbench.methods.parts.heads import FCNHead, HRHead
from mtlbench.methods.parts.layers import size_of, upsample
from mtlbench.methods.parts.order import in_order

HEADS: dict[str, type[HRHead] | type[FCNHead]] = {"hrnet": HRHead, "fcn_atrc": FCNHead}


class MultiTask(Method):
    """A shared backbone and a head a task, as in MTL-PyTorch; head "fcn_atrc" is the decoder of ATRC's baselines."""

    def __init__(
        self, backbone: Backbone, targets: Mapping[str, Target], *, head: Literal["hrnet", "fcn_atrc"] = "hrnet"
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(
            {task: HEADS[head](backbone.channels, target.channels) for task, target in in_order(targets).items()}
        )

    def forward(self, image: Tensor) -> Outputs:
        pyramid = self.backbone(image)
        final = {task: upsample(head(pyramid), size_of(image)) for task, head in self.heads.items()}
        return Outputs(final, auxiliary=[], label_logits={})


class SingleTask(MultiTask):
    """MultiTask with exactly one task (ValueError otherwise): the usual baseline of a multi-task comparison."""

    one_task = True

    def __init__(
        self, backbone: Backbone, targets: Mapping[str, Target], *, head: Literal["hrnet", "fcn_atrc"] = "hrnet"
    ) -> None:
        if len(targets) != 1:
            raise ValueError(
                f"single_task takes one task, not {len(targets)} ({', '.join(targets)}): make one network a task, "
                "or use multi_task"
            )
        super().__init__(backbone, targets, head=head)
