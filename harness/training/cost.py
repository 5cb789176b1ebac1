"""What a network costs: parameters, multiply-accumulates, and the memory and operators of a training step.

All of it is counted on the meta device, whose tensors have a size and no values. No GPU is needed, and a network takes
a second. `measure` runs the same step on a GPU.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

from mtlbench.benchmarks.tasks.task import Task
from mtlbench.harness.matrix.cell import TrainConfig
from mtlbench.harness.matrix.optimization import kept_values
from mtlbench.harness.training import optimizers
from mtlbench.harness.training.objective import terms, weighted_sum
from mtlbench.methods.method import Method


class StepCost(NamedTuple):
    """A training step in float32, counted."""

    peak_bytes: float  # weights, optimiser, gradients, activations and the batch at their greatest
    operators: int  # of forward, losses and backward, without views: about as many as kernels


class Measured(NamedTuple):
    """A training step, as it ran."""

    seconds: float  # median
    peak_bytes: float  # of the allocator


@torch.no_grad()
def network_cost(network: Method, size: tuple[int, int]) -> dict[str, float]:
    """Parameters, and the multiply-accumulates for one image of a size: convolutions, matrix and attention products.

    The form that runs on GPUs is counted, wherever the network lies. On a CPU, some layers take a cheaper form with
    equal outputs. Raises ValueError for a method that reads values on the host.
    """
    copy = deepcopy(network).to("meta").eval()
    try:
        with FlopCounterMode(display=False) as counter:
            copy(torch.empty(1, 3, *size, device="meta"))
    except (NotImplementedError, RuntimeError, TypeError) as error:
        if "meta" not in str(error).lower():  # torch names this device in every error about missing values
            raise  # a mistake in the forward pass, whose own message is best
        raise ValueError(
            f"{type(network).__name__}: its cost cannot be counted, because its forward needs the values of tensors, "
            f"which also makes a GPU wait ({error}); keep to tensor operations, or see `mtlbench check`"
        ) from error
    return {
        "parameters": float(sum(parameter.numel() for parameter in network.parameters())),
        "backbone_parameters": float(sum(parameter.numel() for parameter in network.backbone.parameters())),
        "macs": counter.get_total_flops() / 2,
    }


def count_step(network: Method, tasks: Mapping[str, Task], size: tuple[int, int], recipe: TrainConfig) -> StepCost:
    """A step of a network that lies on the meta device, with as many images as a micro-batch of the recipe has.

    The work space of convolutions and the gaps between the allocator's blocks are not counted: only a run shows them.
    """
    network.train()
    kept = [*network.parameters(), *network.buffers()]
    with Tally(kept) as tally:
        _step(network, *_batch(tasks, size, recipe, torch.device("meta")), fitted(tasks))
    network.zero_grad()
    states = sum(
        kept_values(group.get("optimizer", recipe.optimizer), recipe)
        * sum(parameter.numel() * parameter.element_size() for parameter in group["params"])
        for group in network.parameter_groups()
    )
    return StepCost(sum(t.numel() * t.element_size() for t in kept) + states + tally.peak, tally.operators)


def measure(
    network: Method, tasks: Mapping[str, Task], size: tuple[int, int], recipe: TrainConfig, *, steps: int = 20
) -> Measured:
    """Time steps on the GPU with one random batch, in the recipe's precision, after five steps that are not timed.

    The network is moved to the GPU. Raises torch.OutOfMemoryError.
    """
    device = torch.device("cuda")
    network = network.to(device).to(memory_format=torch.channels_last).train()
    tasks, own = fitted(tasks), optimizers.make(network, recipe)
    image, labels = _batch(tasks, size, recipe, device)
    torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(5 + steps):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=recipe.precision == "bf16"):
            _step(network, image, labels, tasks)
        for optimizer in own:
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return Measured(sorted(seconds[5:])[steps // 2], float(torch.cuda.max_memory_allocated(device)))


def fitted(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks. Those that learn from labels get random ones, because a cost does not depend on the findings."""
    return {
        name: task if task.learn is None else task.fitted(task.learn([task.kind.random((1, 64, 64), task.classes)[0]]))
        for name, task in tasks.items()
    }


def _step(network: Method, image: Tensor, labels: Mapping[str, Tensor], tasks: Mapping[str, Task]) -> None:
    outputs = network(image)
    loss = weighted_sum(terms(outputs, labels, tasks), tasks)
    (loss if outputs.penalty is None else loss + outputs.penalty).backward()


def _batch(
    tasks: Mapping[str, Task], size: tuple[int, int], recipe: TrainConfig, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """Random images [B, 3, H, W] of a micro-batch and valid labels."""
    images = recipe.batch // recipe.accumulate
    image = torch.randn(images, 3, *size, device=device).contiguous(memory_format=torch.channels_last)
    return image, {name: task.kind.random((images, *size), task.classes, device) for name, task in tasks.items()}


class Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that live at once, and the operators that make them. Views make nothing.

    kept: tensors that existed before, and are not counted.
    """

    def __init__(self, kept: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live, self.peak, self.operators = 0, 0, 0
        self.known: Any = WeakIdKeyDictionary()  # storages
        for tensor in kept:
            self.known[tensor.untyped_storage()] = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operators += not func.is_view
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self.known:
                self.known[storage] = None
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._freed, storage.nbytes()).atexit = False
        return out

    def _freed(self, size: int) -> None:
        self.live -= size
