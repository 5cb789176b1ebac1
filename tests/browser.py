"""Pages in headless Chromium, for tests of what a page does. They are skipped where it is not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def dom(page: Path, fragment: str = "", *, folder: Path) -> str:
    """The document after the scripts of a page have run, as HTML. folder: for the profile of the browser."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(
        [program, *arguments, f"--user-data-dir={folder / 'profile'}", page.as_uri() + fragment],
        capture_output=True, text=True, timeout=120, env=environment, check=True,
    )  # fmt: skip
    return done.stdout
