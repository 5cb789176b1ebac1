"""A matrix: methods x benchmarks x task sets x seeds, and the cells that it stands for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, field_validator, model_validator

from benchmarks import BENCHMARKS
from benchmarks.benchmark import Benchmark
from harness import presets, pretrained
from harness.cell import BackboneConfig, BenchmarkConfig, Cell, Config, TrainConfig, plain
from harness.tuning import Tuning, trials, tuned
from methods import check_options, resolve
from results.record import Entry, Manifest, Record


class MethodEntry(Config):
    """A row of the table: a method with its options, and what differs in its training."""

    name: str
    label: str | None = None
    options: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        resolve(name)
        return name

    @model_validator(mode="after")
    def _options_bind(self) -> MethodEntry:
        check_options(self.name, self.options)
        return self

    @property
    def row(self) -> str:
        return self.label or self.name


class BenchmarkEntry(BenchmarkConfig):
    """A benchmark with the task sets to train on it; by default the benchmark's own."""

    options: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    tasks: Annotated[list[list[str]], Field(min_length=1)] | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in BENCHMARKS:
            raise ValueError(f"unknown benchmark {name!r}; known: {', '.join(BENCHMARKS)}")
        return name

    @field_validator("tasks", mode="before")
    @classmethod
    def _one_or_many(cls, tasks: Any) -> Any:
        return [tasks] if isinstance(tasks, list) and tasks and all(isinstance(task, str) for task in tasks) else tasks

    @model_validator(mode="after")
    def _tasks_exist(self) -> BenchmarkEntry:
        _check_options(self.name, self.options)
        known = self.make().tasks
        for task_set in self.task_sets:
            for task in task_set:
                if task not in known:
                    raise ValueError(f"{self.name} has no task {task!r}; it has: {', '.join(known)}")
            if not task_set or len(set(task_set)) < len(task_set):
                raise ValueError(f"{task_set}: a task set names each of its tasks once, and at least one")
        return self

    @property
    def task_sets(self) -> list[tuple[str, ...]]:
        """In the benchmark's order of tasks."""
        benchmark = self.make()
        order = list(benchmark.tasks)
        sets = self.tasks if self.tasks is not None else [list(benchmark.default_tasks)]
        return [tuple(sorted(s, key=lambda task: order.index(task) if task in order else -1)) for s in sets]

    def make(self) -> Benchmark:
        return make_benchmark(self)


class Resources(Config):
    """Where cells run. Nothing of it is in a cell's id, since nothing of it changes a number beyond its last digits."""

    cpus: Annotated[int, Field(gt=0)] = 1  # of a process
    gpus: Annotated[float, Field(ge=0)] = 0  # of a process; a fraction shares a GPU and is not for timings
    workers: Annotated[int, Field(gt=0)] = 1  # processes a cell
    loaders: Annotated[int, Field(ge=0)] = 0  # processes that read and transform images, for each worker
    max_concurrent: Annotated[int, Field(gt=0)] | None = None  # cells at once; None: as many as fit
    checkpoint_every: Annotated[int, Field(gt=0)] = 1  # epochs
    validate_every: Annotated[int, Field(gt=0)] | None = None  # epochs; where there is a val split
    save_predictions: bool = False  # of all test images, at the network's size, in float16
    retries: Annotated[int, Field(ge=0)] = 1  # of a cell that failed, from its last checkpoint


class Recipe(TrainConfig):
    """Training as a matrix says it, for all its benchmarks: `weights` is a mapping, or the name of a preset."""

    preset: str = presets.COMMON  # the form that `weights: NAME` takes

    @model_validator(mode="before")
    @classmethod
    def _named_weights(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("weights"), str):
            presets.require(raw["weights"])
            return {**raw, "preset": raw["weights"], "weights": {}}
        return raw

    def on(self, benchmark: str, tasks: Sequence[str]) -> TrainConfig:
        """What a cell holds: weights as numbers, of `tasks` alone. Raises ValueError where the preset lacks one."""
        weights = {**presets.weights(self.preset, benchmark, tasks), **self.weights}
        chosen = {task: weights[task] for task in sorted(weights) if task in tasks}
        return TrainConfig(**self.model_dump(exclude={"preset", "weights"}), weights=chosen)


