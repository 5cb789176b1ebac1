"""Methods from outside for the tests: one that works and several that do not."""

import ctypes
import os
import signal
import time
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from mtlbench.methods.baseline import MultiTask
from mtlbench.methods.method import Method, Outputs
from mtlbench.methods.parts.encoders import encoder_for_each


class Fine(MultiTask):
    """A baseline under another name."""


class Stumbles(MultiTask):
    """Has a mistake in its forward pass, whose message has two lines."""

    def forward(self, image):
        raise TypeError("no such\nmap")


class FailsOnce(MultiTask):
    """Raises at its second step, the first time in a folder."""

    def __init__(self, backbone, targets, *, marker: str = "") -> None:
        super().__init__(backbone, targets)
        self.marker = marker

    def at(self, progress):
        if progress > 0.5 and not Path(self.marker).exists():
            Path(self.marker).touch()
            self.fail()

    def fail(self):
        raise RuntimeError("once is enough")


class Dies(FailsOnce):
    """Is killed, as by a machine without memory."""

    def fail(self):
        os.kill(os.getpid(), 9)


class Eats(FailsOnce):
    """Takes memory until it is killed."""

    def fail(self):
        held = []
        for _ in range(40):
            held.append(torch.ones(2**26))  # 256 MiB
            time.sleep(0.1)  # the memory monitor looks four times a second
        raise RuntimeError("nobody minds")


class Stops(FailsOnce):
    """Is stopped as by a debugger: the process is there and does nothing."""

    def fail(self):
        os.kill(os.getpid(), signal.SIGSTOP)


class Leaves(FailsOnce):
    """Ends its process without a word."""

    def fail(self):
        os._exit(7)


class Crashes(FailsOnce):
    """Reads memory that does not exist, as a faulty extension does."""

    def fail(self):
        ctypes.string_at(0)


class SecondStops(Stops):
    """Is stopped in the second process of a group, while the first one waits for it."""

    def at(self, progress):
        if torch.distributed.get_rank() == 1:
            super().at(progress)


