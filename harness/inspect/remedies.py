"""What a broken rule of `mtlbench check` says: the cause, and what to do."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from mtlbench.harness.store.source import FOLDERS, ROOT
from mtlbench.methods.backbone import Backbone
from mtlbench.methods.method import Method, Outputs, Target

MOST = 4  # groups of parameters that are named

# Files whose author is not the reader: ours, and those of Python and of installed packages.
LIBRARIES = [str(ROOT / folder) for folder in FOLDERS]
LIBRARIES += [sysconfig.get_paths()[name] for name in ("purelib", "platlib", "stdlib")]


class Broken(Exception):
    """A rule is broken; the message says how. remedy: what to do; "": what the rule says in general."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.remedy = remedy


class Verdict(NamedTuple):
    """What was found of a rule: it holds where there is no problem and it was checked."""

    rule: str
    problem: str | None = None
    remedy: str = ""
    checked: bool = True  # False: what failed before was in the way, and the rule may hold or not


def said_of(error: Exception) -> str:
    """An error of the reader's own code: its kind, its words, and the line of the reader's file that it came from."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if not _of_library(frame.filename)]
    place = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
    return f"{type(error).__name__}: {error}{place}"


def _of_library(file: str) -> bool:
    return not Path(file).is_file() or file.startswith(tuple(f"{folder}/" for folder in LIBRARIES))


def for_outputs(outputs: Any, targets: Mapping[str, Target], size: Sequence[int]) -> str:
    """What to do about outputs that do not keep the contract for images of `size`, rows and columns."""
    if not isinstance(outputs, Outputs):
        return "end forward with `return Outputs(final, auxiliary=[], label_logits={})`"
    if set(outputs.final) != set(targets):
        return "make one prediction for each key of `targets`, and no other, also where there is one task alone"
    if any(list(prediction.shape[2:]) != list(size) for prediction in outputs.final.values()):
        return (
            'end forward with `interpolate(prediction, image.shape[2:], mode="bilinear")` for each task; predictions '
            "of another size may go into `auxiliary`"
        )
    return (
        "give a head of `task` targets[task].channels channels, and one of `label_logits` targets[task].classes; name "
        "no task that is not in `targets`"
    )


class MapsRead(AbstractContextManager["MapsRead"]):
    """Within it, notes which maps of its backbone a method reads. `by_encoder` is complete after the backward pass."""

    def __init__(self, method: Method) -> None:
        self.encoders = {name: part for name, part in method.named_modules() if isinstance(part, Backbone)}
        self.maps: dict[str, list[list[Tensor]]] = {}
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> MapsRead:
        for name, encoder in self.encoders.items():
            self.hooks.append(encoder.register_forward_hook(lambda *call, name=name: self._note(name, call[-1])))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self.hooks:
            hook.remove()

    def _note(self, name: str, maps: Sequence[Tensor]) -> list[Tensor]:
        """Copies of the maps: a gradient of a copy is the reader's, and not that of a coarser map made from it."""
        copies = [each.clone() for each in maps]
        for copy in copies:
            if copy.requires_grad:
                copy.retain_grad()
        self.maps.setdefault(name, []).append(copies)
        return copies

    @property
    def by_encoder(self) -> dict[str, list[int]]:
        """The places of the maps that are read, 0 the finest, by the path of the encoder that was called."""
        return {
            name: sorted({k for maps in calls for k, each in enumerate(maps) if each.grad is not None})
            for name, calls in self.maps.items()
        }


def without_gradient(method: Method, missing: Sequence[str], read: MapsRead) -> Broken:
    """Why the parameters called `missing` get no gradient, and what to do."""
    names = [name for name, _ in method.named_parameters()]
    groups = common_parts(missing, names)
    more = f" and {len(groups) - MOST} more parts" if len(groups) > MOST else ""
    said = f"no gradient for {', '.join(groups[:MOST])}{more} ({_counted(len(missing))} of {len(names)})"
    causes = []
    for path, used in read.by_encoder.items():
        strides = read.encoders[path].strides
        if len(used) < len(strides) and any(name.startswith(f"{path}.") for name in missing):
            which = f"map {used[0]}" if len(used) == 1 else f"maps {', '.join(map(str, used))}" if used else "none"
            causes.append(
                f"your method reads {'only ' if used else ''}{which} of the {len(strides)} maps of {path} (strides "
                f"{', '.join(map(str, strides))})"
            )
    if causes:
        return Broken(
            f"{said}: {'; '.join(causes)}",
            "use all maps that the backbone gives; or freeze what stays unused, in the constructor: "
            "`parameter.requires_grad_(False)`",
        )
    return Broken(
        f"{said}: no prediction depends on them",
        "use them in forward, and not under `detach` or `no_grad`; or do not make them; or, where they shall keep "
        "their first values, freeze them in the constructor: `parameter.requires_grad_(False)`",
    )


def _counted(parameters: int) -> str:
    return f"{parameters} parameter{'' if parameters == 1 else 's'}"


def common_parts(some: Sequence[str], names: Sequence[str]) -> list[str]:
    """The largest parts of a network all of whose parameters are among `some`; siblings are written as one.

    names: those of all parameters. ["a.0.w", "a.1.w"] of a network that has "a.2.w" too gives ["a.{0,1}"].
    """
    others = set(names) - set(some)
    parts: dict[str, list[str]] = {}
    for name in some:
        words = name.split(".")
        whole = (".".join(words[:end]) for end in range(1, len(words)))
        part = next((part for part in whole if not any(other.startswith(f"{part}.") for other in others)), name)
        parent, _, last = part.rpartition(".")
        siblings = parts.setdefault(parent or part, [])
        if parent and last not in siblings:
            siblings.append(last)
    return [f"{parent}.{_one_of(last)}" if last else parent for parent, last in parts.items()]


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{{{','.join(names)}}}"
