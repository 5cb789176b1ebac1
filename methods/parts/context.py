"""The kinds of context that ATRC pools from one task for another, fixed or searched for."""

# B batch, C channels of a task's features, D channels of a context, H W rows and columns, N = H*W, K classes of a label

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.methods.parts.attention import CrossAttention, xavier
from mtlbench.methods.parts.layers import conv_bn_relu

KINDS = ("none", "global", "local", "tlabel", "slabel")
Look = Callable[[str], Tensor]  # kind -> what a context of that kind sees of the source


def local_attention(query: Tensor, key: Tensor, value: Tensor, window: int = 9, tile: int = 8) -> Tensor:
    """Softmax attention of each pixel over the `window` x `window` pixels around it, [B, D, H, W] each -> [B, D, H, W].

    Outside the image, keys and values are zero. They take part with similarity 0.

    The map is computed in tiles of pixels. Each tile is read together with the border that its windows reach. So the
    products of a window are never stored for the whole map, while an unfolded map would have 81 copies of each pixel.
    Keys and values are copied ((tile + window - 1) / tile)^2 = 4 times.
    """
    b, d, height, width = query.shape
    zeros = -d % 8  # channels that change no product; without them a GPU's fused kernel would not accept the map
    reach, side = window // 2, tile + window - 1
    bottom, right = -height % tile, -width % tile
    rows, columns = (height + bottom) // tile, (width + right) // tile

    def bordered_tiles(x: Tensor) -> Tensor:  # [B, tiles, side * side, D + zeros]
        x = F.pad(x, (reach, right + reach, reach, bottom + reach, 0, zeros))
        x = x.unfold(2, side, tile).unfold(3, side, tile)  # [B, D, rows, columns, side, side], a view
        return x.permute(0, 2, 3, 4, 5, 1).reshape(b, rows * columns, side * side, d + zeros)

    q = F.pad(query, (0, right, 0, bottom, 0, zeros)).reshape(b, d + zeros, rows, tile, columns, tile)
    q = q.permute(0, 2, 4, 3, 5, 1).reshape(b, rows * columns, tile * tile, d + zeros)
    at, around = torch.arange(tile, device=q.device), torch.arange(side, device=q.device)
    near = (around >= at[:, None]) & (around < at[:, None] + window)  # [tile, side], along one axis
    near = (near[:, None, :, None] & near[None, :, None, :]).reshape(tile * tile, side * side)
    k, v = bordered_tiles(key), bordered_tiles(value)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=near, scale=d**-0.5)[..., :d]
    out = out.reshape(b, rows, columns, tile, tile, d).permute(0, 5, 1, 3, 2, 4)
    return out.reshape(b, d, height + bottom, width + right)[:, :, :height, :width]


def token_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of each pixel over K tokens: query [B, D, H, W], key and value [B, D, K, 1] -> [B, D, H, W]."""
    q, k, v = (x.flatten(2).mT for x in (query, key, value))  # [B, N or K, D]
    return F.scaled_dot_product_attention(q, k, v).mT.reshape(query.shape)


def class_tokens(features: Tensor, probability: Tensor) -> Tensor:
    """Features [B, C, H, W], averaged over the pixels of each class with weights `probability` [B, K, N].

    Returns [B, C, K, 1].
    """
    return (features.flatten(2) @ probability.mT)[..., None]


class SoftmaxContext(nn.Module):
    """Context by scaled dot products: target [B, C, H, W] and a view of the source -> [B, D, H, W].

    The view is [B, C, H, W] for a map, or [B, C, K, 1] for class tokens.
    """

    def __init__(self, channels: int, width: int, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.attend = attend
        self.query = nn.Sequential(*conv_bn_relu(channels, width, 1), *conv_bn_relu(width, width, 1))
        self.key = nn.Sequential(*conv_bn_relu(channels, width, 1), *conv_bn_relu(width, width, 1))
        self.value = conv_bn_relu(channels, width, 1)
        xavier(self)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        return self.attend(self.query(target), self.key(source), self.value(source))


def pooling(kind: str, channels: int, width: int, affine_value: bool = True) -> CrossAttention | SoftmaxContext:
    pool: CrossAttention | SoftmaxContext
    if kind == "global":
        pool = CrossAttention(channels, channels, width)
    else:
        pool = SoftmaxContext(channels, width, local_attention if kind == "local" else token_attention)
    if not affine_value:
        pool.value[1] = nn.BatchNorm2d(width, affine=False)
    return pool


class FixedContext(nn.Module):
    """The context of one ordered pair of tasks, [B, C, H, W] -> [B, D, H, W]."""

    def __init__(self, kind: str, channels: int, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.pool = pooling(kind, channels, width)

    def forward(self, target: Tensor, look: Look) -> Tensor:
        pooled: Tensor = self.pool(target, look(self.kind))
        return pooled


class SearchedContext(nn.Module):
    """All kinds of context of one ordered pair, weighted by a relaxed random choice among them (SNAS, Xie et al. 2019).

    In training, the weights are a Gumbel-softmax sample of `alpha`. Once the probabilities of the two best kinds differ
    by 0.3, the best kind is chosen for good. In evaluation, only the best kind counts.
    """

    decided: Tensor  # bool scalar
    choice: Tensor  # [kinds], one-hot once decided
    temperature: Tensor  # scalar; the temperature of the samples

    def __init__(self, kinds: Sequence[str], channels: int, width: int) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        # The values have no affine norm: the scale of such a norm could replace the weights of the choice.
        self.pool = nn.ModuleDict({kind: pooling(kind, channels, width, False) for kind in kinds if kind != "none"})
        self.alpha = nn.Parameter(torch.zeros(len(self.kinds)))
        self.register_buffer("decided", torch.tensor(False))
        self.register_buffer("choice", torch.zeros(len(self.kinds)))
        self.register_buffer("temperature", torch.tensor(1.0))

    def forward(self, target: Tensor, look: Look) -> Tensor:
        sample = self.sample() if self.training else self.best()
        weights = dict(zip(self.kinds, sample, strict=True))  # the share of "none" adds nothing
        return torch.stack([weights[kind] * pool(target, look(kind)) for kind, pool in self.pool.items()]).sum(0)

    def sample(self) -> Tensor:
        gumbel = -torch.empty_like(self.alpha).exponential_().log()
        return torch.where(self.decided, self.choice, ((self.alpha + gumbel) / self.temperature).softmax(0))

    def best(self) -> Tensor:
        """One-hot over the kinds: the decided kind, or the likeliest kind so far where none is decided."""
        kinds = torch.arange(len(self.kinds), device=self.alpha.device)
        likeliest = (kinds == self.alpha.argmax()).to(self.choice)
        return torch.where(self.decided, self.choice, likeliest)

    @torch.no_grad()
    def at(self, progress: float) -> None:
        """Lower the temperature linearly from 1 to 0.05, and choose the best kind for good where it is clear."""
        self.temperature.fill_(1.0 - 0.95 * progress)
        first, second = self.alpha.softmax(0).topk(2).values
        choice, clear = self.best(), first - second >= 0.3
        self.choice.copy_(torch.where(self.decided | clear, choice, self.choice))
        self.decided |= clear

    def found(self) -> str:
        """The name of the best kind."""
        return self.kinds[int(self.best().argmax())]

    def entropy(self) -> Tensor:
        return -(self.alpha.softmax(0) * self.alpha.log_softmax(0)).sum()
