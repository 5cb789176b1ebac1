"""ATRC: the kinds of context against their definitions, genotypes, and the search for one."""

import math

import pytest
import torch
from torch import nn

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.atrc import PUBLISHED, choose_genotype
from mtlbench.methods.parts.context import SearchedContext, class_tokens, local_attention, token_attention

TARGETS = {
    "NYUD": {"semseg": Target(40, 40), "depth": Target(1, 40), "normals": Target(3, 40), "edge": Target(1, 2)},
    "PASCAL": {"semseg": Target(21, 21), "human_parts": Target(7, 7), "normals": Target(3, 40)},
}


def build(*tasks, database="NYUD", backbone="test_efficientnet", **options):
    targets = {task: TARGETS[database][task] for task in tasks or ("semseg", "depth")}
    return methods.build("atrc", targets, backbone, **options)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("genotype", "parameters"),
    [
        ("global", (4_253_296, 4_482_450, 4_252_140, 4_481_566)),
        ("local", (4_253_296, 4_482_450, 4_252_140, 4_481_566)),
        ("tlabel", (4_421_856, 4_735_290, 4_415_551, 4_720_314)),
        ("slabel", (4_421_856, 4_735_290, 4_415_551, 4_720_314)),
        ("published", (4_421_856, 4_735_290, 4_404_199, 4_708_962)),
        ("search", (4_512_360, 4_952_538, 4_506_055, 4_937_562)),
    ],
)
def test_parameters_are_the_published_ones(genotype, parameters):
    sets = [
        ("NYUD", ("semseg", "depth")),
        ("NYUD", ("semseg", "depth", "normals")),
        ("PASCAL", ("semseg", "normals")),
        ("PASCAL", ("semseg", "human_parts", "normals")),
    ]
    with torch.device("meta"):
        networks = [
            build(*tasks, database=database, backbone="hrnet_w18_small_v2", genotype=genotype)
            for database, tasks in sets
        ]
    assert tuple(map(count, networks)) == parameters


def literal_local_attention(query, key, value, window=9):
    """One pixel at a time; a position outside the image has similarity 0 and value 0."""
    (_, d, height, width), reach = query.shape, window // 2
    out = torch.zeros_like(query)
    for y in range(height):
        for x in range(width):
            scores, values = [], []
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    at = (slice(None), slice(None), y + dy, x + dx)
                    similarity = (query[:, :, y, x] * key[at]).sum(1) if inside else query.new_zeros(len(query))
                    scores.append(similarity / d**0.5)
                    values.append(value[at] if inside else torch.zeros_like(value[:, :, 0, 0]))
            weights = torch.stack(scores).softmax(0)  # [window^2, B]
            out[:, :, y, x] = (weights[:, :, None] * torch.stack(values)).sum(0)
    return out


@pytest.mark.parametrize("size", [(8, 8), (11, 18), (3, 5)])
def test_local_attention_and_its_gradients_are_the_literal_ones(size):
    inputs = [torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    got, wanted = local_attention(*inputs), literal_local_attention(*inputs)
    torch.testing.assert_close(got, wanted)
    direction = torch.randn_like(got)
    for mine, literal in zip(
        torch.autograd.grad(got, inputs, direction), torch.autograd.grad(wanted, inputs, direction), strict=True
    ):
        torch.testing.assert_close(mine, literal)


def test_local_attention_keeps_a_few_maps_for_the_backward_pass_and_not_81():
    inputs = [torch.randn(1, 33, 64, 80, requires_grad=True) for _ in range(3)]
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        local_attention(*inputs)
    maps = sum(kept.values()) / (inputs[0].numel() * 4)
    assert maps < 20


def test_token_attention_is_the_literal_one():
    query, key, value = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 6, 1), torch.randn(2, 4, 6, 1)
    got = token_attention(query, key, value)
    for y in range(3):
        for x in range(5):
            weights = (torch.einsum("bd,bdk->bk", query[:, :, y, x], key[..., 0]) / 2).softmax(1)
            torch.testing.assert_close(got[:, :, y, x], torch.einsum("bk,bdk->bd", weights, value[..., 0]))