class Matrix(Config):
    """The file, checked."""

    name: str
    title: str = ""
    caption: str = ""
    benchmarks: Annotated[list[BenchmarkEntry], Field(min_length=1)]
    methods: Annotated[list[MethodEntry], Field(min_length=1)]
    baseline: str | None = None  # the row that Eq. (6) divides by; None: the single-task one
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1, default_factory=lambda: [0])]
    backbone: BackboneConfig = BackboneConfig()
    train: Recipe
    resources: Resources = Resources()
    demonstration: bool = False  # the table shows that the path works and compares nothing
    tune: Tuning | None = None  # every row by the same trials before it is trained
    must_beat_constant: bool = False  # a cell that does not beat the best constant prediction fails the run

    @field_validator("name")
    @classmethod
    def _names_a_file(cls, name: str) -> str:
        if not re.fullmatch(r"\w[^/\\\x00-\x1f]{0,79}", name):
            raise ValueError(
                f"{name!r}: records, tables and figures are put under this name; give one of at most 80 characters "
                "that begins with a letter, a digit or _ and has no slash"
            )
        return name

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, raw: Any) -> Any:
        return in_full(raw)


def in_full(raw: Any) -> Any:
    """`benchmark: rooms` for one benchmark; `size` and `tasks` for all; names for entries that are only a name."""
    if not isinstance(raw, dict):
        return raw
    raw = dict(raw)
    if "benchmark" in raw:
        raw.setdefault("benchmarks", [raw.pop("benchmark")])
        raw.pop("benchmark", None)  # beside `benchmarks`: a mistake that _cross_checks names
    shared = {key: raw.pop(key) for key in ("size", "tasks") if key in raw}
    for key in ("benchmarks", "methods"):
        if isinstance(raw.get(key), list):
            raw[key] = [{"name": entry} if isinstance(entry, str) else entry for entry in raw[key]]
    if isinstance(raw.get("benchmarks"), list):
        raw["benchmarks"] = [{**shared, **e} if isinstance(e, dict) else e for e in raw["benchmarks"]]
    if isinstance(raw.get("backbone"), str):
        raw["backbone"] = {"name": raw["backbone"]}
    return raw


class Planned(NamedTuple):
    """A cell with the place in the table that asks for it. A single-task cell is asked for by several."""

    cell: Cell
    entry: Entry
    trial: int | None = None  # its number, from 0, among those of the row's tuning


