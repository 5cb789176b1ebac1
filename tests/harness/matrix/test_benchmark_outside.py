"""A benchmark from outside of the package: what it must have is checked, and its names can be those of files."""

import pytest
from pydantic import ValidationError

from additions import HEIGHT, Squares
from mtlbench.harness.matrix.cell import BenchmarkConfig, Cell, TrainConfig
from mtlbench.harness.matrix.entries import BenchmarkEntry, make_benchmark
from mtlbench.harness.matrix.file import check
from mtlbench.harness.matrix.text.written import MatrixError

NAME = "additions:Squares"


def test_it_is_made_with_its_size_and_options():
    entry = BenchmarkEntry(name=NAME, protocol="mirrored", size=(64, 96), options={"side": 6})
    made = make_benchmark(entry)
    assert isinstance(made, Squares) and made.size == (64, 96) and made.side == 6
    assert entry.task_sets == [("height",)]


def test_its_cells_are_called_by_its_class():
    cell = Cell(method="pkg:Mine", tasks=("height",), benchmark=BenchmarkConfig(name=NAME), train=TrainConfig(epochs=1))
    assert cell.id.startswith("Squares-Mine-height-s0-")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"options": {"sides": 3}}, "has no option 'sides'; it has: side"),
        ({"tasks": ["depth"]}, "has no task 'depth'; it has: height"),
    ],
)
def test_what_it_lacks_is_named_where_the_matrix_is_read(fields, expected):
    with pytest.raises(ValidationError, match=f"{NAME} {expected}"):
        BenchmarkEntry(name=NAME, **fields)


@pytest.mark.parametrize(
    ("benchmark", "expected"),
    [
        ({"name": NAME}, f"{NAME} has no augmentation protocol 'mtl'; set it to mirrored"),
        ({"name": "rooms", "protocol": "mirrored"}, "rooms has no augmentation protocol 'mirrored'; set it to mtl or"),
    ],
)
def test_a_protocol_that_a_benchmark_does_not_have_is_told_with_those_that_it_has(benchmark, expected):
    raw = {"name": "m", "benchmark": benchmark, "methods": ["single_task"], "train": {"epochs": 1}}
    with pytest.raises(MatrixError, match=f"benchmarks.0.protocol: {expected}"):
        check(raw, "here")


class FixedTasks(Squares):
    """Its tasks cannot be replaced."""

    @property
    def tasks(self):
        return {"height": HEIGHT}


def test_tasks_that_cannot_be_replaced_are_refused_for_the_published_rule_alone():
    name = f"{__name__}:FixedTasks"
    assert list(make_benchmark(BenchmarkConfig(name=name)).tasks) == ["height"]
    raw = {"name": "m", "methods": ["multi_task"], "train": {"epochs": 1}}
    with pytest.raises(MatrixError, match=r"FixedTasks': its tasks cannot be replaced .*; make `tasks` an attribute"):
        check({**raw, "benchmark": {"name": name, "protocol": "mirrored", "evaluate": "published"}}, "here")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("squares", r"unknown benchmark 'squares'; known: rooms, nyud, .*; or package\.module:Name of your own"),
        ("additions:Missing", "'additions:Missing' cannot be imported: AttributeError"),
        ("additions:Pyramid", r"is not a subclass of mtlbench\.benchmarks\.Benchmark but <class"),
    ],
)
def test_what_is_no_benchmark_is_refused(name, expected):
    with pytest.raises(ValidationError, match=expected):
        BenchmarkEntry(name=name)


BROKEN = """
from additions import Squares
from mtlbench.benchmarks import Benchmark
from mtlbench.benchmarks.transforms.augmentation import Augmentation

class Abstract(Benchmark):
    def __init__(self, size=(32, 64)): ...

class NoTasks(Squares):
    tasks = {}

class Renamed(Squares):
    tasks = {"depth": Squares.tasks["height"]}
    default_tasks = ("depth",)

class NoTest(Squares):
    splits = {"train": 4}

class UnknownNumber(Squares):
    splits = {"train": None, "test": None}

class OwnSize(Squares):
    def __init__(self, size=(32, 64)):
        self.size = (32, 64)

class OddSize(Squares):
    def __init__(self, size=(32, 64)):
        self.size = (30, 64)

class Slash(Squares):
    name = "a/b"

class OtherDefault(Squares):
    default_tasks = ("depth",)

class Bare(Benchmark):
    name, needs_root = "bare", False
    def open(self, root, split, tasks): ...
    def fingerprint(self, root): ...
    def __init__(self, size=(32, 64)): ...
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Abstract", "cannot be made: TypeError: .*abstract"),
        ("NoTasks", "tasks is {}; it must be a mapping from the name of each task to its Task"),
        ("Renamed", "tasks is .*; it must be a mapping from the name of each task to its Task"),
        ("NoTest", "splits is {'train': 4}; it must be a mapping from train, test"),
        ("UnknownNumber", "splits says None of train; a benchmark that makes its data must say how many"),
        ("OwnSize", r"size is \(32, 64\) where \(64, 96\) was asked for"),
        ("OddSize", r"size is \(30, 64\); it must be \(rows, columns\), multiples of 32"),
        ("Slash", "name is 'a/b'; it must be a word, without a blank or a slash"),
        ("OtherDefault", "default_tasks has depth; the tasks are height"),
        ("Bare", "size is missing; .*; tasks is missing; .*; augmentations is missing; it must be a mapping"),
    ],
)
def test_a_benchmark_that_breaks_the_contract_is_told_how(name, expected, tmp_path, monkeypatch):
    (tmp_path / "broken_benchmarks.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"benchmark 'broken_benchmarks:{name}'.* {expected}"):
        make_benchmark(BenchmarkConfig(name=f"broken_benchmarks:{name}", size=(64, 96)))


def test_two_benchmarks_whose_files_would_have_the_same_names_are_refused(tmp_path, monkeypatch):
    (tmp_path / "more_squares.py").write_text("from additions import Squares\n")
    monkeypatch.syspath_prepend(tmp_path)
    both = [{"name": name, "protocol": "mirrored"} for name in (NAME, "more_squares:Squares")]
    raw = {"name": "m", "benchmarks": both, "methods": ["single_task"], "train": {"epochs": 1}}
    with pytest.raises(MatrixError, match="additions:Squares and more_squares:Squares would have files of the same"):
        check(raw, "here")
