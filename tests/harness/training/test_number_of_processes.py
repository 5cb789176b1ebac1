"""With 1, 2 and 3 processes a training begins with the same bits, and each step has the same images, moved alike."""

from collections import defaultdict
from hashlib import sha256

import pytest
import torch
from test_distributed import start

from cells import small_cell, train_cell
from mtlbench.harness.data import loading
from mtlbench.harness.matrix.cell import BenchmarkConfig
from mtlbench.harness.matrix.entries import make_benchmark
from mtlbench.harness.store.store import Store
from mtlbench.harness.training import train

GROUPS = (1, 2, 3)
ROOMS = BenchmarkConfig(name="rooms", size=(32, 64), options={"train": 14, "val": 1, "test": 3})
CELL = small_cell(train={"epochs": 2, "batch": 6}, benchmark=ROOMS)  # two steps an epoch, and two images are left over


def digest(tensors):
    return sha256(b"".join(each.contiguous().numpy().tobytes() for each in tensors)).hexdigest()


def _train(rank, store, root):
    """Train, and note the weights of the network as it is built, and every image with its labels by its step."""
    seen, build, batches = {"images": []}, train.build, loading.training_batches

    def noted_build(*arguments):
        network = build(*arguments)
        seen["weights"] = digest(network.state_dict().values())
        return network

    def noted_batches(*arguments, **options):
        for batch in batches(*arguments, **options):
            labels = [batch.labels[task] for task in sorted(batch.labels)]
            seen["images"].append([digest(parts) for parts in zip(batch.image, *labels, strict=True)])
            yield batch

    train.build, loading.training_batches = noted_build, noted_batches
    train_cell(CELL, store, root)
    torch.save(seen, f"{store}/{rank}.pt")


@pytest.mark.slow
def test_one_two_and_three_processes_begin_with_the_same_bits_and_see_the_same_images(tmp_path):
    make_benchmark(ROOMS).make(tmp_path / "rooms", lambda done, total: None)
    weights, steps = set(), defaultdict(list)
    for processes in GROUPS:
        folder = tmp_path / str(processes)
        store = Store(folder)
        store.put_cell(CELL)
        start(_train, folder, str(folder), tmp_path / "rooms", processes=processes)
        assert store.record(CELL.id).provenance["processes"] == processes
        seen = [torch.load(folder / f"{rank}.pt") for rank in range(processes)]
        weights |= {each["weights"] for each in seen}
        for step, parts in enumerate(zip(*(each["images"] for each in seen), strict=True)):
            assert all(len(part) == 6 // processes for part in parts)
            steps[step].append(sorted(image for part in parts for image in part))
    assert len(weights) == 1
    assert len(steps) == 4 and all(step == [step[0]] * len(GROUPS) for step in steps.values())
    assert len({image for step in steps.values() for image in step[0]}) == 24  # an image is moved anew in each epoch
