"""Checkpoints: model, optimisers and the position in training; two are kept. No pickle that could run code is loaded.

A checkpoint holds no random states. They are drawn anew for each epoch (seeds.py), and so a resumed run ends with the
bits of an uninterrupted run.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

KEPT = 2


class Position(NamedTuple):
    """How far training has come."""

    epoch: int  # epochs done
    step: int  # optimiser steps done
    seconds: float  # spent training, over all attempts


class UnusableCheckpoint(ValueError):
    """A checkpoint whose files do not match its state.json, or that other code made; the message names it."""


def save(
    store: Store, cell_id: str, model: nn.Module, optimizers: Sequence[Any], position: Position, code: str
) -> None:
    """Publish a checkpoint, state.json last, and remove those before the last two. code: the hash of what made it."""
    folder = files.checkpoints(cell_id)
    states = io.BytesIO()
    torch.save([optimizer.state_dict() for optimizer in optimizers], states)
    # In memory, and not by way of $TMPDIR, whose disk may be small.
    contents = {files.WEIGHTS: model_bytes(model), "optimizers.pt": states.getvalue()}
    hashes = {name: _sha256(content) for name, content in contents.items()}
    state = {**position._asdict(), "source": code, "sha256": hashes}
    for name, content in contents.items():
        store.put(f"{folder}/{position.epoch:06d}/{name}", content)
    store.put(f"{folder}/{position.epoch:06d}/state.json", json.dumps(state, indent=1))
    for name in [name for name in store.names(folder) if name.isdigit()][:-KEPT]:
        store.remove(f"{folder}/{name}")


def restore(
    store: Store, cell_id: str, model: nn.Module, optimizers: Sequence[Any], device: torch.device, code: str
) -> tuple[Position, list[str]]:
    """Load the newest whole checkpoint into model and optimisers. Returns Position(0, 0, 0.0) where there is none.

    code: the hash of the code that would continue. A corrupt checkpoint is set aside, and so is a checkpoint of other
    code, because a training by two versions is a result of neither. The list names each, with the reason.
    """
    folder = files.checkpoints(cell_id)
    warnings = []
    for name in reversed([name for name in store.names(folder) if name.isdigit()]):
        try:
            position, contents = _fetch(store, f"{folder}/{name}", code)
            weights = load(contents[files.WEIGHTS])
            # Processes of a group on CPUs have the device cpu:0, which torch.load does not know.
            place = torch.device("cpu") if device.type == "cpu" else device
            states = torch.load(io.BytesIO(contents["optimizers.pt"]), weights_only=True, map_location=place)
        except (UnusableCheckpoint, SafetensorError, UnpicklingError) as error:
            aside = store.set_aside(f"{folder}/{name}")
            first = next(iter(str(error).splitlines()), type(error).__name__)
            warnings.append(f"checkpoint not used, kept as {aside}: {first}")
            continue
        model.load_state_dict(weights)
        for optimizer, state in zip(optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        return position, warnings
    return Position(0, 0, 0.0), warnings


def _fetch(store: Store, name: str, code: str) -> tuple[Position, dict[str, bytes]]:
    contents = {file: store.get(f"{name}/{file}") for file in store.names(name, "file")}
    try:
        state = json.loads(contents["state.json"])
        hashes, source = dict(state["sha256"]), state["source"]
        position = Position(int(state["epoch"]), int(state["step"]), float(state["seconds"]))
    except (ValueError, KeyError, TypeError) as error:  # ValueError: the file is not JSON, or not in UTF-8
        raise UnusableCheckpoint(f"{store.path(name)}/state.json: {type(error).__name__}: {error}") from error
    if source != code:
        raise UnusableCheckpoint(f"{store.path(name)} was made by other code: {source}, now {code}")
    for file, expected in hashes.items():
        if file not in contents or _sha256(contents[file]) != expected:
            raise UnusableCheckpoint(f"{store.path(name)}/{file} is missing or has changed since it was written")
    return position, contents


def model_bytes(model: nn.Module) -> bytes:
    """Weights and buffers as safetensors. They are made contiguous, because the format knows no memory layout.

    It knows no memory that tensors share either, so what layers of a network share is written under each of its names.
    """
    state: dict[str, Tensor] = {}
    written: set[int] = set()
    for name, value in model.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        state[name] = tensor.clone() if place in written else tensor
        written.add(place)
    return bytes(save_tensors(state))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Parts(NamedTuple):
    """Into how many parts a cell divides its batches, after the memory of its device ran out. The store keeps it."""

    training: int = 1  # of each micro-batch of the recipe
    scoring: int = 1  # of what is scored at once


WHOLE = Parts()


def parts_of(store: Store, cell_id: str) -> Parts:
    name = files.parts(cell_id)
    try:
        return Parts(*(max(1, int(word)) for word in store.get_those_there([name]).get(name, b"").split()))
    except (ValueError, TypeError):  # somebody has written into it
        return WHOLE


def put_parts(store: Store, cell_id: str, parts: Parts) -> None:
    store.put(files.parts(cell_id), f"{parts.training} {parts.scoring}\n")
