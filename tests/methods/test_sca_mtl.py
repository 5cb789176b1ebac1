"""SCA-MTL: Eq. (3) CTAM, Eq. (4) CSAM, Eq. (5) aggregation, FPMA, and the switches of the ablation."""

from itertools import permutations, product

import pytest
import torch
from torch import nn

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.parts.pyramid import FPM, convolutional_body
from mtlbench.methods.sca_mtl import CSAM, CTAM, FPMA, Aggregation, SelfAttention, csam_channels

TASKS = ["semseg", "normals", "depth"]
CLASSES = {"NYUD": {"semseg": 40, "depth": 1, "normals": 3}, "PASCAL": {"semseg": 21, "human_parts": 7, "normals": 3}}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def build(database="NYUD", tasks=("semseg", "depth"), **options):
    """On the meta device: shapes without values, in no time."""
    channels = CLASSES[database]
    with torch.device("meta"):
        return methods.build("sca_mtl", {task: Target(channels[task], channels[task]) for task in tasks}, **options)


@pytest.mark.parametrize(
    ("database", "tasks", "whole", "parts"),
    [
        ("NYUD", ("semseg", "depth"), 25_760_549, (260_562, 9_106_544, 4_310_280, 5_378_618, 2_843_825)),
        ("NYUD", ("semseg", "depth", "normals"), 39_965_151, (260_562, 13_650_296, 8_738_280, 9_208_473, 4_246_820)),
        ("PASCAL", ("semseg", "normals"), 25_732_924, (260_562, 9_097_296, 4_310_280, 5_378_618, 2_825_448)),
        (
            "PASCAL", ("semseg", "human_parts", "normals"), 39_944_026,
            (260_562, 13_643_224, 8_738_280, 9_208_473, 4_232_767),
        ),
    ],
)  # fmt: skip
def test_parameters_are_the_published_ones_without_the_unused(database, tasks, whole, parts):
    network = build(database, tasks)
    assert count(network) == whole
    groups = (network.self_attention, network.heads, network.cross_task, network.propagate)
    assert (*map(count, groups), count(network.cross_scale) + count(network.aggregation)) == parts


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"attention": False, "fpma": False, "ctam": False, "csam": False}, 8_578_179),
        ({"fpma": False, "ctam": False, "csam": False}, 22_927_373 - 1_080),
        ({"ctam": False, "csam": False}, 23_183_921 - 3_096),
        ({"csam": False}, 23_528_441 - 3_096),
        ({}, 25_763_645 - 3_096),
    ],
)
def test_parameters_of_the_ablations_rows_are_the_published_ones_without_the_unused(options, parameters):
    assert count(build(**options)) == parameters


@pytest.mark.parametrize("switches", list(product([False, True], repeat=4)), ids=str)
def test_every_combination_of_switches_trains_every_parameter(switches):
    options = dict(zip(("attention", "fpma", "ctam", "csam"), switches, strict=True))
    network = methods.build(
        "sca_mtl", {"semseg": Target(5, 5), "depth": Target(1, 40)}, backbone="test_efficientnet", **options
    )
    image = torch.randn(2, 3, 32, 64)
    outputs = network(image)
    assert outputs.final["semseg"].shape == (2, 5, 32, 64)
    assert len(outputs.auxiliary) == 4
    maps = [*outputs.final.values(), *(x for scale in outputs.auxiliary for x in scale.values())]
    sum(x.square().mean() for x in maps).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_self_attention_comes_before_the_map_in_the_channels():
    block, x = SelfAttention(12, mlp=False).eval(), torch.randn(2, 12, 9, 8)
    out = block(x)
    assert out.shape == (2, 24, 9, 8)
    assert torch.equal(out[:, 12:], x)
    assert torch.equal(out[:, :12], block.attention(x))


@pytest.mark.parametrize("fuse", ["basicblock_shared", "conv1_per_task"])
def test_ctam_is_the_literal_loop(fuse):
    """Eq. (3)."""
    ctam = CTAM(TASKS, 4, qk_layers=2, fuse=fuse).eval()
    features = {task: torch.randn(2, 4, 5, 6) for task in TASKS}
    refined = ctam(features)
    for target in TASKS:
        cams = []
        for source in reversed(TASKS):
            if source != target:
                cams += [features[target], ctam.attention[target][source](features[target], features[source])]
        fused = (ctam.shared or ctam.own[target])(torch.cat(cams, dim=1))
        torch.testing.assert_close(refined[target], features[target] + fused)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_permuting_the_tasks_of_ctam_permutes_its_outputs(order):
    ctam, permuted = (CTAM(TASKS, 4, qk_layers=2, fuse="basicblock_shared").eval() for _ in range(2))
    renamed = {task: TASKS[order[i]] for i, task in enumerate(TASKS)}
    with torch.no_grad():
        # Where the shared block treats both of its inputs alike, nothing tells the tasks apart but their weights.
        for convolution in (ctam.shared.body[0], ctam.shared.shortcut[0]):
            convolution.weight[:, 8:] = convolution.weight[:, :8]
    permuted.shared.load_state_dict(ctam.shared.state_dict())
    for target in TASKS:
        for source in set(TASKS) - {target}:
            weights = ctam.attention[target][source].state_dict()
            permuted.attention[renamed[target]][renamed[source]].load_state_dict(weights)
    features = {task: torch.randn(1, 4, 5, 5) for task in TASKS}
    with torch.no_grad():
        wanted = ctam(features)
        got = permuted({renamed[task]: x for task, x in features.items()})
    for task in TASKS:
        torch.testing.assert_close(got[renamed[task]], wanted[task])


