"""Eq. (1) and Eq. (2) between maps, and Swin's windows inside one, against their literal definitions."""

import pytest
import torch
from torch import nn

from mtlbench.methods.parts.attention import (
    CrossAttention,
    SwinLayer,
    WindowAttention,
    WindowSelfAttention,
    cross_attention,
)


def positive(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype) + 0.01


@pytest.fixture
def maps():
    """query [2, 4, 7], key [2, 4, 11], value [2, 3, 11]"""
    return positive(2, 4, 7), positive(2, 4, 11), torch.randn(2, 3, 11, dtype=torch.float64)


def test_cross_attention_is_the_literal_double_sum(maps):
    query, key, value = maps
    wanted = torch.empty(2, 3, 7, dtype=torch.float64)
    for image in range(2):
        for b in range(7):
            weights = [query[image, :, b] @ key[image, :, a] for a in range(11)]
            wanted[image, :, b] = sum(w * value[image, :, a] for a, w in enumerate(weights)) / sum(weights)
    torch.testing.assert_close(cross_attention(query, key, value), wanted)


def test_cross_attention_ignores_the_scale_of_keys_and_queries(maps):
    query, key, value = maps
    wanted = cross_attention(query, key, value)
    torch.testing.assert_close(cross_attention(100 * query, key, value), wanted)
    torch.testing.assert_close(cross_attention(query, 1e-3 * key, value), wanted)


def test_cross_attention_ignores_the_order_of_source_pixels(maps):
    query, key, value = maps
    order = torch.randperm(11)
    torch.testing.assert_close(cross_attention(query, key[..., order], value[..., order]), cross_attention(*maps))


def test_cross_attention_stays_within_the_range_of_the_values(maps):
    attended, value = cross_attention(*maps), maps[2]
    assert (attended >= value.amin(-1, keepdim=True)).all()
    assert (attended <= value.amax(-1, keepdim=True)).all()


def test_cross_attention_returns_a_constant_value_unchanged():
    value = torch.full((1, 2, 9), 3.0)
    torch.testing.assert_close(
        cross_attention(positive(1, 4, 5).float(), positive(1, 4, 9).float(), value)[0, 0, 0], value[0, 0, 0]
    )


def test_cross_attention_of_half_precision_maps_of_full_size_is_finite_and_close():
    query, key = (3 * positive(1, 36, 19_200) for _ in range(2))
    value = torch.randn(1, 36, 19_200, dtype=torch.float64)
    assert (key.sum(-1, keepdim=True).mT @ query).max() > torch.finfo(torch.float16).max
    got = cross_attention(query.half(), key.half(), value.half())
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.double(), cross_attention(query, key, value), rtol=0, atol=1e-3)


def test_cross_attention_is_not_rounded_by_autocast():
    query, key, value = positive(1, 8, 50).float(), positive(1, 8, 50).float(), torch.randn(1, 8, 50)
    with torch.autocast("cpu", torch.bfloat16):
        assert (query.mT @ key).dtype == torch.bfloat16
        assert torch.equal(cross_attention(query, key, value), cross_attention(query, key, value))
        inside = cross_attention(query, key, value)
    assert torch.equal(inside, cross_attention(query, key, value))


def test_cross_attention_without_any_similarity_is_zero_and_not_undefined():
    assert not cross_attention(torch.zeros(1, 4, 5), torch.zeros(1, 4, 6), torch.randn(1, 3, 6)).any()


def test_cross_attention_gradients_are_exact(maps):
    inputs = [x.requires_grad_() for x in maps]
    assert torch.autograd.gradcheck(cross_attention, inputs)


@pytest.mark.parametrize(("layers", "parameters"), [(1, 3 * 8 * 8 + 3 * 16), (2, 5 * 8 * 8 + 5 * 16)])
def test_projections_have_the_layers_asked_for(layers, parameters):
    block = CrossAttention(8, 8, 8, qk_layers=layers)
    assert sum(p.numel() for p in block.parameters()) == parameters
    assert isinstance(block.query[-1], nn.Softplus)
    assert isinstance(block.key[-1], nn.Softplus)


def test_cross_attention_block_takes_maps_of_other_sizes_and_channels():
    block = CrossAttention(8, 5, 4)
    assert block(torch.randn(2, 8, 6, 10), torch.randn(2, 5, 3, 5)).shape == (2, 4, 6, 10)


