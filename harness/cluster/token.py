"""The token that a cluster asks for. Ray reads the variables while it is imported, so nothing here imports Ray."""

from __future__ import annotations

import os
from pathlib import Path


def use_token() -> None:
    """Join clusters with the token that is where Ray looks for one, unless RAY_AUTH_MODE says otherwise.

    A cluster without tokens takes no notice of one.
    """
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or Path(path).expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
