"""The kinds of label."""

from __future__ import annotations

from typing import Literal

Kind = Literal["label", "scalar", "vector"]
