"""What must hold of every method in METHODS, whatever it does inside."""

import subprocess
import sys
from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import nn

from cells import backbone_for
from mtlbench import methods
from mtlbench.methods import METHODS, Outputs, Target

TARGETS = {
    "semseg": Target(14, 14),
    "human_parts": Target(7, 7),
    "saliency": Target(1, 2),
    "normals": Target(3, 40),
    "edge": Target(1, 2),
    "depth": Target(1, 40),
}
NYUD = ("semseg", "depth", "normals", "edge")
PASCAL = ("semseg", "human_parts", "saliency", "normals", "edge")

# Every method as it comes, then its options.
VARIANTS = [(name, {}) for name in METHODS] + [
    ("multi_task", {"head": "fcn_atrc"}),
    ("multi_task", {"head": "deeplab"}),
    ("cross_stitch", {"head": "deeplab", "alpha": 0.8, "beta": 0.05}),
    ("nddr_cnn", {"head": "deeplab"}),
    ("mtan", {"head": "deeplab"}),
    ("mti_net", {"fpm_mask": "per_task"}),
    ("mti_net", {"width": "doubled"}),
    ("atrc", {"genotype": "global"}),
    ("atrc", {"genotype": "local"}),
    ("atrc", {"genotype": "slabel"}),
    ("atrc", {"genotype": "search"}),
    ("sca_mtl", {"qk_layers": 1, "ctam_fuse": "conv1_per_task", "mlp": True}),
]
every_variant = pytest.mark.parametrize(
    "variant", range(len(VARIANTS)), ids=[name + "".join(f"-{v}" for v in o.values()) for name, o in VARIANTS]
)


def tasks_for(name: str) -> tuple[str, ...]:
    return ("normals",) if methods.one_task(name) else ("semseg", "depth")


def make(name, options, tasks=None, backbone=None, **kwargs):
    backbone = backbone or backbone_for(name)
    chosen = tasks or tasks_for(name)
    if options.get("head") == "deeplab":
        kwargs["output_stride"] = 8
    return methods.build(name, {task: TARGETS[task] for task in chosen}, backbone, **kwargs, **options)


@cache
def made(variant: int):
    """The network of a variant, built once; whoever changes its weights copies it first."""
    return make(*VARIANTS[variant])


def pictures(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 64, 64)


def stand_in_loss(outputs: Outputs) -> torch.Tensor:
    """Mean squares of everything that is supervised, and the penalty."""
    maps = [*outputs.final.values(), *outputs.label_logits.values()]
    maps += [x for scale in outputs.auxiliary for x in scale.values()]
    loss = sum(x.square().mean() for x in maps)
    return loss if outputs.penalty is None else loss + outputs.penalty


def check_shapes(outputs: Outputs, tasks: tuple[str, ...], image: torch.Tensor) -> None:
    assert set(outputs.final) == set(tasks)
    for task, x in outputs.final.items():
        assert x.shape == (len(image), TARGETS[task].channels, *image.shape[-2:])
    sides = []
    for scale in outputs.auxiliary:
        assert set(scale) == set(tasks)
        for task, x in scale.items():
            assert x.shape[:2] == (len(image), TARGETS[task].channels)
        sides.append(next(iter(scale.values())).shape[-1])
    assert sides == sorted(sides, reverse=True)
    assert set(outputs.label_logits) <= set(tasks)
    for task, x in outputs.label_logits.items():
        assert x.shape[:2] == (len(image), TARGETS[task].classes)


@every_variant
def test_a_training_step_gives_every_parameter_a_finite_gradient(variant):
    network, image = deepcopy(made(variant)).train(), pictures()
    network.at(0.0)
    outputs = network(image)
    check_shapes(outputs, tasks_for(VARIANTS[variant][0]), image)
    stand_in_loss(outputs).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", METHODS)
