"""Where modules are looked for: a folder of the user's comes after everything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtlbench.harness import search_path
from mtlbench.harness.cluster import joining
from paths import PYTHONPATH, ROOT


@pytest.fixture
def path(monkeypatch, tmp_path):
    """The search path, to be changed at will; the current folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/first", "/second"])
    return sys.path


@pytest.mark.parametrize("entries", [[], [""], ["HERE"], ["", "HERE", "."], ["HERE/sub/.."]])
def test_the_current_folder_comes_last_and_once(path, tmp_path, entries):
    (tmp_path / "sub").mkdir()
    path[1:1] = [entry.replace("HERE", str(tmp_path)) for entry in entries]
    search_path.look_here_last()
    search_path.look_here_last()
    assert sys.path == ["/first", "/second", str(tmp_path)]


def test_the_current_folder_is_known_under_another_name(path, tmp_path):
    link = tmp_path.parent / "link"
    link.symlink_to(tmp_path)
    path.insert(0, str(link))
    search_path.look_here_last()
    assert sys.path == ["/first", "/second", str(tmp_path)]


def test_a_current_folder_that_was_removed_is_not_looked_into(path, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    search_path.look_here_last()
    assert sys.path == ["/first", "/second"]


def test_folders_of_another_process_come_after_ours(path):
    search_path.look_also_in(["/third", "/first", "/fourth"])
    assert sys.path == ["/first", "/second", "/third", "/fourth"]


def test_processes_of_a_job_get_no_folder_first_but_the_one_that_holds_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert joining._Job()._py_driver_sys_path == []
    monkeypatch.chdir(ROOT / "src")
    assert joining._Job()._py_driver_sys_path == [str(ROOT / "src")]


def order(*command, folder):
    """The search path of a new process, without its folders of Python itself."""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH + os.pathsep}  # the empty entry is the current folder
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return [entry for entry in done.stdout.splitlines() if Path(entry).exists()]


def test_the_command_line_looks_into_the_current_folder_last(tmp_path):
    show = "import sys; from mtlbench.harness.cli import app; app.app = lambda: print(*sys.path, sep='\\n'); app.main()"
    assert order(sys.executable, "-c", show, folder=tmp_path)[-1] == str(tmp_path)
    assert order(sys.executable, "-c", show, folder=tmp_path).count(str(tmp_path)) == 1
