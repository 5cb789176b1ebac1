"""The published networks on dilated ResNets, and our compositions, give the recorded numbers under one rule of filling.

The fingerprints lie beside the project. Every tensor that they name is compared, those inside of the networks too.
"""

import json
import sys
from functools import cache

import pytest
import torch

from mtlbench import methods
from mtlbench.methods import Target
from paths import REFERENCE, SHARED_REFERENCE

sys.path.insert(0, str(REFERENCE))
from fill import compare, fill_, fingerprint, image

FILE = SHARED_REFERENCE / "golden_encoder_sharing.json"
TOLERANCE = 1e-4

CHANNELS = {
    "NYUD": {"semseg": 40, "depth": 1},
    "PASCALContext": {"semseg": 21, "human_parts": 7, "normals": 3},
}
CLASSES = {"depth": 40, "normals": 40}
OUTPUT_STRIDE = {"deeplab": 8, "hrnet": 32, "own": 32}

SHARING = ("cross_stitch", "nddr_cnn", "mtan")

# method:backbone:head|benchmark|tasks
NETWORKS = [
    "multi_task:resnet50:deeplab|NYUD|semseg,depth",
    "single_task:resnet18:deeplab|PASCALContext|human_parts",
    *(f"{method}:resnet50:deeplab|NYUD|semseg,depth" for method in SHARING),
    *(f"{method}:resnet18:deeplab|PASCALContext|semseg,human_parts,normals" for method in SHARING),
    *(f"{method}:hrnet_w18_small_v2:hrnet|NYUD|semseg,depth" for method in SHARING),
    *(f"{method}:resnet18:hrnet|NYUD|semseg,depth" for method in SHARING),
    "jtrl:hrnet_w18_small_v2:own|NYUD|semseg,depth",
    "jtrl:resnet18:own|NYUD|semseg,depth",
]
# `plain` is blind to exchanges of tasks; `tasks` sees what it sees.
ENTRIES = [
    pytest.param(f"{network}|{variant}", marks=pytest.mark.slow if variant == "plain" or "resnet50" in network else [])
    for network in NETWORKS
    for variant in ("plain", "tasks")
]


@cache
def golden():
    if not FILE.exists():
        pytest.skip("the fingerprints are not beside this checkout")
    return json.loads(FILE.read_text())["entries"]


def stage(k):
    """As the reference calls stage k: the stem is "stem", and the stage after it 0."""
    return f"stage/{k - 1 if k else 'stem'}"


def see_attended(network, caught):
    """Catch the maps that masks were applied to: what the head of each task reads, and what is carried on."""
    pyramid = network.backbone.pyramid
    tasks = iter(network.heads)

    def seen(outputs):
        task = next(tasks)
        caught.update({f"{stage(k)}/{i}/{task}": x for k, maps in enumerate(outputs) if k for i, x in enumerate(maps)})
        return pyramid(outputs)

    network.backbone.pyramid = seen


@torch.no_grad()
def recorded_outputs(network):
    """Predictions, and maps inside that hooks caught."""
    caught = {}
    if isinstance(network, methods.METHODS["multi_task"]):
        network.backbone.register_forward_hook(lambda _, __, maps: caught.update({"backbone/3": maps[-1]}))
    elif isinstance(network, methods.METHODS["mtan"]):
        see_attended(network, caught)
    elif isinstance(network, methods.METHODS["jtrl"]):
        for task, steps in network.refine.items():
            for step, refine in enumerate(steps):
                refine.register_forward_hook(lambda _, __, x, name=f"feat/{3 - step}/{task}": caught.update({name: x}))
    else:
        for k, units in enumerate(network.units, start=network.first):
            for i, unit in enumerate(units):
                unit.register_forward_hook(
                    lambda _, __, maps, k=k, i=i: caught.update({f"{stage(k)}/{i}/{t}": x for t, x in maps.items()})
                )
    outputs = network(image())
    named = {f"final/{task}": x for task, x in outputs.final.items()}
    named |= {f"aux/{j}/{task}": x for j, maps in enumerate(outputs.auxiliary) for task, x in maps.items()}
    return caught | named


def build(key):
    described, database, tasks = key.split("|")[:3]
    method, backbone, head = described.split(":")
    channels = {task: CHANNELS[database][task] for task in tasks.split(",")}
    targets = {task: Target(n, CLASSES.get(task, n)) for task, n in channels.items()}
    options = {} if head == "own" else {"head": head}
    return methods.build(method, targets, backbone, output_stride=OUTPUT_STRIDE[head], **options)


@pytest.mark.parametrize("key", ENTRIES)
def test_outputs_and_parameters_equal_the_recorded_network(key):
    entry, network = golden()[key], build(key)
    assert sum(p.numel() for p in network.parameters()) == entry["params"] - entry["params_dead"]
    fill_(network, key.split("|")[-1])
    got = {name: fingerprint(x) for name, x in recorded_outputs(network).items()}
    distances = compare(got, entry["tensors"])
    assert set(got) == set(entry["tensors"])
    assert max(distances.values()) < TOLERANCE, distances
