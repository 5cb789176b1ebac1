"""Attention between two maps (SCA-MTL's cross-attention, ATRC's global context) and inside one map (Swin's windows)."""

# B batch, C D channels, H W rows and columns, L = H * W pixels, M the side of a window, T = M * M pixels of a window

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.methods.parts.layers import conv_bn, conv_bn_relu


def cross_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Eq. (2): each target pixel averages the source's values with weights query . key.

    query [B, D, L], key [B, D, L'], both non-negative; value [B, C, L'] -> [B, C, L]. The sum over the source comes
    first, so the cost is O((L + L') C D), and the L x L' weights are never formed.
    """
    with _no_autocast(query.device.type):
        # At least float32 is needed: bfloat16 would lose a quarter of the variation between pixels.
        precision = torch.promote_types(query.dtype, torch.float32)
        q, k, v = query.to(precision), key.to(precision), value.to(precision)
        k = k / k.shape[-1]  # the division cancels in the ratio, and keeps both sums in the range of their terms
        context = v @ k.mT  # [B, C, D]
        normaliser = k.sum(-1, keepdim=True).mT @ q  # [B, 1, L]
        return (context @ q / normaliser.clamp_min(1e-12)).to(value.dtype)


def _no_autocast(device: str) -> AbstractContextManager[object]:
    # The meta device, on which costs can be counted, has no autocast to turn off.
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


class CrossAttention(nn.Module):
    """Eq. (1): 1x1 convolutions make the query from the target's features, and key and value from the source's.

    target [B, C, H, W], source [B, C', H', W'] -> [B, width, H, W] by `cross_attention`. The sizes may differ. Softplus
    keeps query and key positive. qk_layers: how many convolutions make a query or a key. It is 2 in the authors' code
    (and in ATRC's global context), and 1 in the paper.
    """

    def __init__(self, target_channels: int, source_channels: int, width: int, *, qk_layers: int = 2) -> None:
        super().__init__()
        self.query = _positive_projection(target_channels, width, qk_layers)
        self.key = _positive_projection(source_channels, width, qk_layers)
        self.value = conv_bn_relu(source_channels, width, 1)
        xavier(self)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        query, key, value = self.query(target), self.key(source), self.value(source)
        attended = cross_attention(query.flatten(2), key.flatten(2), value.flatten(2))  # [B, width, L]
        return attended.view(query.shape)


def _positive_projection(in_channels: int, width: int, layers: int) -> nn.Sequential:
    hidden = [conv_bn_relu(width if i else in_channels, width, 1) for i in range(layers - 1)]
    return nn.Sequential(*hidden, conv_bn(width if hidden else in_channels, width, 1), nn.Softplus())


def xavier(block: nn.Module) -> None:
    """Give every convolution of an attention block Xavier-uniform weights, as ATRC does."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows of 7 x 7 pixels with a relative position bias (Swin, Liu et al. 2021).

    [B, H, W, C] -> [B, H, W, C]. shift: the windows are displaced by this number of pixels, cyclically. Pixels that
    share a window only because of the wrap-around do not see each other. A map is padded with zeros at the right and
    at the bottom until it has whole windows. The padding takes part like any pixel, as in the authors' code.
    """

    window = 7
    position_index: Tensor

    def __init__(self, channels: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.empty((2 * self.window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        rows, columns = torch.meshgrid(torch.arange(self.window), torch.arange(self.window), indexing="ij")
        y, x = rows.flatten(), columns.flatten()
        offset_y, offset_x = y[:, None] - y, x[:, None] - x  # [T, T], query minus key
        index = (offset_y + self.window - 1) * (2 * self.window - 1) + offset_x + self.window - 1
        self.register_buffer("position_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        (_, height, width, _), side = x.shape, self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        x = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        qkv = _windows(self.qkv(x), side)  # [B, windows, T, 3 * C]
        q, k, v = qkv.view(*qkv.shape[:3], 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5)
        # q, k, v [B, windows, heads, T, C / heads]
        bias = self.position_bias[self.position_index].permute(2, 0, 1)  # [heads, T, T]
        if self.shift:
            bias = bias + _apart(rows, columns, side, self.shift, x.device)[:, None]  # [windows, heads, T, T]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(2, 3)  # [B, windows, T, heads, ...]
        out = out.reshape(-1, rows, columns, side, side, x.shape[-1]).transpose(2, 3).reshape(x.shape)
        out = torch.roll(self.project(out), (self.shift, self.shift), dims=(1, 2))
        return out[:, :height, :width]


def _windows(x: Tensor, side: int) -> Tensor:
    """[B, rows * M, columns * M, C] -> [B, rows * columns, T, C]."""
    b, height, width, c = x.shape
    x = x.reshape(b, height // side, side, width // side, side, c)
    return x.transpose(2, 3).reshape(b, -1, side * side, c)


def _apart(rows: int, columns: int, side: int, shift: int, device: torch.device) -> Tensor:
    """[windows, T, T]: -100 between pixels that share a window only because of the shift, 0 elsewhere."""

    def strip(windows: int) -> Tensor:  # the shift cuts an axis into three strips: the number of each pixel's strip
        at = torch.arange(windows * side, device=device)
        return (at >= windows * side - side).long() + (at >= windows * side - shift).long()

    region = 3 * strip(rows)[:, None] + strip(columns)  # [rows * M, columns * M]
    region = _windows(region[None, :, :, None], side)[0, :, :, 0]  # [windows, T]
    return -100.0 * (region[:, :, None] != region[:, None, :])


class SwinLayer(nn.Module):
    """x + attention(norm(x)). With `mlp`, Swin's second half follows: x + mlp(norm(x)). [B, H, W, C] -> the same."""

    def __init__(self, channels: int, heads: int, shift: int, drop_path: float, mlp: bool) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm = nn.LayerNorm(channels)
        self.attend = WindowAttention(channels, heads, shift)
        self.mlp = (
            nn.Sequential(
                nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
            )
            if mlp
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.attend(self.norm(x)))
        return x if self.mlp is None else x + self._drop(self.mlp(x))

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth (Huang et al., ECCV 2016): leave out the branch of a sample with probability `drop_path`."""
        if not (self.training and self.drop_path):
            return branch
        keep = 1 - self.drop_path
        return branch * branch.new_empty(branch.shape[0], 1, 1, 1).bernoulli_(keep) / keep


class WindowSelfAttention(nn.Module):
    """A stack of window-attention layers on a map; every second layer is shifted by half a window.

    [B, C, H, W] -> [B, C, H, W]. heads: the largest allowed number of heads. The stack takes the largest number up to
    `heads` that divides the channels. drop_path: the probability of the last layer. It grows linearly from 0 at the
    first layer.
    """

    def __init__(self, channels: int, *, depth: int, heads: int, drop_path: float = 0.0, mlp: bool = False) -> None:
        super().__init__()
        heads = max(h for h in range(1, heads + 1) if channels % h == 0)
        self.embed = nn.Conv2d(channels, channels, 1)
        self.embed_norm = nn.LayerNorm(channels)
        self.layers = nn.Sequential(
            *(
                SwinLayer(
                    channels, heads, (i % 2) * (WindowAttention.window // 2), drop_path * i / max(1, depth - 1), mlp
                )
                for i in range(depth)
            )
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))  # [B, H, W, C]
        x = self.norm(self.layers(x))
        return x.permute(0, 3, 1, 2)
