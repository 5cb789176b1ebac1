import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A folder for rendered rooms."""
    return tmp_path_factory.mktemp("rooms")


@pytest.fixture
def go(monkeypatch, tmp_path, rooms):
    """Runs a matrix in this process, into tmp_path / "s"."""
    from in_process import running

    return running(monkeypatch, tmp_path, rooms)
