"""The published networks, filled from a rule that knows no module names, give the published networks' numbers."""

import json
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mtlbench import methods
from mtlbench.methods import Target
from mtlbench.methods.parts.layers import upsample
from paths import REFERENCE

sys.path.insert(0, str(REFERENCE))
from fill import compare, fill_, fingerprint, image

GOLDEN = json.loads((REFERENCE / "golden.json").read_text())
TOLERANCE = 1e-4  # 12 times the rounding between implementations, 25 times below the weakest mistake in the wiring

CHANNELS = {
    "NYUD": {"semseg": 40, "depth": 1},
    "PASCALContext": {"semseg": 21, "human_parts": 7, "normals": 3},
}
CLASSES = {"depth": 40, "normals": 40}

# the reference's name -> our name and options
METHODS = {
    "single_task": ("single_task", {}),
    "multi_task": ("multi_task", {}),
    "pad_net": ("pad_net", {}),
    "mti_net": ("mti_net", {}),
    "sca_mtl": ("sca_mtl", {}),
    "sca_row1": ("sca_mtl", {"fpma": False, "ctam": False, "csam": False}),
    "sca_row2": ("sca_mtl", {"ctam": False, "csam": False}),
    "sca_row3": ("sca_mtl", {"csam": False}),
    "atrc:global": ("atrc", {"genotype": "global"}),
    "atrc:local": ("atrc", {"genotype": "local"}),
    "atrc:tlabel": ("atrc", {"genotype": "tlabel"}),
    "atrc:slabel": ("atrc", {"genotype": "slabel"}),
    "atrc:genotype": ("atrc", {"genotype": "published"}),
    "atrc:single_task": ("single_task", {"head": "fcn_atrc"}),
    "atrc:multi_task": ("multi_task", {"head": "fcn_atrc"}),
}
PYRAMIDS = {"mti_net", "sca_mtl", "sca_row1", "sca_row2", "sca_row3"}
ENTRIES = [
    # What `plain` can see `tasks` sees too; it is kept for what it does not assume, the names of modules.
    pytest.param(key, marks=pytest.mark.slow if key.endswith("plain") else [])
    for key in GOLDEN["entries"]
    if key.split("|")[0] in METHODS
]


def recorded_outputs(network: methods.Method, reference: str) -> dict[str, Tensor]:
    """Every tensor the reference names for this method: predictions, and maps inside caught by hooks."""
    caught: dict[str, Tensor] = {}

    def catch(module: nn.Module, name: Callable[..., dict[str, Tensor]]) -> None:
        module.register_forward_hook(lambda _, __, output: caught.update(name(output)))

    catch(network.backbone, lambda maps: {f"backbone/{k}": x for k, x in enumerate(maps)})
    if reference == "pad_net":
        catch(network.fuse, lambda x: {"fuse": x})
    for k, heads in enumerate(network.heads) if reference in PYRAMIDS else ():
        catch(heads, lambda output, k=k: {f"feat/{k}/{task}": x for task, x in output[0].items()})
    with torch.no_grad():
        outputs = network(image())
    caught |= {f"final/{task}": x for task, x in outputs.final.items()}
    if reference == "pad_net":
        caught |= {f"aux/{task}": x for task, x in outputs.auxiliary[0].items()}
    if reference in PYRAMIDS:
        caught |= {f"aux/{k}/{task}": x for k, maps in enumerate(outputs.auxiliary) for task, x in maps.items()}
    # The reference's are resized to the image already.
    caught |= {f"aux/{task}": upsample(x, image().shape[-2:]) for task, x in outputs.label_logits.items()}
    return caught


@pytest.mark.parametrize("key", ENTRIES)
def test_outputs_and_parameters_equal_the_published_network(key):
    reference, database, tasks, variant = key.split("|")
    entry = GOLDEN["entries"][key]
    name, options = METHODS[reference]
    channels = {task: CHANNELS[database][task] for task in tasks.split(",")}
    targets = {task: Target(n, CLASSES.get(task, n)) for task, n in channels.items()}
    network = methods.build(name, targets, **options)
    assert sum(p.numel() for p in network.parameters()) == entry["params"] - entry["params_dead"]

    fill_(network, variant)
    got = {name: fingerprint(x) for name, x in recorded_outputs(network, reference).items()}
    distances = compare(got, {**GOLDEN["backbone"], **entry["tensors"]})
    assert max(distances.values()) < TOLERANCE, distances


def test_reference_image_and_fill_are_the_documented_ones():
    picture = image()
    assert torch.allclose(picture[0, :, 0, 0], torch.full((3,), 0.5))
    assert picture[0, 2, 100, 150].item() == pytest.approx(0.5009, abs=1e-4)


def test_a_moved_weight_is_seen():
    entry = GOLDEN["entries"]["multi_task|NYUD|semseg,depth|tasks"]
    network = fill_(methods.build("multi_task", {"semseg": Target(40, 40), "depth": Target(1, 40)}), "tasks")
    with torch.no_grad():
        network.heads["depth"].predict.weight.mul_(1.01)
        got = {f"final/{task}": fingerprint(x) for task, x in network(image()).final.items()}
    distances = compare(got, entry["tensors"])
    assert distances["final/depth"] > TOLERANCE > distances["final/semseg"]
