"""Each rule of `mtlbench check` is broken by a method, and the verdicts are the same under `python -O`."""

import json
import os
import subprocess
import sys

import pytest

from command import invoke
from mtlbench.harness.inspect import conformance
from paths import PYTHONPATH

BROKEN = [  # a rule, a method that breaks it, and what is said
    ("options", "ByPlace", "width can be given by place"),
    ("options", "NeedsWidth", "width (int) is not given and has no default"),
    ("shapes", "Coarse", "final['semseg'] is [2, 5, 32, 48], not [2, 5, 64, 96]"),
    ("order", "Restless", "semseg differs when semseg is reversed"),
    ("gradients", "Forgets", "no gradient for unused"),
    ("parameter_groups", "LeavesOut", "trainable parameters are in no group"),
    ("parameter_groups", "Twice", "a parameter is in two groups"),
    ("parameter_groups", "UnknownOptimizer", "unknown optimizer 'lamb'; known: adam, adamw, sgd"),
    ("parameter_groups", "Foreign", "shared_parameters has a parameter that is frozen, or not the method's own"),
    ("repeatable", "Restless", "semseg differs between two evaluations"),
    ("independent", "Mixes", "semseg differs by "),
    ("saving", "Keeps", "semseg differs after loading"),
    ("backbone_first", "OwnStart", "conv_stem.weight differs from the one that other methods start from"),
    ("backbone_first", "OwnCopy", "backbone.depth.network.conv_stem.weight differs from the one that other methods"),
    ("backbone_first", "NoCopy", "backbone has no tensor of the backbone that it was given"),
    ("no_host_reads", "Reads", "item()"),
]

# One process for both: `python -O` compiles every library anew.
SCRIPT = """
import functools, json, sys
from cells import BACKBONE
from mtlbench import methods
from mtlbench.harness.cli.app import main
from mtlbench.harness.inspect import conformance

methods.build = functools.partial(methods.build, backbone=BACKBONE)

def verdict(rule, method):
    try:
        getattr(conformance, rule)(f"plugin:{method}")
    except Exception as error:
        return str(error)

print(json.dumps([verdict(rule, method) for rule, method in json.loads(sys.argv.pop(1))]), file=sys.stderr)
main()
"""


@pytest.fixture(scope="module")
def optimised():
    """`mtlbench check plugin:Forgets` under `python -O`; on its last line of errors the verdict of each rule."""
    broken = json.dumps([(rule, method) for rule, method, _ in BROKEN])
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-O", "-c", SCRIPT, broken, "check", "plugin:Forgets"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_every_rule_is_broken_by_a_method():
    assert [rule.__name__ for rule in conformance.RULES] == list(dict.fromkeys(rule for rule, _, _ in BROKEN))


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(("rule", "method", "message"), BROKEN)
def test_a_method_that_breaks_a_rule_is_told_how(rule, method, message):
    with pytest.raises((conformance.Broken, ValueError, RuntimeError)) as found:
        getattr(conformance, rule)(f"plugin:{method}")
    assert message in str(found.value)


@pytest.mark.slow
def test_every_rule_holds_without_assertions_too(optimised):
    verdicts = json.loads(optimised.stderr.splitlines()[-1])
    for said, (rule, method, message) in zip(verdicts, BROKEN, strict=True):
        assert said and message in said, f"{rule} says of {method}: {said}"


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_the_command_says_the_same_without_assertions(optimised):
    usual = invoke("check", "plugin:Forgets")
    assert usual.exit_code == optimised.returncode == 1, optimised.stderr
    assert usual.stdout == optimised.stdout
    assert usual.stdout.count("FAIL") == 1 and usual.stdout.count("ok  ") == len(conformance.RULES) - 1
