"""Counted costs: the published sizes, closed forms of small networks, and the command that prints them."""

import json
from functools import cache

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cells import backbone_for
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.tasks.factories import depth, normals, semseg
from mtlbench.harness.cli.app import app
from mtlbench.harness.inspect.describe import describe, on_meta, table
from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.training.cost import Tally, count_step, fitted, network_cost
from mtlbench.methods import METHODS
from mtlbench.methods.method import Method, Outputs

SETS = {
    ("nyud", ("semseg", "depth")): {
        "multi_task": (4_019_251, 12.8),
        "pad_net": (7_019_056, 70.2),
        "mti_net": (8_578_179, 17.1),
        "atrc": (4_421_856, None),  # published at 425 x 560, which no other method takes
        "sca_mtl": (25_760_549, 78.6),
    },
    ("nyud", ("semseg", "depth", "normals")): {
        "multi_task": (4_093_774, 14.2),
        "pad_net": (12_091_318, 167.6),
        "mti_net": (12_653_616, 22.2),
        "atrc": (4_735_290, None),
        "sca_mtl": (39_965_151, 121.6),
    },
    ("pascal_context", ("semseg", "normals")): {
        "multi_task": (4_014_644, 10.8),
        "pad_net": (7_010_318, 59.8),
        "mti_net": (8_568_914, 14.5),
        "atrc": (4_404_199, 17.1),
        "sca_mtl": (25_732_924, 66.9),
    },
    ("pascal_context", ("semseg", "human_parts", "normals")): {
        "multi_task": (4_090_251, 12.0),
        "pad_net": (12_084_636, 142.9),
        "mti_net": (12_646_531, 18.9),
        "atrc": (4_708_962, 21.8),
        "sca_mtl": (39_944_026, 103.8),
    },
}
BACKBONE = "hrnet_w18_small_v2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "tasks"), SETS, ids=lambda value: value if isinstance(value, str) else len(value)
)
def test_parameters_and_multiply_accumulates_are_those_of_the_published_networks(benchmark, tasks):
    made = BENCHMARKS[benchmark]()
    for method, (parameters, gmac) in SETS[benchmark, tasks].items():
        network = on_meta(method, {task: made.tasks[task] for task in tasks}, backbone=BACKBONE)
        cost = network_cost(network, made.size)
        assert cost["parameters"] == parameters
        assert cost["backbone_parameters"] == 3_860_720
        if gmac is not None:
            assert cost["macs"] / 1e9 == pytest.approx(gmac, abs=0.051), method


