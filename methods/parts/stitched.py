"""Networks with an encoder for each task whose maps are mixed after each stage: cross-stitch and NDDR-CNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Outputs, Start, Target, take_over
from mtlbench.methods.parts.chosen_head import OnDilatedResNets, make_heads
from mtlbench.methods.parts.encoders import encoder_for_each
from mtlbench.methods.parts.layers import size_of, upsample
from mtlbench.methods.parts.order import in_order
from mtlbench.methods.stages import STAGES

UNIT_LR = 100.0  # of the published protocol

Unit = Callable[[Sequence[str], int], nn.Module]  # tasks, channels -> module: task -> map in, task -> mixed map out


class Stitched(OnDilatedResNets):
    """Every task has an encoder and a head; units mix the maps of all tasks after each stage from `first` on.

    There is a unit for each map of a stage. The mixed maps go on to the next stage of the task's own encoder, and to
    its head. With one task there is nothing to mix, and no unit.
    """

    first: int  # the first stage with a unit behind it

    def build(self, backbone: Backbone, targets: Mapping[str, Target], head: str, unit: Unit, unit_lr: float) -> None:
        """Make all parts. unit_lr: the factor of the recipe's learning rate for the units."""
        if not unit_lr > 0:
            raise ValueError(f"option unit_lr is {unit_lr!r}: it is a factor of the learning rate, and greater than 0")
        targets, self.unit_lr = in_order(targets), unit_lr
        stages = backbone.stages[self.first :] if len(targets) > 1 else ()
        self.backbone = encoder_for_each(targets, backbone)
        self.units = nn.ModuleList(
            nn.ModuleList(unit(list(targets), channels) for channels in widths) for widths in stages
        )
        self.heads = make_heads(head, backbone.channels, targets)

    def forward(self, image: Tensor) -> Outputs:
        encoders: Any = self.backbone
        maps = {task: [image] for task in encoders}
        outputs: dict[str, list[list[Tensor]]] = {task: [] for task in encoders}
        for k in range(STAGES):
            maps = {task: encoder.run(k, maps[task]) for task, encoder in encoders.items()}
            if len(self.units) and k >= self.first:
                maps = self._mixed(self.units[k - self.first], maps)
            for task, its_maps in maps.items():
                outputs[task].append(its_maps)
        final = {
            task: upsample(head(encoders[task].pyramid(outputs[task])), size_of(image))
            for task, head in self.heads.items()
        }
        return Outputs(final, auxiliary=[], label_logits={})

    def _mixed(self, units: Any, maps: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
        """The maps of a stage, task -> one for each branch, after the unit of each branch."""
        branches = [unit({task: its_maps[i] for task, its_maps in maps.items()}) for i, unit in enumerate(units)]
        return {task: [branch[task] for branch in branches] for task in maps}

    def load_start(self, tasks: Sequence[str], state: Mapping[str, Tensor]) -> None:
        """Take over the encoder and the head of each of the tasks."""
        for task in tasks:
            encoders: Any = self.backbone
            take_over(encoders[task], state, "backbone.")
            take_over(self.heads[task], state, f"heads.{task}.")

    @classmethod
    def starts_from(cls, options: Mapping[str, Any]) -> Start | None:
        if options.get("init", "single_task") == "backbone":
            return None
        return Start("single_task", {"head": options.get("head", "hrnet")}, "set option init: backbone")

    @classmethod
    def remark(cls, options: Mapping[str, Any]) -> str:
        units = f"units at {options.get('unit_lr', UNIT_LR):g} times the learning rate"
        if cls.starts_from(options) is not None:
            return units
        return f"{units}, and a start from the backbone's weights in place of trained single-task networks"

    def parameter_groups(self) -> list[dict[str, Any]]:
        units = [p for p in self.units.parameters() if p.requires_grad]
        rest = [{"params": [p for part in (self.backbone, self.heads) for p in part.parameters() if p.requires_grad]}]
        return [*rest, {"params": units, "lr_scale": self.unit_lr}] if units else rest

    def shared_parameters(self) -> list[Parameter]:
        return [*self.backbone.parameters(), *self.units.parameters()]


def initial_shares(name: str, alpha: float, beta: float | None, tasks: int) -> tuple[float, float]:
    """How much of its own map a task starts with, and how much of each other task's; together 1 where beta is None.

    Raises ValueError for a `beta` that is no number.
    """
    if beta is None:
        return alpha, (1 - alpha) / max(1, tasks - 1)
    if isinstance(beta, bool) or not isinstance(beta, int | float):
        raise ValueError(f"{name}: option beta is {beta!r}; it takes float, or None for (1 - alpha) / (tasks - 1)")
    return alpha, float(beta)