def test_trains_on_the_default_backbone(name):
    network, image = make(name, {}, backbone="hrnet_w18_small_v2").train(), pictures()
    outputs = network(image)
    check_shapes(outputs, tasks_for(name), image)
    stand_in_loss(outputs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@every_variant
def test_evaluation_repeats_itself_and_treats_each_image_alone(variant):
    network, image = made(variant).eval(), pictures()
    with torch.no_grad():
        first, again, alone = network(image), network(image), network(image[1:])
    assert first.penalty is None
    for task in first.final:
        assert torch.equal(first.final[task], again.final[task])
        difference = (first.final[task][1:] - alone.final[task]).abs().max()
        assert difference < 1e-3 * alone.final[task].std()


@every_variant
def test_weights_survive_a_round_trip_through_the_state_dict(variant):
    name, options = VARIANTS[variant]
    network, other, image = made(variant).eval(), make(name, options, seed=1).eval(), pictures(1)
    with torch.no_grad():
        wanted, unlike = network(image), other(image)
        other.load_state_dict(network.state_dict())
        got = other(image)
    for task in wanted.final:
        assert not torch.equal(unlike.final[task], wanted.final[task])
        assert torch.equal(got.final[task], wanted.final[task])


@every_variant
def test_nothing_waits_for_the_values_of_a_tensor(variant):
    """The meta device has no values: whatever reads one on the host, which makes a GPU wait, fails on it."""
    network = deepcopy(made(variant)).to("meta").train()
    network.at(0.5)
    stand_in_loss(network(pictures().to("meta"))).backward()
    assert all(parameter.grad.is_meta for parameter in network.parameters())


@every_variant
def test_parameter_groups_hold_every_parameter_once(variant):
    network = made(variant)
    grouped = [id(p) for group in network.parameter_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


@every_variant
def test_backbone_is_bit_equal_across_methods(variant):
    network = made(variant)
    copies = network.backbone.values() if isinstance(network.backbone, nn.ModuleDict) else [network.backbone]
    for encoder in copies:
        reference = dict(make("multi_task", {}, backbone=encoder.name).backbone.named_parameters())
        got = dict(encoder.named_parameters())
        assert list(got) == list(reference)
        assert all(torch.equal(reference[key], got[key]) for key in reference)


@pytest.mark.parametrize("name", [name for name in METHODS if not methods.one_task(name)])
def test_the_order_in_which_tasks_are_named_changes_nothing(name):
    # Random weights are drawn in the order in which a network is put together, so they show it.
    order = ("semseg", "edge", "normals") if METHODS[name].takes(3) else ("semseg", "normals")
    orders = order, order[1:] + order[:1]
    one, other = (make(name, {}, order).state_dict() for order in orders)
    assert list(one) == list(other)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("tasks", [NYUD, PASCAL], ids="+".join)
@pytest.mark.parametrize("name", METHODS)
def test_takes_as_many_tasks_as_it_says(name, tasks):
    if not METHODS[name].takes(len(tasks)):
        with pytest.raises(ValueError, match=f"not {len(tasks)}"):
            make(name, {}, tasks)
    else:
        network, image = make(name, {}, tasks), pictures()
        with torch.no_grad():
            check_shapes(network(image), tasks, image)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].takes(1)])
def test_one_task_trains(name):
    network, image = make(name, {}, ("saliency",)).train(), pictures()
    outputs = network(image)
    check_shapes(outputs, ("saliency",), image)
    stand_in_loss(outputs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_building_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    make("multi_task", {})
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mtinet", {}, "unknown method 'mtinet'; known: single_task, multi_task"),
        ("multi_task", {"width": "doubled"}, "multi_task has no option 'width'; it has: head"),
        ("pad_net", {"width": "doubled"}, "pad_net has no option 'width'; it has: none"),
        ("mti_net", {"width": "double"}, "width is 'double'; it takes 'single' or 'doubled'"),
        ("sca_mtl", {"ctam": 1}, "ctam is 1; it takes bool"),
        ("sca_mtl", {"qk_layers": True}, "qk_layers is True; it takes 1 or 2"),
        ("atrc", {"genotype": "best"}, "genotype 'best' is not known"),
        ("no_such_module:Name", {}, "'no_such_module:Name' cannot be imported"),
        ("mtlbench.methods.parts.order:in_order", {}, "is not a subclass"),
    ],
)
def test_a_mistake_is_named_with_its_way_out(name, options, message):
    with pytest.raises(ValueError, match=message):
        methods.build(name, {"semseg": TARGETS["semseg"], "depth": TARGETS["depth"]}, **options)


def test_a_network_needs_a_task():
    with pytest.raises(ValueError, match="no tasks"):
        methods.build("multi_task", {})