class Toy(Method):
    """One 1x1 convolution on the image: all costs are plain to see."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.backbone = nn.Identity()
        self.predict = nn.Conv2d(3, channels, 1, bias=False)

    def forward(self, image):
        return Outputs({"depth": self.predict(image)}, [], {})


DEPTH = {"depth": depth(0.7, 10.0)}


def toy():
    return Toy(1).to("meta")


def test_multiply_accumulates_of_a_convolution_are_pixels_times_weights():
    cost = network_cost(toy(), (32, 64))
    assert cost == {"parameters": 3, "backbone_parameters": 0, "macs": 32 * 64 * 3}


class Does(Toy):
    def __init__(self, what) -> None:
        super().__init__(1)
        self.what = what

    def forward(self, image):
        self.what(image)
        return super().forward(image)


READS = {
    "item": lambda image: image.mean().item(),
    "if": lambda image: 1 if image.mean() > 0 else 2,
    "list": lambda image: image[0, 0, 0].tolist(),
    "numpy": lambda image: image.numpy(),
    "cpu": lambda image: image.cpu(),
    "mask": lambda image: image[image > 0],
    "unique": lambda image: image.unique(),
}


@pytest.mark.parametrize("read", READS)
def test_a_method_that_reads_values_on_the_host_is_named(read):
    with pytest.raises(ValueError, match=r"Does: its cost cannot be counted.*values of tensors"):
        network_cost(Does(READS[read]), (32, 64))


def boom(image):
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (boom, "^boom$"),
        (lambda image: image + image[..., 1:], "broadcast"),
        (lambda image: image @ image, "batch2|size"),
    ],
)
def test_a_mistake_in_the_forward_pass_is_told_as_it_is(mistake, expected):
    with pytest.raises(RuntimeError, match=expected):
        network_cost(Does(mistake), (32, 64))


def test_counting_leaves_the_network_where_and_as_it_was():
    network = Toy(1).train()
    network_cost(network, (32, 64))
    assert network.training
    assert network.predict.weight.device.type == "cpu"


def test_memory_grows_by_the_same_for_every_image_and_weights_and_moments_come_on_top():
    one, two, three = (count_step(toy(), DEPTH, (32, 64), TrainConfig(epochs=1, batch=n)).peak_bytes for n in (1, 2, 3))
    assert two - one == three - two > 0
    sgd = count_step(toy(), DEPTH, (32, 64), TrainConfig(epochs=1, batch=1, optimizer="sgd")).peak_bytes
    assert one - sgd == 3 * 4  # a second moment of 3 weights
    micro = count_step(toy(), DEPTH, (32, 64), TrainConfig(epochs=1, batch=2, accumulate=2)).peak_bytes
    assert micro == one


def test_live_memory_is_that_of_the_tensors_that_are_held():
    weight = torch.zeros(10, device="meta")
    with Tally([weight]) as tally:
        a = torch.zeros(100, device="meta")  # 400 bytes
        assert (tally.live, tally.peak) == (400, 400)
        view = a[10:]
        weight.add_(1)
        assert (tally.live, tally.operators) == (400, 2)
        b = a + 1
        assert tally.live == 800
        del a, b
        assert tally.live == 400  # held by its view
        del view
        assert tally.live == 0
    assert tally.peak == 800


def test_a_step_leaves_no_gradient_and_no_tensor_behind():
    network = on_meta("multi_task", DEPTH, backbone="test_efficientnet")
    first = count_step(network, DEPTH, (64, 96), TrainConfig(epochs=1, batch=2))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert count_step(network, DEPTH, (64, 96), TrainConfig(epochs=1, batch=2)) == first


@cache
def small(method):
    tasks = ("normals", "semseg", "depth")[: METHODS[method].task_counts[1]]
    return next(describe([method], BENCHMARKS["rooms"](size=(64, 96)), [tasks],
                         backbone=backbone_for(method), batch=2))  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_described_where_tasks_have_to_learn_from_labels(method):
    row = small(method)
    weights_and_moments = 4 * 3 * row.parameters
    assert row.step_bytes > weights_and_moments + 4 * 2 * 3 * 64 * 96
    assert row.step_operators > 100
    assert row.macs > 0


def test_tasks_that_learn_are_completed_from_labels_of_their_kind():
    given = {"normals": normals(), "semseg": semseg(5)}
    assert given["normals"].label_loss.centroids is None
    assert len(fitted(given)["normals"].label_loss.centroids) == 40
    assert fitted(given)["semseg"] is given["semseg"]


@pytest.mark.slow
def test_a_method_of_one_task_is_described_once_a_task():
    rows = describe(["single_task", "multi_task"], BENCHMARKS["rooms"](size=(32, 64)),
                    [("semseg", "depth"), ("depth", "normals")], backbone="test_efficientnet", batch=1)  # fmt: skip
    assert [(row.method, row.tasks) for row in rows] == [
        ("single_task", ("semseg",)), ("single_task", ("depth",)), ("single_task", ("normals",)),
        ("multi_task", ("semseg", "depth")), ("multi_task", ("depth", "normals")),
    ]  # fmt: skip


def test_a_network_of_one_size_is_described_at_the_size_of_the_images():
    of_one = [next(describe(["multi_task"], BENCHMARKS["rooms"](size=size), [("depth",)], backbone="test_coatnet",
                            batch=1)) for size in ((64, 96), (96, 128))]  # fmt: skip
    assert of_one[0].macs < of_one[1].macs / 1.5


def test_the_table_has_a_line_a_network_and_its_numbers_add_up():
    titles, line = table([small("pad_net")]).splitlines()
    assert titles.split()[:5] == ["method", "tasks", "parameters", "backbone", "rest"]
    method, tasks, *numbers = line.split()
    total, backbone, rest = (int(number.replace(",", "")) for number in numbers[:3])
    assert (method, tasks) == ("pad_net", "normals+semseg+depth")
    assert total == backbone + rest == small("pad_net").parameters


def mtlbench(*arguments):
    return CliRunner().invoke(app, ["describe", *arguments])


def test_the_command_prints_json_with_the_size_and_tasks_asked_for():
    result = mtlbench("multi_task", "--size", "32x64", "--tasks", "depth", "--backbone", "test_efficientnet", "--json")
    assert result.exit_code == 0
    (row,) = json.loads(result.stdout)
    assert (row["method"], row["tasks"], row["batch"]) == ("multi_task", ["depth"], 8)
    larger = mtlbench("multi_task", "--size", "64x64", "--tasks", "depth", "--backbone", "test_efficientnet", "--json")
    assert json.loads(larger.stdout)[0]["macs"] == pytest.approx(2 * row["macs"], rel=1e-3)  # but for channel attention


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["resnet"], "unknown method 'resnet'; known: single_task"),
        (["--benchmark", "kitti"], "unknown benchmark 'kitti'; known: rooms"),
        (["--tasks", "depth,flow"], "rooms has no task 'flow'; it has: semseg"),
        (["--size", "33x64"], "must be multiples of 32"),
        (["--size", "64"], "--size 64: write ROWSxCOLUMNS"),
        (["multi_task", "--backbone", "hrnet_w17"], "unknown backbone 'hrnet_w17'"),
        (
            ["multi_task", "--backbone", "inception_v3", "--size", "96x96"],
            "backbone 'inception_v3' gives maps of [[20, ",
        ),
        (["multi_task", "--backbone", "halonet26t", "--size", "64x96"], "does not take images of 64 x 96"),
    ],
)
def test_what_does_not_exist_is_one_line_and_status_2(arguments, expected):
    result = mtlbench(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_methods_that_do_not_fit_the_backbone_are_left_out_with_the_reason_unless_they_are_asked_for():
    rest = ("--size", "32x64", "--tasks", "depth", "--backbone", "test_efficientnet", "--json")
    result = mtlbench(*rest)
    assert result.exit_code == 0 and "multi_task" in {row["method"] for row in json.loads(result.stdout)}
    # On a busy machine it also says how far it is: "methods: 1 of 10".
    left_out = [line for line in result.stderr.splitlines() if not line.startswith("methods: ")]
    assert [line.split()[0] for line in left_out] == ["cross_stitch", "nddr_cnn", "mtan", "jtrl"]
    *by_stage, of_two = left_out
    assert all("is left out: backbone 'test_efficientnet' cannot be run stage by stage" in line for line in by_stage)
    assert "jtrl takes exactly 2 tasks, and not depth" in of_two
    assert mtlbench("mtan", *rest).exit_code == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_measuring_without_a_gpu_says_so():
    result = mtlbench("multi_task", "--measure")
    assert (result.exit_code, "sees none here" in result.stderr) == (2, True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_counted_memory_is_what_the_gpus_allocator_gives_out(method):
    """The allocator rounds up and convolutions take work space: 0 to 3 % more was seen on an H100."""
    rows = list(
        describe([method], BENCHMARKS["nyud"](), [("semseg", "depth")], backbone=BACKBONE, batch=8, measured=True)
    )
    for row in rows:
        assert 0.99 < row.measured_bytes / row.step_bytes < 1.05
        assert row.measured_seconds > 0
