"""In float64 a training runs the same way however its batch is cut, step after step.

At usual learning rates it does not: rounding is enlarged at every step, so that two correct programs differ visibly
after some tens of steps. Curves of two programs can be compared at step 1, or in float64 at a small learning rate.
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


def trajectory(part, accelerator, *, lr=LR, steps=STEPS, nudge=0.0):
    """The shares of the losses at every step [steps, 1 + tasks], and the parameters. nudge: is added to one weight."""
    targets = {task: Target(it.channels, it.classes) for task, it in TASKS.items()}
    network = methods.build("mti_net", targets, BACKBONE, seed=1).double()
    without_dropout(network)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += nudge
    if accelerator.num_processes > 1:
        network = batch_norm.synchronise(network, accelerator.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    model, wrapped = accelerator.prepare(network, optimizer)
    image, labels = batch(rows=64, columns=128)
    labels = {name: label[part] for name, label in labels.items()}
    losses = []
    for step in range(steps):
        seen = (image * (1 + 0.1 * torch.sin(torch.tensor(float(step))))).double()[part]
        losses.append(train.backpropagate(accelerator, model, seen, labels, TASKS).double())
        wrapped.step()
        wrapped.zero_grad()
    return torch.stack(losses), torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _of_a_part(rank, folder):
    torch.save(trajectory(slice(2 * rank, 2 * rank + 2), Accelerator(cpu=True)), f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def exact():
    return trajectory(slice(None), Accelerator(cpu=True))


@pytest.mark.drill  # the first step of every method is in test_distributed.py
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
def test_at_a_usual_learning_rate_the_smallest_difference_is_enlarged_at_every_step():
    """So equal curves can be asked for at the first step alone."""
    one, other = (
        trajectory(slice(None), Accelerator(cpu=True), lr=1e-3, steps=9, nudge=nudge)[0] for nudge in (0, 1e-13)
    )
    drift = ((one - other) / one).abs()[:, 0]
    assert drift[0] < 1e-12 and drift[-1] > 1000 * drift[0]