def _check_options(benchmark: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that a benchmark does not take, or a value that it refuses."""
    known = [name for name in inspect.signature(BENCHMARKS[benchmark]).parameters if name != "size"]
    for name in options:
        if name not in known:
            raise ValueError(f"{benchmark} has no option {name!r}; it has: {', '.join(known) or 'none'}")


def merge_train(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Recipe:
    """A method's own recipe over the matrix's; its length and weights replace the others', whichever way given."""
    merged = dict(defaults)
    if "epochs" in own or "steps" in own:
        merged.pop("epochs", None), merged.pop("steps", None)
    if "weights" in own:
        merged.pop("preset", None)
    return Recipe.model_validate({**merged, **own})


def make_benchmark(config: BenchmarkConfig) -> Benchmark:
    """The benchmark of a configuration, at its size."""
    size = {} if config.size is None else {"size": config.size}
    return BENCHMARKS[config.name](**size, **config.options)


NO_RECORDS: Mapping[str, Record] = {}


def expand(matrix: Matrix, records: Mapping[str, Record] = NO_RECORDS) -> list[Planned]:
    """Every cell of the matrix, in the order of the table, with the row and task set that asks for it.

    A preliminary cell, as a search or the trials of a tuning, is followed by the cell that its record leads to, once it
    is among `records`: that is the row's, and until then the preliminary one holds its place.
    """
    planned, backbone = [], pretrained.by_content(matrix.backbone)
    for benchmark in matrix.benchmarks:
        config = BenchmarkConfig.model_validate(benchmark.model_dump(exclude={"tasks"}))
        for task_set in benchmark.task_sets:
            for method in matrix.methods:
                train = merge_train(matrix.train.model_dump(exclude_unset=True), method.train)
                trained = [(task,) for task in task_set] if resolve(method.name).one_task else [task_set]
                for seed in matrix.seeds:
                    for tasks in trained:
                        cell = Cell(
                            method=method.name,
                            options=_without_defaults(method.name, method.options),
                            tasks=tasks,
                            benchmark=config,
                            backbone=backbone,
                            train=train.on(benchmark.name, tasks),
                            seed=seed,
                        )
                        for each, preliminary, trial in _with_trials(cell, matrix.tune, records):
                            entry = Entry(
                                each.id, method.row, method.name, tasks, task_set, benchmark.name, seed, preliminary
                            )
                            planned.append(Planned(each, entry, trial))
    return planned


def _without_defaults(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """An option that says its default is the same cell as one that says nothing."""
    parameters = inspect.signature(resolve(method).__init__).parameters
    return {name: value for name, value in sorted(options.items()) if parameters[name].default != value}


def _with_trials(
    cell: Cell, tune: Tuning | None, records: Mapping[str, Record]
) -> Iterator[tuple[Cell, bool, int | None]]:
    """The trials of a cell if it is to be tuned and, once all have records, what is trained with the hyperparameters of
    the best; each with whether it is preliminary, and a trial's number."""
    if tune is not None:
        yield from ((trial, True, number) for number, trial in enumerate(trials(cell, tune)))
        best = tuned(cell, tune, records)
        if best is None:
            return
        cell = best
    yield from ((each, preliminary, None) for each, preliminary in _with_followers(cell, records))


def _with_followers(cell: Cell, records: Mapping[str, Record]) -> Iterator[tuple[Cell, bool]]:
    """A cell and, while it is preliminary and has a record, the one that follows; each with whether it is preliminary.

    What follows has the recipe and the seed of what it is derived from, and other options.
    """
    method = resolve(cell.method)
    while method.preliminary(cell.options):
        yield cell, True
        if cell.id not in records:
            return
        options = method.follow_up(cell.options, records[cell.id].findings)
        options = _without_defaults(cell.method, options)
        cell = cell.model_copy(update={"options": options, "derived_from": (cell.id,)})
    yield cell, False


def plan(matrix: Matrix, records: Mapping[str, Record]) -> tuple[list[Cell], list[str]]:
    """The cells to run now, each once, and what waits for records. Pure: called again after each record."""
    planned = {item.cell.id: item for item in expand(matrix, records)}
    unfinished = [item for cell_id, item in planned.items() if cell_id not in records]
    return [item.cell for item in unfinished], waiting(unfinished)


def waiting(unfinished: Iterable[Planned]) -> list[str]:
    """What will be planned once preliminary cells among the unfinished ones have records."""
    lines = []
    for item in unfinished:
        place = f"{item.entry.label}, {'+'.join(item.cell.tasks)}"
        if item.trial is not None:
            lines.append(f"{place}: will train with the best of its trials")
        elif item.entry.preliminary:
            lines.append(f"{place}, seed {item.cell.seed}: will train with what {item.cell.id} finds")
    return list(dict.fromkeys(lines))


def manifest(matrix: Matrix, constants: Mapping[str, str], records: Mapping[str, Record] = NO_RECORDS) -> Manifest:
    """What `results` needs to know of the matrix."""
    rows = [method.row for method in matrix.methods]
    single = next((method.row for method in matrix.methods if resolve(method.name).one_task), "")
    return Manifest(
        name=matrix.name,
        title=matrix.title or matrix.name,
        caption=" ".join(filter(None, [matrix.caption, matrix.tune.sentence if matrix.tune else ""])),
        baseline=matrix.baseline if matrix.baseline in rows else single,
        demonstration=matrix.demonstration,
        entries=tuple(planned.entry for planned in expand(matrix, records)),
        constants=dict(constants),
    )
