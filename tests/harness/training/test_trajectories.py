"""In float64 a training runs the same way however its batch is cut, step after step.

In float32 it does not: rounding is enlarged at every step, so that two correct programs differ visibly after some tens
of steps. Curves of two programs can be compared at step 1, or in float64 at a small learning rate.
"""

import pytest
import torch
from accelerate import Accelerator
from test_distributed import PROCESSES, TASKS, batch, start, without_dropout

from cells import BACKBONE
from mtlbench import methods
from mtlbench.harness.training import batch_norm, train
from mtlbench.methods.method import Target

STEPS = 30
# With L1 losses and batch norms over few values, training is chaotic: at ten times this rate a difference of 1e-16 has
# grown to 1e-4 after 30 steps, in float64 too.
LR = 1e-5


def trajectory(part, accelerator, dtype=torch.float64):
    """The shares of the losses at every step [STEPS, 1 + tasks], and the parameters at the end."""
    targets = {task: Target(it.channels, it.classes) for task, it in TASKS.items()}
    network = methods.build("mti_net", targets, BACKBONE, seed=1).to(dtype)
    without_dropout(network)
    if accelerator.num_processes > 1:
        network = batch_norm.synchronise(network, accelerator.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    model, wrapped = accelerator.prepare(network, optimizer)
    image, labels = batch(rows=64, columns=128)
    labels = {name: label[part] for name, label in labels.items()}
    losses = []
    for step in range(STEPS):
        seen = (image * (1 + 0.1 * torch.sin(torch.tensor(float(step))))).to(dtype)[part]
        losses.append(train.backpropagate(accelerator, model, seen, labels, TASKS).double())
        wrapped.step()
        wrapped.zero_grad()
    return torch.stack(losses), torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _of_a_part(rank, folder):
    torch.save(trajectory(slice(2 * rank, 2 * rank + 2), Accelerator(cpu=True)), f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def exact():
    return trajectory(slice(None), Accelerator(cpu=True))


@pytest.mark.slow
def test_thirty_steps_of_two_processes_are_those_of_one(exact, tmp_path):
    losses, weights = exact
    start(_of_a_part, tmp_path, tmp_path)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    assert losses.dtype == weights.dtype == torch.float64
    assert (losses[1:, 0] < losses[:-1, 0]).all()  # it learns
    torch.testing.assert_close(sum(part[0] for part in parts), losses, rtol=1e-12, atol=0)
    for _, found in parts:
        torch.testing.assert_close(found, weights, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_same_steps_in_float32_do_not_allow_that(exact):
    single, _ = trajectory(slice(None), Accelerator(cpu=True), torch.float32)
    drift = ((single - exact[0]) / exact[0]).abs()[:, 0]
    assert drift[0] < 1e-6 and drift.max() > 1e-9