def test_query_is_the_targets_and_key_and_value_the_sources():
    block = CrossAttention(4, 4, 4).eval()
    target, source = torch.randn(1, 4, 5, 5), torch.randn(1, 4, 5, 5)
    flat = [x.flatten(2) for x in (block.query(target), block.key(source), block.value(source))]
    torch.testing.assert_close(block(target, source).flatten(2), cross_attention(*flat))


def test_attention_convolutions_start_xavier_uniform():
    block = CrossAttention(64, 64, 32)
    bound = (6 / (64 + 32)) ** 0.5
    weight = block.value[0].weight
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def literal_window_attention(block: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """One pixel at a time, from the definition; x [H, W, C]."""
    (height, width, channels), side, shift = x.shape, 7, block.shift
    rows, columns = -(-height // side) * side, -(-width // side) * side
    padded = x.new_zeros(rows, columns, channels)
    padded[:height, :width] = x
    q, k, v = block.qkv(padded).reshape(rows, columns, 3, block.heads, -1).unbind(2)  # [rows, columns, heads, d]

    def place(at: int, length: int) -> tuple[int, int, int]:  # window, position in it, strip that the shift cut
        moved = (at - shift) % length
        return moved // side, moved % side, (moved >= length - side) + (moved >= length - shift) if shift else 0

    out = torch.zeros_like(padded)
    for y in range(rows):
        for z in range(columns):
            (wy, py, sy), (wz, pz, sz) = place(y, rows), place(z, columns)
            scores, values = [], []
            for y2 in range(rows):
                for z2 in range(columns):
                    (wy2, py2, sy2), (wz2, pz2, sz2) = place(y2, rows), place(z2, columns)
                    if (wy, wz) == (wy2, wz2):
                        bias = block.position_bias[(py - py2 + 6) * 13 + pz - pz2 + 6]
                        apart = -100.0 * ((sy, sz) != (sy2, sz2))
                        scores.append((q[y, z] * k[y2, z2]).sum(-1) / q.shape[-1] ** 0.5 + bias + apart)
                        values.append(v[y2, z2])
            weights = torch.stack(scores).softmax(0)  # [T, heads]
            out[y, z] = (weights[:, :, None] * torch.stack(values)).sum(0).flatten()
    return block.project(out)[:height, :width]


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(4, 5), (9, 12)])
def test_window_attention_is_the_literal_one(shift, size):
    block = WindowAttention(6, 2, shift).double()
    nn.init.normal_(block.position_bias)
    x = torch.randn(1, *size, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block(x)[0], literal_window_attention(block, x[0]))


def test_windows_do_not_see_each_other_and_shifted_ones_see_across_the_border():
    x = torch.randn(1, 14, 14, 4)
    moved = x.clone()
    moved[0, 6, 6] += 1  # the last pixel of the first window
    for shift, reached in ((0, (slice(0, 7), slice(0, 7))), (3, (slice(3, 10), slice(3, 10)))):
        block = WindowAttention(4, 1, shift)
        with torch.no_grad():
            changed = (block(x) - block(moved)).abs().amax(-1)[0] > 1e-6
        wanted = torch.zeros(14, 14, dtype=torch.bool)
        wanted[reached] = True
        assert torch.equal(changed, wanted)


def test_position_bias_receives_its_gradient():
    block = WindowAttention(6, 2, 0)
    block(torch.randn(2, 14, 14, 6)).square().sum().backward()
    assert (block.position_bias.grad != 0).all()


def test_stochastic_depth_leaves_out_or_rescales_a_samples_branch():
    layer, x = SwinLayer(4, 1, 0, drop_path=0.2, mlp=False), torch.randn(2000, 2, 2, 4)
    with torch.no_grad():
        branch = layer.eval()(x) - x
        dropped = layer.train()(x) - x
    kept = dropped.abs().amax((1, 2, 3)) > 0
    assert kept.float().mean().item() == pytest.approx(0.8, abs=0.04)
    torch.testing.assert_close(dropped[kept], branch[kept] / 0.8, rtol=1e-3, atol=1e-5)


def test_every_second_layer_is_shifted_and_the_last_drops_most():
    stack = WindowSelfAttention(12, depth=2, heads=6, drop_path=0.2)
    assert [layer.attend.shift for layer in stack.layers] == [0, 3]
    assert [layer.drop_path for layer in stack.layers] == [0.0, 0.2]


@pytest.mark.parametrize(("channels", "heads"), [(18, 6), (144, 6), (64, 4), (25, 5), (7, 1)])
def test_heads_divide_the_channels(channels, heads):
    assert WindowSelfAttention(channels, depth=1, heads=6).layers[0].attend.heads == heads
