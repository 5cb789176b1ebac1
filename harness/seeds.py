"""Randomness by purpose: every draw comes from (seed, purpose, numbers), so nothing depends on what was drawn before.

Draws are the same for all methods, so that two methods can be compared seed by seed. They are also the same for any
number of processes and after any resumption.
"""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
import torch

Purpose = Literal["backbone", "heads", "order", "augmentation", "layers", "holdout", "learning", "tuning"]


def code(text: str) -> int:
    """A stable number for a name: Python's own hash differs from run to run."""
    return zlib.crc32(text.encode())


def generator(seed: int, purpose: Purpose, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([seed, code(purpose), *numbers])


def seed_torch(seed: int, purpose: Purpose, *numbers: int) -> None:
    """Seed torch's global generator, on every device: initial values, dropout, stochastic depth, Gumbel noise."""
    torch.manual_seed(int(generator(seed, purpose, *numbers).integers(2**62)))