def test_ctam_runs_its_shared_block_once_a_task():
    ctam, calls = CTAM(TASKS, 4, qk_layers=2, fuse="basicblock_shared"), []
    ctam.shared.register_forward_hook(lambda *_: calls.append(1))
    ctam({task: torch.randn(2, 4, 5, 5) for task in TASKS})
    assert len(calls) == len(TASKS)


def test_ctam_of_one_task_is_the_identity_and_has_no_parameters():
    ctam, x = CTAM(["depth"], 4, qk_layers=2, fuse="basicblock_shared"), torch.randn(1, 4, 5, 5)
    assert ctam({"depth": x})["depth"] is x
    assert count(ctam) == 0


def test_ctams_norms_have_the_published_momentum():
    shared = CTAM(TASKS, 4, qk_layers=2, fuse="basicblock_shared").shared
    assert [m.momentum for m in shared.body if isinstance(m, nn.BatchNorm2d)] == [0.01, 0.01]
    assert shared.shortcut[1].momentum == 0.1


CHANNELS = (4, 6, 8, 10)


def pyramid() -> list[torch.Tensor]:
    return [torch.randn(2, c, 16 >> k, 24 >> k) for k, c in enumerate(CHANNELS)]


def test_csam_is_the_literal_loop():
    """Eq. (4)."""
    csam, maps = CSAM(CHANNELS, qk_layers=2).eval(), pyramid()
    refined = csam(maps)
    assert [x.shape[1] for x in refined] == csam_channels(CHANNELS)
    for k in range(3):
        cams = []
        for coarser in range(k + 1, 4):
            source = csam.match[k][coarser - k - 1](maps[coarser])
            assert source.shape[-2:] == maps[coarser].shape[-2:]
            cams += [maps[k], csam.attention[k](maps[k], source)]
        torch.testing.assert_close(refined[k], torch.cat(cams, dim=1))


def test_csam_passes_the_coarsest_scale_unchanged():
    maps = pyramid()
    assert CSAM(CHANNELS, qk_layers=2)(maps)[-1] is maps[-1]


def test_csam_has_1080_channels_on_the_papers_backbone():
    assert csam_channels((36, 72, 144, 288)) == [216, 288, 288, 288]


def test_a_finer_scale_does_not_reach_a_coarser_one_in_csam():
    csam, maps = CSAM(CHANNELS, qk_layers=2).eval(), pyramid()
    before = csam(maps)
    after = csam([maps[0] + 1, *maps[1:]])
    assert not torch.equal(before[0], after[0])
    assert all(torch.equal(x, y) for x, y in zip(before[1:], after[1:], strict=True))


def test_fpma_without_attention_is_mti_nets_propagation_with_an_even_mask():
    fpma = FPMA(TASKS, 8, mlp=False).eval()
    fpm = FPM(TASKS, 8, convolutional_body(24), mask="author").eval()
    for logits in (fpma.body.norm, fpm.body[-1]):
        nn.init.zeros_(logits.weight)
        nn.init.zeros_(logits.bias)
    fpm.reduce.load_state_dict(fpma.reduce.state_dict())
    fpm.excite.load_state_dict(fpma.excite.state_dict())
    features = {task: torch.randn(1, 8, 9, 7) for task in TASKS}
    wanted, got = fpm(features), fpma(features)
    selected = fpma.reduce(torch.cat(list(features.values()), dim=1) / len(TASKS))
    for task in TASKS:
        torch.testing.assert_close(got[task], wanted[task])
        torch.testing.assert_close(got[task], fpma.excite[task](selected) + features[task])


def test_aggregation_predicts_at_the_finest_scale():
    """Eq. (5)."""
    assert Aggregation(CHANNELS, 7)(pyramid()).shape == (2, 7, 16, 24)


def test_the_papers_text_makes_a_smaller_network_than_the_authors_code():
    paper = build(qk_layers=1, ctam_fuse="conv1_per_task")
    channels, blocks = (36, 72, 144, 288), 2
    ctam = sum(2 * (2 * c * c + c) + blocks * (3 * c * c + 6 * c) for c in channels)
    assert count(paper.cross_task) == ctam
    assert count(paper) < count(build())


def test_mlp_restores_the_second_half_of_swins_layers():
    def half(c: int) -> int:
        return 2 * c + 4 * c * c + 4 * c + 4 * c * c + c

    added = sum(2 * half(c) for c in (18, 36, 72, 144)) + sum(half(2 * c) for c in (72, 144, 288))
    assert count(build(mlp=True)) - count(build()) == added