class SecondRunsOut(FailsOnce):
    """Runs out of memory in the second process of a group, while the first one waits for it."""

    def at(self, progress):
        if torch.distributed.get_rank() == 1:
            super().at(progress)

    def fail(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


class RunsOutAndLeaves(FailsOnce):
    """Runs out of memory at its second step. In the next attempt its process ends, and the one after that goes well."""

    def at(self, progress):
        second = Path(f"{self.marker}-2")
        if progress > 0.5 and Path(self.marker).exists() and not second.exists():
            second.touch()
            os._exit(7)
        super().at(progress)

    def fail(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


class Waits(MultiTask):
    """Trains to its middle, and goes on when a file is there."""

    def __init__(self, backbone, targets, *, marker: str = "") -> None:
        super().__init__(backbone, targets)
        self.marker = marker

    def at(self, progress):
        while progress > 0.5 and not Path(self.marker).exists():
            time.sleep(0.05)


class AlwaysFails(MultiTask):
    def at(self, progress):
        raise RuntimeError("never again")


class Explodes(MultiTask):
    def forward(self, image):
        outputs = super().forward(image)
        return outputs._replace(final={k: v * float("inf") for k, v in outputs.final.items()})


class BlindWhenScored(MultiTask):
    """Predicts nothing finite, in evaluation alone."""

    def forward(self, image):
        outputs = super().forward(image)
        return outputs if self.training else outputs._replace(final={k: v / 0 for k, v in outputs.final.items()})


class NeedsWidth(MultiTask):
    def __init__(self, backbone, targets, *, width: int) -> None:
        super().__init__(backbone, targets)


class ByPlace(MultiTask):
    def __init__(self, backbone, targets, width: int = 64) -> None:
        super().__init__(backbone, targets)


class UnknownType(MultiTask):
    def __init__(self, backbone, targets, *, width: "Missing" = 64) -> None:  # noqa: F821
        super().__init__(backbone, targets)


class Forgets(Method):
    """Breaks the contract: a parameter without gradient, and a task missing."""

    def __init__(self, backbone, targets) -> None:
        super().__init__()
        self.inner = MultiTask(backbone, targets)
        self.backbone = backbone
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return self.inner(image)


class ReadsFinest(MultiTask):
    """Reads the finest map alone, so that the rest of the backbone is never trained. frozen: and says so."""

    def __init__(self, backbone, targets, *, frozen: bool = False) -> None:
        super().__init__(backbone, targets)
        channels = backbone.channels[0]
        self.heads = torch.nn.ModuleDict({t: torch.nn.Conv2d(channels, it.channels, 1) for t, it in targets.items()})
        if frozen:
            self.backbone.requires_grad_(False)

    def forward(self, image):
        finest = self.backbone(image)[0]
        resized = {task: interpolate(head(finest), image.shape[2:]) for task, head in self.heads.items()}
        return Outputs(resized, [], {})


class ReadsFinestAndSaysSo(ReadsFinest):
    def __init__(self, backbone, targets) -> None:
        super().__init__(backbone, targets, frozen=True)


class Untrained(MultiTask):
    """Predicts without a graph, so that nothing is trained."""

    @torch.no_grad()
    def forward(self, image):
        return super().forward(image)


class Infinite(MultiTask):
    """Its backbone has gradients without a value: the square root of 0."""

    def forward(self, image):
        outputs = super().forward(image)
        return outputs._replace(final={k: v + (0 * v).sqrt() for k, v in outputs.final.items()})


class Unbuilt(MultiTask):
    """Takes two tasks at least, and does not say so."""

    def __init__(self, backbone, targets) -> None:
        _, _ = list(targets)[:2]
        super().__init__(backbone, targets)


class Coarse(MultiTask):
    """Predicts at half the size of the image."""

    def forward(self, image):
        outputs = super().forward(image)
        return outputs._replace(final={k: v[..., ::2, ::2] for k, v in outputs.final.items()})


class Restless(MultiTask):
    """Predicts something else each time."""

    def forward(self, image):
        outputs = super().forward(image)
        return outputs._replace(final={k: v + torch.rand_like(v) for k, v in outputs.final.items()})


class LeavesOut(MultiTask):
    """Hands the optimiser the heads alone."""

    def parameter_groups(self):
        return [{"params": list(self.heads.parameters())}]


class Twice(MultiTask):
    """Hands the optimiser every parameter in two groups."""

    def parameter_groups(self):
        return super().parameter_groups() * 2


class GroupsFrozen(ReadsFinestAndSaysSo):
    """Hands the optimiser what is frozen."""

    def parameter_groups(self):
        return [{"params": list(self.parameters())}]


class UnknownOptimizer(MultiTask):
    """Asks for an optimiser that nobody knows."""

    def parameter_groups(self):
        return [{**group, "optimizer": "lamb"} for group in super().parameter_groups()]


class Foreign(MultiTask):
    """Says that a parameter of nobody's is shared."""

    def shared_parameters(self):
        return [torch.nn.Parameter(torch.zeros(1))]


class Mixes(MultiTask):
    """Looks at the other images of a batch."""

    def forward(self, image):
        return super().forward(image - image.mean(0, keepdim=True))


class Keeps(MultiTask):
    """Draws an offset that its state_dict does not hold."""

    def __init__(self, backbone, targets) -> None:
        super().__init__(backbone, targets)
        self.offset = torch.rand(1).item()

    def forward(self, image):
        outputs = super().forward(image)
        return outputs._replace(final={k: v + self.offset for k, v in outputs.final.items()})


class OwnStart(MultiTask):
    """Starts the backbone from weights of its own."""

    def __init__(self, backbone, targets) -> None:
        super().__init__(backbone, targets)
        with torch.no_grad():
            next(self.backbone.parameters()).mul_(2)


class OwnCopy(MultiTask):
    """Has an encoder for each task, of which the last one starts from weights of its own."""

    def __init__(self, backbone, targets) -> None:
        super().__init__(backbone, targets)
        self.backbone = encoder_for_each(targets, backbone)
        with torch.no_grad():
            next(self.backbone[list(targets)[-1]].parameters()).mul_(2)


class NoCopy(MultiTask):
    """Keeps the backbone where nobody looks for it."""

    def __init__(self, backbone, targets) -> None:
        super().__init__(backbone, targets)
        self.backbone = torch.nn.Sequential(backbone)


class Reads(MultiTask):
    """Waits for a value on the host."""

    def forward(self, image):
        return super().forward(image / float(image.abs().max()))
