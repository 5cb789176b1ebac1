"""Each rule of `mtlbench check` is broken by a method, under `python -O` too: tests/project/test_assertions.py."""

import pytest
import torch

from cells import BACKBONE
from command import invoke
from mtlbench import methods
from mtlbench.harness.inspect import conformance, remedies

BROKEN = [  # a rule, a method that breaks it, and what is said
    ("options", "ByPlace", "width can be given by place"),
    ("options", "NeedsWidth", "width (int) is not given and has no default"),
    ("built", "Unbuilt", "not enough values to unpack (expected 2, got 1) (plugin.py, line "),
    ("shapes", "Coarse", "final['semseg'] is [2, 5, 32, 48], not [2, 5, 64, 96]"),
    ("order", "Restless", "semseg differs when semseg is reversed"),
    ("gradients", "Forgets", "no gradient for unused (1 parameter of "),
    ("gradients", "ReadsFinest", "your method reads only map 0 of the 4 maps of backbone (strides 4, 8, 16, 32)"),
    ("gradients", "Untrained", "no prediction depends on a parameter that is trained"),
    ("gradients", "Infinite", "the gradient is not finite for "),
    ("parameter_groups", "LeavesOut", "trainable parameters are in no group (backbone) and would stay"),
    ("parameter_groups", "Twice", "a parameter is in two groups"),
    ("parameter_groups", "GroupsFrozen", " parameters of the groups are frozen, or not the method's own"),
    ("parameter_groups", "UnknownOptimizer", "unknown optimizer 'lamb'; known: adam, adamw, sgd"),
    ("parameter_groups", "Foreign", "shared_parameters has a parameter that is not the method's own"),
    ("repeatable", "Restless", "semseg differs between two evaluations"),
    ("independent", "Mixes", "semseg differs by "),
    ("saving", "Keeps", "semseg differs after loading"),
    ("backbone_first", "OwnStart", "conv_stem.weight differs from the one that other methods start from"),
    ("backbone_first", "OwnCopy", "backbone.depth.network.conv_stem.weight differs from the one that other methods"),
    ("backbone_first", "NoCopy", "backbone has no tensor of the backbone that it was given"),
    ("no_host_reads", "Reads", "item()"),
]


def test_every_rule_is_broken_by_a_method():
    assert [rule.__name__ for rule in conformance.RULES] == list(dict.fromkeys(rule for rule, _, _ in BROKEN))


def verdict(rule, method):
    """What the check says of one rule, whatever other rules say."""
    rules = [getattr(conformance, rule)]
    (found,) = conformance.verdicts(rules, f"plugin:{method}", conformance.REMEDIES, {})
    return found


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(("rule", "method", "message"), BROKEN)
def test_a_method_that_breaks_a_rule_is_told_how_and_what_to_do(rule, method, message):
    found = verdict(rule, method)
    assert message in found.problem and found.checked
    assert len(found.remedy) > 20 and found.remedy not in found.problem


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(
    ("rule", "method", "remedy"),
    [
        ("gradients", "ReadsFinest", "use all maps that the backbone gives; or freeze what stays unused"),
        ("gradients", "Forgets", "use them in forward, and not under `detach`"),
        ("shapes", "Coarse", 'end forward with `interpolate(prediction, image.shape[2:], mode="bilinear")`'),
        ("options", "NeedsWidth", "give each option a type and a default"),
        ("built", "Unbuilt", "`task_counts = (2, None)`"),
        ("no_host_reads", "Reads", "without `.item()`, `float(x)`"),
    ],
)
def test_the_remedy_is_that_of_the_cause(rule, method, remedy):
    assert remedy in verdict(rule, method).remedy


@pytest.mark.usefixtures("small_networks")
def test_who_freezes_what_no_prediction_needs_keeps_the_rules():
    problems = [verdict(rule, "ReadsFinestAndSaysSo").problem for rule in ("gradients", "parameter_groups")]
    assert problems == [None, None]


def test_every_rule_has_a_remedy_and_needs_only_earlier_rules():
    names = [rule.__name__ for rule in conformance.RULES]
    assert [*conformance.REMEDIES] == names
    for rule, earlier in conformance.NEEDS.items():
        assert all(names.index(each) < names.index(rule) for each in earlier)


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(
    ("method", "failed", "unchecked"),
    [("Coarse", ["shapes"], 6), ("NeedsWidth", ["options"], 10), ("Unbuilt", ["built"], 9)],
)
def test_what_cannot_be_checked_after_a_failure_is_no_failure(method, failed, unchecked):
    found = list(conformance.check_method(f"plugin:{method}"))
    titles = [getattr(conformance, rule).__doc__ for rule in failed]
    assert [each.rule for each in found if each.problem] == titles
    assert sum(not each.checked for each in found) == unchecked


@pytest.mark.parametrize(
    ("some", "parts"),
    [
        (["a.0.w", "a.1.w", "a.1.b"], ["a.{0,1}"]),
        (["a.0.w"], ["a.0"]),
        (["a.1.b"], ["a.1.b"]),
        (["a.0.w", "a.1.w", "a.1.b", "a.2.w", "c"], ["a", "c"]),
        (["b.w", "c"], ["b.w", "c"]),
    ],
)
def test_parameters_are_named_by_their_largest_common_parts(some, parts):
    names = ["a.0.w", "a.1.w", "a.1.b", "a.2.w", "b.w", "b.x", "c"]
    assert remedies.common_parts(some, names) == parts


def test_maps_are_read_by_whoever_uses_them_and_not_by_coarser_maps():
    network = methods.build("multi_task", {"depth": conformance.TARGETS["depth"]}, BACKBONE)
    with remedies.MapsRead(network) as read:
        maps = network.backbone(conformance.image())
    torch.autograd.backward(maps[2].sum() + maps[1].detach().sum())
    assert read.by_encoder == {"backbone": [2]}


@pytest.mark.usefixtures("small_networks")
def test_the_command_says_what_a_method_breaks_and_what_to_do():
    usual = invoke("check", "plugin:Forgets")
    assert usual.exit_code == 1
    assert usual.stdout.count("FAIL") == 1 and usual.stdout.count("ok  ") == len(conformance.RULES) - 1
    lines = usual.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("FAIL"))
    assert lines[place + 1].startswith("      why:   no gradient for unused")
    assert lines[place + 2].startswith("      to do: use them in forward")