def test_a_method_from_outside_plugs_in_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "outside.py").write_text(
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "from mtlbench.methods import Method, Outputs\n"
        "from torch import nn\n"
        "if TYPE_CHECKING:\n"
        "    from mtlbench.methods.backbone import Backbone\n"
        "class Constant(Method):\n"
        "    def __init__(self, backbone: Backbone, targets, *, value: float = 1.0) -> None:\n"
        "        super().__init__()\n"
        "        self.backbone, self.targets, self.value = backbone, targets, value\n"
        "    def forward(self, image):\n"
        "        final = {t: image.new_full((len(image), n.channels, *image.shape[-2:]), self.value)\n"
        "                 for t, n in self.targets.items()}\n"
        "        return Outputs(final, [], {})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = methods.build("outside:Constant", {"depth": TARGETS["depth"]}, value=2)
    assert network(pictures()).final["depth"].unique().tolist() == [2.0]
    with pytest.raises(ValueError, match="value is 'x'; it takes float"):
        methods.check_options("outside:Constant", {"value": "x"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: out._replace(final=out.final | {"semseg": out.final["semseg"].repeat(1, 2, 1, 1)}),
         r"final\['semseg'\] is \[2, 28, 64, 64\], not \[2, 14, 64, 64\]"),
        (lambda out: out._replace(final={k: v[:, :, ::2] for k, v in out.final.items()}), r"32, 64\], not"),
        (lambda out: out._replace(final={k: v[:1] for k, v in out.final.items()}), r"not \[2, "),
        (lambda out: out._replace(final={**out.final, "flow": out.final["depth"]}), "final has .*'flow'"),
        (lambda out: out._replace(final={"depth": out.final["depth"]}), r"final has \['depth'\], the tasks are"),
        (lambda out: out._replace(auxiliary=[{"flow": out.final["depth"]}]), "auxiliary has 'flow'"),
        (lambda out: out._replace(auxiliary=[{"depth": out.final["semseg"]}]),
         r"auxiliary\['depth'\] has 14 channels"),
        (lambda out: out._replace(label_logits={"depth": out.final["depth"]}),
         r"label_logits\['depth'\] has 1 channels"),
        (lambda out: out.final, "forward returned dict"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("training", [True, False])
def test_outputs_that_break_the_contract_are_named_before_they_are_learnt_from_or_scored(
    change, message, training, monkeypatch
):
    forward = methods.METHODS["multi_task"].forward
    monkeypatch.setattr(methods.METHODS["multi_task"], "forward", lambda self, image: change(forward(self, image)))
    network = make("multi_task", {}).train(training)
    with pytest.raises(ValueError, match=message) as caught:
        network(pictures())
    assert str(caught.value).startswith("multi_task: ")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def x(:\n", "SyntaxError"),
        ("from mtlbench.methods import Nope\n", r"ImportError.*broken0?.*\.py:1\)"),
        ("\n1 / 0\n", r"ZeroDivisionError: division by zero \(.*\.py:2\)"),
        ("import sys; sys.exit(3)\n", "SystemExit: 3"),
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("Name = 3\n", "not a subclass"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_reason(source, expected, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(ValueError, match=r"method 'broken:Name'.*" + expected):
        methods.resolve("broken:Name")
    monkeypatch.delitem(sys.modules, "broken", raising=False)


@pytest.mark.parametrize("name", ["../plugin:Fine", "plugin:", ":Fine", "plugin", "plugin:a.b", "a b:C"])
def test_what_is_no_path_of_a_method_is_unknown(name):
    with pytest.raises(ValueError, match=r"or package\.module:Name of your own"):
        methods.resolve(name)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("plugin:NeedsWidth", {}, r"option width \(int\) is not given"),
        ("plugin:NeedsWidth", {"width": "x", "depth": 1}, r"width is 'x'; it takes int; .* no option 'depth'"),
        ("plugin:ByPlace", {"width": 3}, "no option 'width'; .*keyword-only"),
        ("plugin:UnknownType", {"width": 3}, "type of an option cannot be read.*Missing"),
    ],
)
def test_options_that_do_not_fit_a_method_from_outside_are_all_named(name, options, expected):
    with pytest.raises(ValueError, match=expected):
        methods.check_options(name, options)


@pytest.mark.slow
def test_listing_methods_does_not_wait_for_timm():
    code = (
        "from mtlbench import methods; import sys; methods.options_of(methods.resolve('atrc')); "
        "sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield "cuda"
    torch.backends.cudnn.allow_tf32 = tf32


@pytest.mark.gpu
@every_variant
def test_a_step_on_a_gpu_never_waits_for_it(variant, cuda):
    network = deepcopy(made(variant)).to(cuda, memory_format=torch.channels_last).train()
    image = pictures().to(cuda, memory_format=torch.channels_last)
    try:
        for mode in ("default", "error"):  # the first step sets libraries up, which may wait
            torch.cuda.set_sync_debug_mode(mode)
            network.at(0.5)
            with torch.autocast(cuda, torch.bfloat16):
                loss = stand_in_loss(network(image))
            loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.gpu
@every_variant
def test_a_gpu_predicts_what_the_cpu_does(variant, cuda):
    network, image = made(variant).eval(), pictures()
    with torch.no_grad():
        wanted = network(image).final
        got = deepcopy(network).to(cuda)(image.to(cuda)).final
    for task, x in wanted.items():
        assert (got[task].cpu() - x).abs().max() < 1e-3 * x.std()
