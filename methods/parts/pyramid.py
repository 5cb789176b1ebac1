"""The parts of one scale of MTI-Net: the task heads, and the propagation of features to the next finer scale.

SCA-MTL builds on MTI-Net and uses these parts too.
"""

# B batch, N tasks, C channels of a task's features at the scale, H W rows and columns

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mtlbench.methods.method import Target
from mtlbench.methods.parts.layers import SqueezeExcite, basic_block, conv_bn_relu, size_of, upsample

Features = dict[str, Tensor]  # task -> [B, C, H, W]


def needs_factor_two(strides: Sequence[int]) -> str:
    """Why a method that goes from each scale to the next one by a factor of 2 does not fit maps at `strides`; or ""."""
    if all(coarser == 2 * finer for finer, coarser in pairwise(strides)):
        return ""
    return (
        f"each of its scales is half as large as the one before, and the backbone's maps are at strides "
        f"{', '.join(map(str, strides))}; leave the backbone's output_stride at 32"
    )


class TaskHeads(nn.Module):
    """The initial features and predictions of every task at one scale.

    The inputs are `shared` [B, in_channels, H, W] and `coarser`, task -> [B, coarser_channels, H/2, W/2] from the next
    coarser scale (None at the coarsest scale). The outputs are the features, task -> [B, channels, H, W], and the
    predictions, task -> [B, Target.channels, H, W].
    """

    def __init__(self, targets: Mapping[str, Target], in_channels: int, coarser_channels: int, channels: int) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                task: nn.Sequential(
                    basic_block(in_channels + coarser_channels, channels), basic_block(channels, channels)
                )
                for task in targets
            }
        )
        self.predict = nn.ModuleDict({task: nn.Conv2d(channels, t.channels, 1) for task, t in targets.items()})

    def forward(self, shared: Tensor, coarser: Features | None) -> tuple[Features, Features]:
        features = {}
        for task, extract in self.features.items():
            inputs = [shared] if coarser is None else [shared, upsample(coarser[task], size_of(shared))]
            features[task] = extract(torch.cat(inputs, dim=1))
        return features, {task: predict(features[task]) for task, predict in self.predict.items()}


class FPM(nn.Module):
    """MTI-Net's feature propagation module: it enriches each task's features for the next finer scale.

    `body` ([B, N*C, H, W] -> the same) makes a mask from the concatenated features of all tasks, and the mask selects
    among these features. The selection is reduced to C channels, re-weighted for each task, and added to the features
    of the task. task -> [B, C, H, W] in and out.

    mask "author": softmax over groups of N consecutive channels of the task-major concatenation, as in the authors'
    code. A group nearly always lies inside one task. "per_task": softmax over the N tasks at the same channel, as the
    module was meant.
    """

    def __init__(self, tasks: Sequence[str], channels: int, body: nn.Module, mask: str) -> None:
        super().__init__()
        self.mask = mask
        self.body = body
        self.reduce = basic_block(len(tasks) * channels, channels)
        self.excite = nn.ModuleDict({task: SqueezeExcite(channels) for task in tasks})

    def forward(self, features: Features) -> Features:
        joint = torch.cat([features[task] for task in self.excite], dim=1)  # [B, N*C, H, W], task-major
        mask = MASKS[self.mask](self.body(joint), len(self.excite))
        selected = self.reduce(joint * mask)  # [B, C, H, W]
        return {task: excite(selected) + features[task] for task, excite in self.excite.items()}


def author_mask(logits: Tensor, num_tasks: int) -> Tensor:
    b, nc, h, w = logits.shape
    return logits.reshape(b, nc // num_tasks, num_tasks, h, w).softmax(2).reshape(b, nc, h, w)


def per_task_mask(logits: Tensor, num_tasks: int) -> Tensor:
    b, nc, h, w = logits.shape
    return logits.reshape(b, num_tasks, nc // num_tasks, h, w).softmax(1).reshape(b, nc, h, w)


MASKS = {"author": author_mask, "per_task": per_task_mask}


def convolutional_body(channels: int) -> nn.Sequential:
    """The layers with which MTI-Net makes the mask of an FPM: two residual blocks at a quarter of the channels."""
    narrow = channels // 4
    return nn.Sequential(basic_block(channels, narrow), basic_block(narrow, narrow), nn.Conv2d(narrow, channels, 1))


class Widen(nn.Module):
    """A control for methods that double the channels: cat(relu(bn(conv1x1(x))), x), [B, C, H, W] -> [B, 2C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = conv_bn_relu(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch(x), x], dim=1)
