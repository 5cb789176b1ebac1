"""How the rows of a table were trained and scored, as their records say, and in what they differ."""

from __future__ import annotations

from typing import Any

from mtlbench.results.summary.summary import Summary

# A name for readers -> where a cell has it.
TRAINING = {
    "optimizer": "train.optimizer",
    "learning rate": "train.lr",
    "momentum": "train.momentum",
    "weight decay": "train.weight_decay",
    "schedule": "train.schedule",
    "power of the schedule": "train.power",
    "learning rate changes by": "train.per",
    "epochs": "train.epochs",
    "steps": "train.steps",
    "batch": "train.batch",
    "greatest norm of gradients": "train.clip",
}
# Loss weights always differ between one task and several, so that a caption does not name them.
BESIDES = {
    "loss weights": "train.weights",
    "micro-batches a step": "train.accumulate",
    "precision": "train.precision",
    "share of train held out": "train.holdout",
    "backbone": "backbone.name",
    "initial weights": "backbone.weights",
    "stride of the coarsest map": "backbone.output_stride",
    "momentum of batch norms": "backbone.bn_momentum",
    "input size": "benchmark.size",
    "augmentation": "benchmark.protocol",
    "resampling of images": "benchmark.resampling",
    "evaluation": "benchmark.evaluate",
    "options of the benchmark": "benchmark.options",
}


def differences(summary: Summary) -> list[str]:
    """What rows do differently in training, such as "batch 8 (PAD-Net) or 6 (MTAN)"."""
    found = _settings(summary, TRAINING)
    return [f"{name} {_text(values, ' or ')}" for name, values in found.items() if len(values) > 1]


def box(summary: Summary) -> list[tuple[str, str]]:
    """(name, value) of all that the records say of training, network and evaluation; with rows where they differ."""
    return [(name, _text(values, "; ")) for name, values in _settings(summary, TRAINING | BESIDES).items()]


def _settings(summary: Summary, names: dict[str, str]) -> dict[str, dict[str, list[str]]]:
    """name -> value -> the labels of the rows with this value. What no finished cell gives is left out."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, path in names.items():
        for label, by_seed in summary.comparison.trained().items():
            values = [_at(record.cell, path) for records in by_seed.values() for record in records]
            told = sorted({_printed(value) for value in values if value not in (None, {}, [])})
            if told:
                found.setdefault(name, {}).setdefault(" and ".join(told), []).append(label)
    return found


def _at(cell: Any, path: str) -> Any:
    for key in path.split("."):
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell


def _printed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_printed(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " x ".join(map(_printed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(values: dict[str, list[str]], between: str) -> str:
    """One value as it is, several with the rows that have each."""
    if len(values) == 1:
        return next(iter(values))
    return between.join(f"{value} ({', '.join(labels)})" for value, labels in values.items())