def test_class_tokens_are_means_over_each_classs_pixels():
    features = torch.randn(1, 5, 2, 4)
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2])
    probability = torch.stack([(labels == k) / (labels == k).sum() for k in range(3)])[None].float()
    tokens = class_tokens(features, probability)
    assert tokens.shape == (1, 5, 3, 1)
    for k in range(3):
        torch.testing.assert_close(tokens[0, :, k, 0], features.flatten(2)[0, :, labels == k].mean(1))


def test_published_genotypes_are_complete_squares():
    for table in PUBLISHED.values():
        assert all(set(row) == set(table) for row in table.values())


def test_the_published_genotype_is_chosen_by_depth_and_restricted_to_the_tasks():
    name, nyud = choose_genotype("published", ["semseg", "depth"])
    assert name == "published_nyud"
    assert nyud == {"semseg": {"semseg": "tlabel", "depth": "tlabel"}, "depth": {"semseg": "slabel", "depth": "tlabel"}}
    name, pascal = choose_genotype("published", ["semseg", "normals"])
    assert name == "published_pascal"
    assert pascal["semseg"] == {"semseg": "tlabel", "normals": "none"}


@pytest.mark.parametrize(
    ("option", "tasks", "message"),
    [
        ("published", ["depth", "human_parts"], "published_nyud has no context for target depth, source human_parts"),
        ("none", ["depth"], "genotype 'none' is not known"),
        ({"depth": {"depth": "best"}}, ["depth"], r"genotype\[depth\]\[depth\] is 'best'; kinds are none, global"),
        ({"depth": {}}, ["depth"], "given has no context for target depth, source depth"),
    ],
)
def test_a_genotype_that_does_not_fit_is_named(option, tasks, message):
    with pytest.raises(ValueError, match=message):
        choose_genotype(option, tasks)


def test_label_logits_are_those_that_some_context_reads():
    image = torch.randn(1, 3, 32, 64)
    rows = {"semseg": {"semseg": "none", "depth": "slabel"}, "depth": {"semseg": "global", "depth": "local"}}
    logits = build(genotype=rows).eval()(image).label_logits
    assert {task: tuple(x.shape) for task, x in logits.items()} == {"depth": (1, 40, 8, 16)}
    rows["semseg"]["depth"] = "tlabel"
    assert set(build(genotype=rows).eval()(image).label_logits) == {"semseg"}
    assert build(genotype="global").eval()(image).label_logits == {}


def test_without_any_source_a_task_keeps_to_itself():
    rows = {"semseg": {"semseg": "none", "depth": "none"}, "depth": {"semseg": "none", "depth": "none"}}
    network, image = build(genotype=rows).eval(), torch.randn(1, 3, 32, 64)
    assert count(network.context) == 0
    before = network(image).final
    nn.init.zeros_(network.trunk["depth"][0].weight)
    after = network(image).final
    assert torch.equal(before["semseg"], after["semseg"])
    assert not torch.equal(before["depth"], after["depth"])


def test_context_starts_without_effect():
    network, image = build().eval(), torch.randn(1, 3, 32, 64)
    before = network(image).final
    for parameter in network.context.parameters():
        nn.init.uniform_(parameter)
    after = network(image).final
    assert all(torch.equal(before[task], after[task]) for task in before)


def test_losses_of_label_logits_stop_before_the_backbone_and_final_losses_reach_their_branch():
    network, image = build(), torch.randn(2, 3, 32, 64)
    sum(x.square().mean() for x in network(image).label_logits.values()).backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    network.zero_grad()
    for norm in network.project.values():
        nn.init.ones_(norm[1].weight)
    sum(x.square().mean() for x in network(image).final.values()).backward()
    for branch in network.label_branch.values():
        assert branch[0].weight.grad.abs().max() > 0


