"""A network of timm in five stages, so that a method can act between them. Stage 0 is the stem.

ResNets and HRNets were checked. Other networks that timm keeps as a list of layers run in the same way, as ConvNeXt
and Swin do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

STAGES = 5


class Stages(ABC):
    """The stages of a network. Maps are [B, C, H, W], or [B, H, W, C] where the network keeps them so."""

    @abstractmethod
    def run_but_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """Stage k >= 1 on the maps of stage k - 1, without the last block of the stage."""

    @abstractmethod
    def run_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """The last block of stage k >= 1, on the maps of `run_but_last`."""

    @abstractmethod
    def check_parts(self) -> None:
        """Raise ValueError where a stage >= 1 has no last block that can be run apart."""

    @abstractmethod
    def run(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """Stage k on the maps of stage k - 1; stage 0 on the image alone."""

    @abstractmethod
    def pyramid(self, outputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The four maps of the network, from the maps of all five stages."""


class Layers(Stages):
    """A network whose stages 1 to 4 are a layer each, such as a ResNet: one map after each stage.

    stages: the modules of each stage, in the order in which they run.
    """

    def __init__(self, name: str, stages: Sequence[Sequence[nn.Module]]) -> None:
        self.name, self.stages = name, stages

    def run(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        return [_through(self.stages[k], maps)]

    def run_but_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        return [_through(self._blocks(k)[:-1], maps)]

    def run_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        return [_through(self._blocks(k)[-1:], maps)]

    def check_parts(self) -> None:
        for k in range(1, STAGES):
            self._blocks(k)

    def pyramid(self, outputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return [maps[0] for maps in outputs[1:]]

    def _blocks(self, k: int) -> list[nn.Module]:
        """The blocks of stage k. Raises ValueError where the stage has no last block that can be taken off."""
        layer = self.stages[k]
        blocks = list(layer[0]) if len(layer) == 1 and isinstance(layer[0], nn.Sequential) else []
        if len(blocks) < 2:
            raise _not_in_parts(self.name, k)
        return blocks


class Branches(Stages):
    """An HRNet, whose stages 2, 3 and 4 give a map more than the stage before: 1, 1, 2, 3 and 4 maps."""

    def __init__(self, name: str, network: Any) -> None:
        self.name, self.network = name, network

    def run(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        network = self.network
        if k == 0:
            stem = [network.conv1, network.bn1, network.act1, network.conv2, network.bn2, network.act2]
            return [_through(stem, maps)]
        if k == 1:
            return [_through(network.layer1, maps)]
        return _modules(self._modules_of(k), self._transition(k, maps))

    def run_but_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        self.check_parts()
        if k == 1:
            return [_through(self.network.layer1[:-1], maps)]
        return _modules(self._modules_of(k)[:-1], self._transition(k, maps))

    def run_last(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        if k == 1:
            return [_through(self.network.layer1[-1:], maps)]
        return _modules(self._modules_of(k)[-1:], maps)

    def check_parts(self) -> None:
        if len(self.network.layer1) < 2:  # later stages have a transition before their last module
            raise _not_in_parts(self.name, 1)

    def pyramid(self, outputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return list(outputs[-1])

    def _modules_of(self, k: int) -> list[nn.Module]:
        return list(getattr(self.network, f"stage{k}"))

    def _transition(self, k: int, maps: Sequence[Tensor]) -> list[Tensor]:
        """A map for each branch of stage k: as it is where the branch goes on, else made from the coarsest map."""
        steps = getattr(self.network, f"transition{k - 1}")
        return [maps[i] if isinstance(step, nn.Identity) else step(maps[-1]) for i, step in enumerate(steps)]


def stages_of(name: str, network: nn.Module, levels: Sequence[int]) -> Stages:
    """The stages of a network of timm that gives its four maps at the places `levels` of its output.

    Raises ValueError for a network that does not show its stages.
    """
    from timm.models import FeatureListNet
    from timm.models.hrnet import HighResolutionNetFeatures

    if isinstance(network, HighResolutionNetFeatures):
        return Branches(name, network)
    if isinstance(network, FeatureListNet):
        layers, tapped = dict(network.items()), list(network.return_layers)
        places = [list(layers).index(tapped[level]) for level in levels]
        if places == list(range(places[0], places[0] + len(places))):
            modules = list(layers.values())
            return Layers(name, [modules[: places[0]], *([modules[place]] for place in places)])
    raise ValueError(
        f"backbone {name!r} cannot be run stage by stage, as this method needs; "
        "use a ResNet, such as resnet50, or hrnet_w18_small_v2"
    )


def _through(modules: Sequence[nn.Module] | nn.Sequential, maps: Sequence[Tensor]) -> Tensor:
    (x,) = maps
    for module in modules:
        x = module(x)
    return x


def _modules(modules: Sequence[nn.Module], maps: Sequence[Tensor]) -> list[Tensor]:
    """HRNet's modules one after the other. A module writes into the list that it is given, so it gets a copy."""
    for module in modules:
        maps = module(list(maps))
    return list(maps)


def _not_in_parts(name: str, k: int) -> ValueError:
    return ValueError(
        f"backbone {name!r}: stage {k} has no last block that can be run apart, as this method needs; "
        "use resnet18, resnet34, resnet50 or hrnet_w18_small_v2"
    )
