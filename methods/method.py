"""The contract between a method and everything else: an image goes in, predictions for every task come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn import Parameter


class Target(NamedTuple):
    """What a method knows of a task. A method never knows what the task means."""

    channels: int  # of a prediction: 40 for semseg on NYUD-v2, 1 for depth, 3 for normals
    classes: int  # of its label once discretised: 40 for semseg, 40 depth bins, 40 normal clusters


class Outputs(NamedTuple):
    """Everything a method predicts for a batch of images [B, 3, H, W].

    This is a NamedTuple and not a dataclass, because Accelerate's cast to float32 walks through tuples.
    """

    final: dict[str, Tensor]  # task -> [B, channels, H, W] at the size of the image
    auxiliary: list[dict[str, Tensor]]  # more predictions of the same kind, any size, finest first; [] if none
    label_logits: dict[str, Tensor]  # task -> [B, classes, h, w] over discretised labels; {} if none
    penalty: Tensor | None = None  # added to the objective: the entropy of a search


class ContractBroken(ValueError):
    """A method returned what does not fit the tasks and the images. It would do so again."""


def check_outputs(outputs: Any, targets: Mapping[str, Target], image: Tensor, method: str) -> None:
    """Raise ContractBroken unless the outputs for images [B, 3, H, W] keep the contract.

    The message names `method` and the part of the contract that it breaks. Without this check, a surplus channel or a
    missing row would be scored as if it meant something. The check looks at shapes alone, so that it need not wait for
    a GPU.
    """
    if not isinstance(outputs, Outputs):
        raise ContractBroken(f"{method}: forward returned {type(outputs).__name__}, not methods.Outputs")
    if set(outputs.final) != set(targets):
        raise ContractBroken(f"{method}: final has {sorted(outputs.final)}, the tasks are {sorted(targets)}")
    for task, prediction in outputs.final.items():
        found, expected = list(prediction.shape), [len(image), targets[task].channels, *image.shape[2:]]
        if found != expected:
            raise ContractBroken(f"{method}: final[{task!r}] is {found}, not {expected}")
    channels = {task: target.channels for task, target in targets.items()}
    classes = {task: target.classes for task, target in targets.items()}
    maps = [("auxiliary", channels, level) for level in outputs.auxiliary]
    for part, expected_channels, level in [*maps, ("label_logits", classes, outputs.label_logits)]:
        for task, prediction in level.items():
            if task not in targets:
                raise ContractBroken(f"{method}: {part} has {task!r}, which is not asked for")
            if prediction.shape[1] != expected_channels[task]:
                raise ContractBroken(
                    f"{method}: {part}[{task!r}] has {prediction.shape[1]} channels, not {expected_channels[task]}"
                )


class Start(NamedTuple):
    """The row of a table whose trained networks another row starts from."""

    method: str
    options: Mapping[str, Any]
    otherwise: str  # what to do where there is no such row, as in "set option init: backbone"


def take_over(module: nn.Module, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Fill all parameters and buffers of a module with those of `state` whose names begin with `prefix`.

    Raises ValueError where a tensor is missing, is left over, or has another shape.
    """
    found = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    own = module.state_dict()
    wrong = [f"{name} is missing" for name in own.keys() - found.keys()]
    wrong += [f"{name} has no place" for name in found.keys() - own.keys()]
    wrong += [
        f"{name} is {list(found[name].shape)} in place of {list(own[name].shape)}"
        for name in own.keys() & found.keys()
        if own[name].shape != found[name].shape
    ]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(f"the weights {prefix}* do not fit: {min(wrong)}{more}")
    module.load_state_dict(found)


class Method(nn.Module):
    """A multi-task network. Subclasses are constructed as ``Class(backbone, targets, **options)``.

    A method says by its data and hooks how it is supervised, how the temperature of a search changes, and how the
    parameters of an architecture are trained. So the training loop need not know any method by name.
    """

    # The fewest and the most tasks of a network. With (1, 1), a matrix makes a cell for each task.
    task_counts: ClassVar[tuple[int, int | None]] = (1, None)

    published_on: ClassVar[str] = ""  # the backbones and options of the publication, where it names some

    backbone: nn.Module  # the backbone as it was given, or an nn.ModuleDict, task -> copy, where each task has its own

    def forward(self, image: Tensor) -> Outputs:
        """image: float [B, 3, H, W], ImageNet-normalised, H and W multiples of 32."""
        raise TypeError(f"{type(self).__name__} must define forward(image) -> Outputs")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser. A group may have its own "optimizer", "lr", "weight_decay" and "schedule".

        "lr_scale": a factor of the group's learning rate, its own or the recipe's.
        Optimisers and schedules have the names that a recipe can give, "package.module:Name" among them.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def shared_parameters(self) -> list[Parameter]:
        """The parameters that the loss of every task reaches. Balancers look at the gradients of these parameters."""
        return list(self.backbone.parameters())

    def at(self, progress: float) -> None:
        """Called before every step with the fraction of training done, in [0, 1]. The schedules of a search use it."""

    def load_start(self, tasks: Sequence[str], state: Mapping[str, Tensor]) -> None:
        """Take over the weights of a trained network of `tasks`, which are named as in its state_dict.

        Where the trained network has the same parameters, all are taken over, and else those of the backbone. Raises
        ValueError where they do not fit.
        """
        own = {name: tensor.shape for name, tensor in self.state_dict().items()}
        if own == {name: tensor.shape for name, tensor in state.items()}:
            take_over(self, state)
        else:
            take_over(self.backbone, state, "backbone.")

    def findings(self) -> dict[str, Any]:
        """What the training found besides weights, such as a genotype. The result goes into the record as JSON."""
        return {}

    @classmethod
    def takes(cls, tasks: int) -> bool:
        """Whether a network may have so many tasks."""
        fewest, most = cls.task_counts
        return fewest <= tasks and (most is None or tasks <= most)

    @classmethod
    def counted(cls) -> str:
        """How many tasks a network may have, in words."""
        fewest, most = cls.task_counts
        return f"exactly {fewest}" if fewest == most else f"{fewest} or more" if most is None else f"{fewest} to {most}"

    @classmethod
    def misfit(cls, options: Mapping[str, Any], strides: Sequence[int]) -> str:
        """Why a network with `options` does not fit a backbone with maps at `strides`, and the way out; or ""."""
        return ""

    @classmethod
    def needs_two_images(cls, options: Mapping[str, Any]) -> str:
        """Why a process with `options` must train on two images or more at once; "" where one is enough."""
        return ""

    @classmethod
    def is_as_published(cls, options: Mapping[str, Any], backbone: str, output_stride: int) -> bool:
        """Whether the network is among those of `published_on`. If not, tables call it a composition of ours."""
        return True

    @classmethod
    def remark(cls, options: Mapping[str, Any]) -> str:
        """What a reader of a table must know of a network with `options`; "" where there is nothing to say."""
        return ""

    @classmethod
    def starts_from(cls, options: Mapping[str, Any]) -> Start | None:
        """The row whose trained networks a network with `options` starts from; None: from the backbone's weights."""
        return None

    @classmethod
    def preliminary(cls, options: Mapping[str, Any]) -> bool:
        """True: with `options` a network is trained for its findings alone. Scores are of what `follow_up` trains."""
        return False

    @classmethod
    def follow_up(cls, options: Mapping[str, Any], findings: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the training from scratch that follows a preliminary training with these `findings`."""
        raise TypeError(f"{cls.__name__} is trained preliminarily with {dict(options)} and must define follow_up")
