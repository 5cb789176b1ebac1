"""Commands that are started in a user's folder, whatever the files in it are called."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from mtlbench.results.records.reading import read
from paths import PYTHONPATH

MINE = '''
from mtlbench.methods.baseline import MultiTask


class Mine(MultiTask):
    """A method of the user's."""
'''
RAISES = 'raise RuntimeError("a file of the user was imported: " + __file__)\n'

# Names of ours, of libraries, and of Python's own modules that `python -m` itself does not need.
TAKEN = ["results.py", "harness.py", "benchmarks/__init__.py", "yaml.py", "fsspec.py", "pandas/__init__.py"]
TAKEN += ["statistics.py", "random.py", "queue.py", "tests.py", "utils.py", "ray/__init__.py"]

MATRIX = {
    "benchmark": {"name": "rooms", "tasks": ["depth"], "options": {"train": 4, "val": 2, "test": 2}},
    "size": [32, 64],
    "methods": ["mine:Mine", {"name": "methods.mine:Mine", "label": "in a package"}],
    "baseline": "mine:Mine",
    "backbone": {"name": "test_efficientnet"},
    "train": {"steps": 2, "batch": 2},
}

# What pip writes for a console script: Python puts the folder of this file first, and not the current one.
SCRIPT = "import sys\nfrom mtlbench.harness.cli.app import main\nsys.exit(main())\n"


@pytest.fixture
def folder(tmp_path):
    """A user's folder with two methods, and with files that no command may import."""
    root = tmp_path / "user"
    for name in TAKEN:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(RAISES)
    (root / "methods").mkdir()
    (root / "methods" / "__init__.py").touch()
    (root / "methods" / "mine.py").write_text(MINE)
    (root / "mine.py").write_text(MINE)
    (root / "m.yaml").write_text(yaml.safe_dump(MATRIX))
    return root


@pytest.fixture
def mtlbench(folder, tmp_path):
    """Run the command in the user's folder, as the console script or as `python -m mtlbench`."""
    script = tmp_path / "bin" / "mtlbench"
    script.parent.mkdir()
    script.write_text(SCRIPT)

    def call(*arguments, module=False):
        environment = {**os.environ, "MTLBENCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": PYTHONPATH}
        command = [sys.executable, *(["-m", "mtlbench"] if module else [script]), *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("module", [False, True], ids=["script", "python -m"])
def test_no_file_of_the_folder_is_taken_for_another(mtlbench, module):
    done = mtlbench("status", "m.yaml", module=module)
    assert done.returncode == 0, done.stderr
    assert "2 cells: 2 new" in done.stdout


@pytest.mark.slow
def test_a_method_of_the_folder_can_be_checked(mtlbench):
    done = mtlbench("check", "mine:Mine", module=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout


def begun(folder, empty_database):
    """A store with a database of MLflow without a run: a new database takes seconds."""
    (folder / "s").mkdir()
    shutil.copy(empty_database, folder / "s" / "mlflow.db")


@pytest.mark.drill  # the next one starts Ray in such a folder too
@pytest.mark.usefixtures("in_turn")
def test_a_matrix_with_methods_of_the_folder_runs_to_its_end(mtlbench, folder, empty_database):
    begun(folder, empty_database)
    done = mtlbench("run", "m.yaml", "--store", "s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 finished" in done.stdout
    records = read(str(folder / "s"), "m").records.values()
    assert sorted(record.cell["method"] for record in records) == ["methods.mine:Mine", "mine:Mine"]


@pytest.mark.slow
@pytest.mark.usefixtures("in_turn")
def test_a_method_of_the_folder_trains_in_two_processes(mtlbench, folder, empty_database):
    begun(folder, empty_database)
    alone = ("--set", "methods=[mine:Mine]", "--workers-per-cell", "2")
    done = mtlbench("run", "m.yaml", "--store", "s", *alone, module=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 finished" in done.stdout