def test_findings_say_which_genotype_was_used_and_build_the_same_network():
    found = build("semseg", "depth", "edge").findings()
    assert found["genotype_from"] == "published_nyud"
    again = build("semseg", "depth", "edge", genotype=found["genotype"])
    assert again.findings() == {"genotype": found["genotype"], "genotype_from": "given"}


def searched() -> SearchedContext:
    return SearchedContext(("none", "global", "local", "tlabel", "slabel"), 8, 4)


def test_a_search_samples_kinds_by_their_probability():
    pair = searched()
    with torch.no_grad():
        pair.alpha.copy_(torch.tensor([0.4, 0.3, 0.2, 0.05, 0.05]).log())
        pair.temperature.fill_(0.05)
        drawn = torch.stack([pair.sample() for _ in range(4000)])
    torch.testing.assert_close(drawn.sum(1), torch.ones(4000))
    frequency = torch.bincount(drawn.argmax(1), minlength=5) / 4000
    torch.testing.assert_close(frequency, pair.alpha.detach().softmax(0), rtol=0, atol=0.03)
    assert drawn.amax(1).median() > 0.999  # cold samples are choices


def test_a_clear_pair_is_decided_for_good():
    pair = searched()
    with torch.no_grad():
        pair.alpha.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]))  # local leads by 0.26
        pair.at(0.5)
        assert not pair.decided
        pair.alpha[2] = 1.5  # by 0.37
        pair.at(0.6)
        assert pair.decided
        pair.alpha[4] = 9.0
        pair.at(0.7)
    assert pair.found() == "local"
    assert pair.sample().tolist() == pair.best().tolist() == [0, 0, 1, 0, 0]


def test_a_searched_pair_in_evaluation_is_its_best_kind_alone():
    pair, target, source = searched().eval(), torch.randn(1, 8, 6, 6), torch.randn(1, 8, 6, 6)
    tokens = torch.randn(1, 8, 3, 1)

    def look(kind: str) -> torch.Tensor:
        return source if kind in ("global", "local") else tokens

    for index, kind in enumerate(pair.kinds):
        with torch.no_grad():
            pair.alpha.zero_()[index] = 1.0
            wanted = torch.zeros(1, 4, 6, 6) if kind == "none" else pair.pool[kind](target, look(kind))
            torch.testing.assert_close(pair(target, look), wanted)


def test_the_search_cools_and_turns_the_sign_of_the_entropy_at_a_quarter():
    network, image = build(genotype="search").train(), torch.randn(2, 3, 32, 64)
    entropy = (3 * math.log(5) + 2 * math.log(4) - math.log(5)) / 4  # two pairs of 5 kinds, two of 4
    for progress, temperature, weight in ((0.0, 1.0, -0.02), (0.25, 0.7625, 0.0), (1.0, 0.05, 0.06)):
        network.at(progress)
        assert {round(pair.temperature.item(), 4) for pair in network._searched()} == {temperature}
        assert network(image).penalty.item() == pytest.approx(weight * entropy, abs=1e-6)


def test_the_architecture_has_an_optimiser_of_its_own():
    network = build(genotype="search")
    weights, architecture = network.parameter_groups()
    assert sorted(p.numel() for p in architecture["params"]) == [4, 4, 5, 5]
    assert {key: architecture[key] for key in ("optimizer", "lr", "weight_decay", "schedule")} == {
        "optimizer": "adam", "lr": 5e-4, "weight_decay": 0.0, "schedule": "constant",
    }  # fmt: skip
    assert set(weights) == {"params"}


def test_a_search_finds_a_genotype_that_a_network_can_be_built_from():
    network = build("semseg", "depth", "edge", genotype="search")
    with torch.no_grad():
        for index, pair in enumerate(network._searched()):
            pair.alpha[index % len(pair.kinds)] = 2.0
    found = network.findings()
    assert found["genotype_from"] == "search"
    assert {kind for row in found["genotype"].values() for kind in row.values()} > {"none", "global", "local"}
    assert build("semseg", "depth", "edge", genotype=found["genotype"]).findings()["genotype"] == found["genotype"]
