"""Each rule of `mtlbench check` is broken by a method, and the verdicts are the same under `python -O`."""

import json
import os
import subprocess
import sys

import pytest

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
    ("backbone_first", "OwnStart", "backbone.network.conv1.weight differs from the one that other methods start from"),
    ("no_host_reads", "Reads", "item()"),
]

VERDICTS = """
import json, sys
from mtlbench.harness.inspect import conformance

def verdict(rule, method):
    try:
        getattr(conformance, rule)(f"plugin:{method}")
    except Exception as error:
        return str(error)

print(json.dumps([verdict(rule, method) for rule, method in json.loads(sys.argv[1])]))
"""


def python(*arguments):
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


def test_every_rule_is_broken_by_a_method():
    assert [rule.__name__ for rule in conformance.RULES] == list(dict.fromkeys(rule for rule, _, _ in BROKEN))


@pytest.mark.parametrize(("rule", "method", "message"), BROKEN)
def test_a_method_that_breaks_a_rule_is_told_how(rule, method, message):
    with pytest.raises((conformance.Broken, ValueError, RuntimeError)) as found:
        getattr(conformance, rule)(f"plugin:{method}")
    assert message in str(found.value)


def test_every_rule_holds_without_assertions_too():
    done = python("-O", "-c", VERDICTS, json.dumps([(rule, method) for rule, method, _ in BROKEN]))
    assert done.returncode == 0, done.stderr
    for said, (rule, method, message) in zip(json.loads(done.stdout), BROKEN, strict=True):
        assert said and message in said, f"{rule} says of {method}: {said}"


@pytest.mark.slow
def test_the_command_says_the_same_without_assertions():
    usual, optimised = (python(*flags, "-m", "mtlbench", "check", "plugin:Forgets") for flags in ([], ["-O"]))
    assert usual.returncode == optimised.returncode == 1, optimised.stderr
    assert usual.stdout == optimised.stdout
    assert usual.stdout.count("FAIL") == 1 and usual.stdout.count("ok  ") == len(conformance.RULES) - 1
