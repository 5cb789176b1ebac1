"""What Ray reads in variables: where the token of a cluster is, and where a Ray of this machine keeps its sockets.

Ray reads them while it is imported, so nothing here imports Ray.
"""

from __future__ import annotations

import os
from pathlib import Path

LONGEST_SOCKET = 107  # bytes; Linux takes no longer path of a socket
# What Ray adds to its folder. A process id has up to 7 digits.
SOCKET = "/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"


def ray_folder() -> str | None:
    """Where a Ray of this machine keeps its sockets: None for the one that Ray itself chooses.

    Raises ValueError that says which variable to change where no folder will do.
    """
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), None)
    chosen = Path(os.environ[variable] if variable else "/tmp", "ray").absolute()
    if _holds_sockets(chosen):
        return None
    for folder in (Path("/tmp/ray"), Path(f"/tmp/ray-{os.getuid()}")):
        if _holds_sockets(folder):
            return str(folder)
    most = LONGEST_SOCKET - len(SOCKET) - len("/ray")
    what = f"{variable}={os.environ[variable]}" if variable else "/tmp"
    raise ValueError(
        f"{what} is too long or cannot be written to, and Ray keeps sockets there; set RAY_TMPDIR to a folder that can "
        f"be written to and whose path has at most {most} bytes"
    )


def _holds_sockets(folder: Path) -> bool:
    """Whether the folder can be written to, or made, and the paths of Ray's sockets in it are short enough."""
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return writable and len(os.fsencode(f"{folder}{SOCKET}")) <= LONGEST_SOCKET


def use_token() -> None:
    """Join clusters with the token that is where Ray looks for one, unless RAY_AUTH_MODE says otherwise.

    A cluster without tokens takes no notice of one.
    """
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")
    if os.environ.get("RAY_AUTH_TOKEN") or Path(path).expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
