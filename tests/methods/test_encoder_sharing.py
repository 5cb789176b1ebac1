"""Cross-stitch, NDDR-CNN and MTAN: initial values, sizes, and how a stitched network equals its parents."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtlbench import methods
from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.training import optimizers
from mtlbench.harness.training.cost import network_cost
from mtlbench.methods import METHODS, Target

NYUD = {"semseg": Target(40, 40), "normals": Target(3, 40), "depth": Target(1, 40)}
PASCAL = {
    "semseg": Target(21, 21),
    "human_parts": Target(7, 7),
    "saliency": Target(1, 2),
    "normals": Target(3, 40),
    "edge": Target(1, 2),
}
STITCHED = ("cross_stitch", "nddr_cnn")
SMALL = "test_resnet"


def build(name, tasks=("semseg", "depth"), backbone=SMALL, head="hrnet", **options):
    stride = {"output_stride": 8} if head == "deeplab" else {}
    targets = {task: {**NYUD, **PASCAL}[task] for task in tasks}
    return methods.build(name, targets, backbone, head=head, **stride, **options)


CASES = [(SMALL, "hrnet"), (SMALL, "deeplab"), ("resnet18", "deeplab")]
CASES += [pytest.param("hrnet_w18_small_v2", "hrnet", marks=pytest.mark.slow)]


@pytest.mark.parametrize(("backbone", "head"), CASES)
@pytest.mark.parametrize("tasks", [("semseg", "depth"), ("semseg", "normals", "depth")], ids="+".join)
def test_cross_stitch_at_alpha_1_and_beta_0_is_its_single_task_parents_bit_for_bit(tasks, backbone, head):
    stitched = build("cross_stitch", tasks, backbone, head, alpha=1.0, beta=0.0).eval()
    state, image = stitched.state_dict(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        together = stitched(image).final
        for task in tasks:
            parent = build("single_task", (task,), backbone, head, seed=1).eval()
            own = {key.replace(f"backbone.{task}.", "backbone."): x for key, x in state.items() if f".{task}." in key}
            parent.load_state_dict({key: x for key, x in own.items() if not key.startswith("units.")})
            assert torch.equal(parent(image).final[task], together[task])


@pytest.mark.parametrize("name", STITCHED)
def test_with_one_task_nothing_is_stitched(name):
    network, single = build(name, ("depth",)).eval(), build("single_task", ("depth",), seed=1).eval()
    assert not list(network.units.parameters()) and len(network.parameter_groups()) == 1
    single.load_state_dict({key.replace("backbone.depth.", "backbone."): x for key, x in network.state_dict().items()})
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(single(image).final["depth"], network(image).final["depth"])


@pytest.mark.parametrize(
    ("tasks", "options", "own", "other"),
    [
        (("semseg", "depth"), {}, 0.9, 0.1),
        (tuple(PASCAL), {"alpha": 0.8}, 0.8, 0.05),
        (("semseg", "depth"), {"alpha": 0.7, "beta": 0}, 0.7, 0.0),
    ],
)
def test_units_start_from_their_shares(tasks, options, own, other):
    for units in build("cross_stitch", tasks, **options).units:
        for unit in units:
            for target, weights in unit.weights.items():
                for source, weight in weights.items():
                    torch.testing.assert_close(
                        weight.detach(), torch.full_like(weight, own if source == target else other)
                    )
    for layer in (layer for layers in build("nddr_cnn", tasks, **options).units for layer in layers):
        channels = layer.targets[tasks[0]][1].num_features
        maps = {task: torch.randn(2, channels, 3, 5) for task in layer.targets}
        with torch.no_grad():
            mixed = layer.eval()(maps)
        for target, x in mixed.items():
            joint = own * maps[target] + sum(other * maps[source] for source in maps if source != target)
            torch.testing.assert_close(x, F.relu(joint / (1 + 1e-5) ** 0.5), atol=1e-6, rtol=1e-5)


def test_a_unit_mixes_unmixed_maps_channel_by_channel():
    unit = build("cross_stitch").units[0][0]
    channels = 32
    maps = {"semseg": torch.randn(1, channels, 2, 3), "depth": torch.randn(1, channels, 2, 3)}
    with torch.no_grad():
        for weights in unit.weights.values():
            for weight in weights.values():
                weight.normal_()
        mixed = unit(maps)
        for target in maps:
            for c in range(channels):
                wanted = sum(unit.weights[target][source][c] * x[:, c] for source, x in maps.items())
                torch.testing.assert_close(mixed[target][:, c], wanted)


@pytest.mark.parametrize(("name", "count"), [("cross_stitch", 10), ("nddr_cnn", 11)])
def test_an_hrnet_has_a_unit_for_each_map(name, count):
    network = build(name, backbone="hrnet_w18_small_v2")
    assert [len(units) for units in network.units] == [1, 1, 2, 3, 4][-len(network.units) :]
    assert sum(len(units) for units in network.units) == count


def test_batch_norms_of_nddr_layers_have_their_own_momentum():
    network = build("nddr_cnn", bn_momentum=0.1)
    assert {m.momentum for m in network.units.modules() if isinstance(m, nn.BatchNorm2d)} == {0.05}
    assert {m.momentum for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


@pytest.mark.parametrize(
    ("backbone", "head", "attention", "blocks"), [("resnet18", "deeplab", 4, 3), ("hrnet_w18_small_v2", "hrnet", 10, 9)]
)
def test_mtan_has_masks_of_its_own_for_each_task_and_shared_blocks(backbone, head, attention, blocks):
    network = build("mtan", backbone=backbone, head=head)
    assert {sum(len(masks[task]) for masks in network.attention) for task in ("semseg", "depth")} == {attention}
    assert sum(len(carry.blocks) for carry in network.carry) == blocks


@pytest.mark.parametrize(("head", "pooled"), [("deeplab", [True, False, False]), ("hrnet", [True, True, True])])
def test_mtan_pools_where_the_stride_grows(head, pooled):
    assert [carry.pooled for carry in build("mtan", backbone="resnet18", head=head).carry] == [[one] for one in pooled]


def test_shared_blocks_of_mtan_see_the_tasks_one_after_another():
    network = build("mtan", ("semseg", "normals", "depth"), backbone="resnet18", head="deeplab").train()
    network(torch.randn(2, 3, 64, 64))
    updates = {m.num_batches_tracked.item() for m in network.carry.modules() if isinstance(m, nn.BatchNorm2d)}
    others = [*network.attention.modules(), *network.backbone.modules()]
    assert updates == {3} and {m.num_batches_tracked.item() for m in others if isinstance(m, nn.BatchNorm2d)} == {1}


@pytest.mark.parametrize("name", STITCHED)
def test_units_learn_at_their_own_rate_through_the_whole_schedule(name):
    network, recipe = build(name, unit_lr=100.0), TrainConfig(epochs=1, lr=0.001, optimizer="sgd")
    (made,) = optimizers.make(network, recipe)
    (rest, units), ids = made.param_groups, {id(p) for p in network.units.parameters()}
    assert {id(p) for p in units["params"]} == ids and not ids & {id(p) for p in rest["params"]}
    assert (rest["lr"], units["lr"]) == (0.001, pytest.approx(0.1))
    assert optimizers.set_learning_rates([made], recipe, 0.5) == rest["lr"]
    assert rest["lr"] < 0.001 and units["lr"] == pytest.approx(100 * rest["lr"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit_lr": 0.0}, r"unit_lr is 0\.0: it is a factor"),
        ({"beta": "much"}, "option beta is 'much'; it takes float"),
        ({"beta": True}, "option beta is True"),
    ],
)
@pytest.mark.parametrize("name", STITCHED)
def test_options_that_are_no_such_numbers_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


@pytest.mark.parametrize("name", [*STITCHED, "mtan"])
def test_a_network_that_shows_no_stages_and_a_head_without_its_strides_are_refused(name):
    with pytest.raises(ValueError, match="'test_efficientnet' cannot be run stage by stage"):
        build(name, backbone="test_efficientnet")
    with pytest.raises(ValueError, match=f"{name}: head deeplab reads maps at stride 8"):
        methods.build(name, NYUD, "resnet18", head="deeplab")


def test_mtan_refuses_stages_of_one_block():
    with pytest.raises(ValueError, match=f"'{SMALL}': stage 1 has no last block"):
        build("mtan")


@pytest.mark.parametrize("name", STITCHED)
def test_every_encoder_is_counted_and_shared(name):
    network = build(name)
    one = sum(p.numel() for p in build("multi_task").backbone.parameters())
    assert network_cost(network, (64, 96))["backbone_parameters"] == 2 * one
    units = sum(p.numel() for p in network.units.parameters())
    assert sum(p.numel() for p in network.shared_parameters()) == 2 * one + units


def test_a_remark_names_the_rate_of_the_units():
    for name in STITCHED:
        assert METHODS[name].remark({}).startswith("units at 100 times the learning rate")
        assert METHODS[name].remark({"unit_lr": 1}).startswith("units at 1 times")
    assert METHODS["mtan"].remark({}) == ""


# method, backbone, head -> parameters for NYUD {semseg, depth}, {semseg, normals, depth} and PASCAL's three and five.
SIZES = """
multi_task resnet50 deeplab 55,769,449 71,895,660 71,892,319 104,143,713
cross_stitch resnet50 deeplab 79,292,841 118,946,284 118,942,943 198,271,841
nddr_cnn resnet50 deeplab 101,591,721 169,107,052 169,103,711 337,581,281
mtan resnet50 deeplab 72,052,713 92,354,860 92,351,519 132,954,785
multi_task resnet18 deeplab 20,631,401 25,354,348 25,351,007 34,795,873
cross_stitch resnet18 deeplab 31,811,753 47,716,012 47,712,671 79,525,921
nddr_cnn resnet18 deeplab 33,221,033 50,883,820 50,880,479 88,318,561
mtan resnet18 deeplab 21,657,865 26,644,508 26,641,167 36,613,425
cross_stitch hrnet_w18_small_v2 hrnet 7,882,795 11,821,568 11,818,045 19,698,743
nddr_cnn hrnet_w18_small_v2 hrnet 8,305,435 12,770,198 12,766,675 22,328,693
mtan hrnet_w18_small_v2 hrnet 4,813,529 4,950,355 4,946,832 5,219,400
cross_stitch resnet18 hrnet 24,245,225 36,353,900 36,341,407 60,560,673
nddr_cnn resnet18 hrnet 25,654,505 39,521,708 39,509,215 69,353,313
mtan resnet18 hrnet 14,091,337 15,282,396 15,269,903 17,648,177
cross_stitch resnet50 hrnet 76,703,145 114,999,020 114,949,087 191,548,513
nddr_cnn resnet50 hrnet 99,002,025 165,159,788 165,109,855 330,857,953
mtan resnet50 hrnet 69,463,017 88,407,596 88,357,663 126,231,457
"""
SETS = [
    (NYUD, ("semseg", "depth")),
    (NYUD, ("semseg", "normals", "depth")),
    (PASCAL, ("semseg", "human_parts", "normals")),
    (PASCAL, tuple(PASCAL)),
]
ROWS = [
    pytest.param(line, marks=pytest.mark.slow if "resnet50" in line else [], id=" ".join(line.split()[:3]))
    for line in SIZES.strip().splitlines()
]


@pytest.mark.slow
@pytest.mark.parametrize("line", ROWS)
def test_parameter_counts(line):
    name, backbone, head, *counts = line.split()
    stride = 8 if head == "deeplab" else 32
    for (targets, tasks), count in zip(SETS, counts, strict=True):
        with torch.device("meta"):
            network = methods.build(
                name, {task: targets[task] for task in tasks}, backbone, head=head, output_stride=stride
            )
        assert sum(p.numel() for p in network.parameters()) == int(count.replace(",", "")), tasks


@pytest.mark.parametrize(
    ("backbone", "output_stride", "head", "published"),
    [
        ("resnet50", 8, "deeplab", True),
        ("resnet18.tv_in1k", 8, "deeplab", True),
        ("resnet18", 16, "deeplab", False),
        ("resnet18", 8, "hrnet", False),
        ("hrnet_w18_small_v2", 32, "hrnet", False),
    ],
)
@pytest.mark.parametrize("name", [*STITCHED, "mtan"])
def test_only_the_published_networks_count_as_published(name, backbone, output_stride, head, published):
    assert METHODS[name].is_as_published({"head": head}, backbone, output_stride) == published
    assert METHODS["multi_task"].is_as_published({"head": head}, backbone, output_stride)
