"""A matrix as it is written: rows, benchmarks, recipe and resources, checked one by one.

What a name stands for is imported when it is looked up, and torch with it. With the context FORM_ONLY nothing is looked
up, so that a slip of the pen is said before torch is there; see text/first_look.py.

Long because the text of each key stands below it, where pages and the schema take it from.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from mtlbench.harness.matrix import presets
from mtlbench.harness.matrix.cell import BackboneConfig, BenchmarkConfig, Config, TrainConfig, plain, printable, visible
from mtlbench.harness.matrix.text.written import require_file_name
from mtlbench.harness.matrix.tuning import Tuning

if TYPE_CHECKING:
    from mtlbench.benchmarks.benchmark import Benchmark
    from mtlbench.benchmarks.tasks.task import Task

FORM_ONLY = "form only"  # a context of pydantic: check what is written, and look up no method, benchmark or optimiser


class MethodEntry(Config):
    """A row of the table: a method with its options, and its departures from the common recipe."""

    name: str
    """A method that `mtlbench list` names, or package.module:Name for one of yours."""
    label: Annotated[str, Field(max_length=80), AfterValidator(printable), AfterValidator(visible)] | None = None
    """The name of the row in tables. Default: the name of the method."""
    options: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    """Options of the method. `mtlbench list` names those of each method."""
    train: dict[str, Any] = Field(default_factory=dict)
    """The row's departures from the common recipe: keys of `train`."""
    starts: str | None = None
    """The label of the row whose trained networks it starts from. Default: as its method says."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        if info.context != FORM_ONLY:
            from mtlbench.methods import resolve

            resolve(name)
        return name

    @model_validator(mode="after")
    def _options_bind(self, info: ValidationInfo) -> MethodEntry:
        if info.context != FORM_ONLY:
            from mtlbench.methods import check_options

            check_options(self.name, self.options)
        return self

    @property
    def row(self) -> str:
        return self.label or self.name


class BenchmarkEntry(BenchmarkConfig):
    """A benchmark with the task sets to train on it."""

    options: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    """Options of the benchmark's constructor, such as the number of rooms."""
    tasks: Annotated[list[list[str]], Field(min_length=1)] | None = None
    """The task sets, each a table of its own; one set may be written as a plain list. Default: the benchmark's own."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        if info.context != FORM_ONLY:
            benchmark_class(name)
        return name

    @field_validator("tasks", mode="before")
    @classmethod
    def _one_or_many(cls, tasks: Any) -> Any:
        return [tasks] if isinstance(tasks, list) and tasks and all(isinstance(task, str) for task in tasks) else tasks

    @model_validator(mode="after")
    def _tasks_exist(self, info: ValidationInfo) -> BenchmarkEntry:
        if info.context == FORM_ONLY:
            return self
        _check_options(self.name, self.options)
        known = make_benchmark(self).tasks
        for task_set in self.task_sets:
            for task in task_set:
                if task not in known:
                    raise ValueError(f"{self.name} has no task {task!r}; it has: {', '.join(known)}")
            if not task_set or len(set(task_set)) < len(task_set):
                raise ValueError(f"[{', '.join(task_set)}]: a task set names each of its tasks once, and at least one")
        return self

    @property
    def task_sets(self) -> list[tuple[str, ...]]:
        """In the benchmark's order of tasks."""
        benchmark = make_benchmark(self)
        order = list(benchmark.tasks)
        sets = self.tasks if self.tasks is not None else [list(benchmark.default_tasks)]
        return [tuple(sorted(s, key=lambda task: order.index(task) if task in order else -1)) for s in sets]


class TaskSet(Config):
    """Tasks of a control, with options of the benchmark over those of the matrix."""

    tasks: Annotated[list[str], Field(min_length=2)]
    """The tasks that are trained together."""
    options: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    """Options of the benchmark, over those of the matrix."""

    @property
    def name(self) -> str:
        changes = [
            f"{name} {' and '.join(map(str, value)) if isinstance(value, list) else value}"
            for name, value in self.options.items()
        ]
        return ", ".join([" + ".join(self.tasks), *changes])


class Controls(Config):
    """Comparisons whose result is known before: what a matrix shows of itself, so that its table can be believed."""

    row: str
    """The label of the row that the controls repeat."""
    other_seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(default_factory=list)
    """The row once more, with these seeds: it must be neither better nor worse."""
    more_images: Annotated[dict[str, Any], AfterValidator(plain)] = Field(default_factory=dict)
    """The row with these options of the benchmark, which give it more training images: it must be better."""
    relatedness: list[TaskSet] = Field(default_factory=list)
    """Sets of tasks from the most related to the least: Δm of the row must fall."""
    judged_on: list[str] = Field(default_factory=list)
    """The tasks whose mean gain stands for Δm in `relatedness`. A task that no network can learn, such as one with
    labels of other images, neither gains nor loses, and would hide what it does to its neighbours. Default: all tasks
    of a set."""


class Resources(Config):
    """Where cells run. None of this is in a cell's id, because none of it changes a number beyond its last digits."""

    cpus: Annotated[int, Field(gt=0)] = 1
    """CPUs of a process."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of a process. With a fraction, cells share a GPU, and their times mean nothing."""
    workers: Annotated[int, Field(gt=0)] = 1
    """Processes that train a cell together."""
    loaders: Annotated[int, Field(ge=0)] = 0
    """Processes that read and transform images, for each worker. 0: the worker does it itself."""
    max_concurrent: Annotated[int, Field(gt=0)] | None = None
    """How many cells run at once. Default: as many as fit."""
    checkpoint_every: Annotated[int, Field(gt=0)] = 1
    """Epochs between two checkpoints."""
    validate_every: Annotated[int, Field(gt=0)] | None = None
    """Epochs between two validations, where there is a val split. Default: none is made."""
    save_predictions: bool = False
    """Keep the predictions of all test images, at the network's size, in float16."""
    retries: Annotated[int, Field(ge=0)] = 1
    """How often a cell that failed is tried again, from its last checkpoint. A cell that diverged, or whose method
    returns what does not fit its tasks, fails at once: it would do so again."""
    deadline: Annotated[float, Field(gt=0)] = 600.0
    """Seconds without a batch, after which a cell is ended and tried again. Before its first batch a cell may get ready
    for up to an hour: data are read or made, and weights fetched."""
    out_of_memory: Literal["fail", "halve"] = "fail"
    """What a cell does whose device has too little memory: it fails, or goes on with micro-batches of half the size.
    That is the same batch, but batch norms see other statistics, and the record says so. This counts as no retry."""


class Recipe(TrainConfig):
    """The training recipe of a row, for all of its benchmarks. `weights` is a mapping, or the name of a preset."""

    preset: str = presets.COMMON
    """The form that `weights: NAME` takes once it is read; write `weights: NAME`."""

    @field_validator("optimizer")
    @classmethod
    def _updates(cls, name: str, info: ValidationInfo) -> str:
        if info.context != FORM_ONLY:
            from mtlbench.harness.matrix.optimization import check_optimizer

            check_optimizer(name)
        return name

    @field_validator("schedule")
    @classmethod
    def _gives_factors(cls, name: str, info: ValidationInfo) -> str:
        if info.context != FORM_ONLY:
            from mtlbench.harness.matrix.optimization import check_schedule

            check_schedule(name)
        return name

    @model_validator(mode="before")
    @classmethod
    def _named_weights(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("weights"), str):
            presets.require(raw["weights"])
            return {**raw, "preset": raw["weights"], "weights": {}}
        return raw

    def on(self, benchmark: str, tasks: Mapping[str, Task], row: Mapping[str, Any]) -> TrainConfig:
        """A cell's recipe, with the weights of its `tasks` as numbers, where they are not those of the benchmark.

        A network of one task has weight 1, as the authors train it, unless the `train` of its row gives the task a
        weight. Weights are chosen for tasks that are trained together. Alone, a weight only scales the step of SGD, or
        weakens the weight decay of Adam.

        benchmark: its name, by which presets know it. Raises ValueError where the preset lacks a task.
        """
        if len(tasks) == 1:
            weights = {name: 1.0 for name, task in tasks.items() if task.weight != 1.0}
            weights |= self.weights if "weights" in row else {}
            labels = self.label_weights if "label_weights" in row else {}
        else:
            preset = presets.weights(self.preset, benchmark, list(tasks))
            weights, labels = {**preset.tasks, **self.weights}, {**preset.labels, **self.label_weights}
        return TrainConfig(
            **self.model_dump(exclude={"preset", "weights", "label_weights"}),
            weights={task: weights[task] for task in sorted(weights) if task in tasks},
            label_weights={task: labels[task] for task in sorted(labels) if task in tasks},
        )


class Matrix(Config):
    """A matrix file after all checks."""

    name: str
    """The name under which records, tables and figures are kept. Default: the name of the file."""
    title: Annotated[str, AfterValidator(printable)] = ""
    """The title of the tables. Default: the name."""
    caption: Annotated[str, AfterValidator(printable)] = ""
    """What the captions of the tables begin with."""
    benchmarks: Annotated[list[BenchmarkEntry], Field(min_length=1)]
    """The data. One benchmark may be written as `benchmark:`, and one without options by its name alone."""
    methods: Annotated[list[MethodEntry], Field(min_length=1)]
    """The rows of the tables. A method without options may be written by its name alone."""
    baseline: str | None = None
    """The label of the row that Δm (Delta_m, Eq. 6 of the paper) divides by. Default: the single-task row."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1, default_factory=lambda: [0])]
    """Every row is trained once with each seed."""
    backbone: BackboneConfig = BackboneConfig()
    """The network under all methods. May be written by its name alone."""
    train: Recipe
    """The recipe of all rows. It needs the length of training, and has a default for everything else."""
    resources: Resources = Resources()
    """Where cells run. This changes no number beyond its last digits."""
    skip_unsupported: bool = False
    """Leave out the rows of methods that cannot have the tasks of a table, in place of refusing the matrix."""
    demonstration: bool = False
    """Say above the table that it shows that the path works, and compares nothing."""
    margin: float = Field(default=0.5, gt=0)
    """Points of Δm inside which two rows count as equivalent."""
    controls: Controls | None = None
    """Comparisons whose result is known before. The report says which of them hold."""
    tune: Tuning | None = None
    """How many trials every row gets before it is trained. Default: rows are trained with the recipe as it is."""
    must_beat_constant: bool = False
    """Fail the run where a cell does not beat the best constant prediction."""

    @field_validator("name")
    @classmethod
    def _names_a_file(cls, name: str) -> str:
        return require_file_name(name)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, raw: Any) -> Any:
        return in_full(raw)


# Keys at the top that are no fields of a matrix, because `in_full` replaces them.
SHORT_FORMS = {
    "benchmark": "One benchmark, in place of `benchmarks`: its name, or a mapping.",
    "size": "The `size` of every benchmark that has none of its own.",
    "tasks": "The `tasks` of every benchmark that has none of its own.",
}


def in_full(raw: Any) -> Any:
    """Replace the short forms: `benchmark` for one benchmark, `size` and `tasks` for all, a name for a whole entry."""
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
        given = [{k: v for k, v in e.items() if v is not None} if isinstance(e, dict) else e for e in raw["benchmarks"]]
        raw["benchmarks"] = [{**shared, **e} if isinstance(e, dict) else e for e in given]
    if isinstance(raw.get("backbone"), str):
        raw["backbone"] = {"name": raw["backbone"]}
    return raw


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that a benchmark does not take."""
    parameters = inspect.signature(benchmark_class(name)).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.name != "size"]
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; it has: {', '.join(known) or 'none'}")


def merge_train(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Recipe:
    """The matrix's recipe with one row's changes. The row's length and weights replace the matrix's whole."""
    merged = dict(defaults)
    if "epochs" in own or "steps" in own:
        merged.pop("epochs", None), merged.pop("steps", None)
    if "weights" in own:
        merged.pop("preset", None), merged.pop("label_weights", None)
    return Recipe.model_validate({**merged, **own})


def benchmark_class(name: str) -> type[Benchmark]:
    """The class of a benchmark: a key of BENCHMARKS, or "package.module:Name" from outside.

    Raises ValueError that says why there is none.
    """
    from mtlbench.benchmarks import BENCHMARKS
    from mtlbench.benchmarks.benchmark import Benchmark
    from mtlbench.methods.outside import find

    found = find(name, "benchmark", BENCHMARKS)
    if not (isinstance(found, type) and issubclass(found, Benchmark)):
        raise ValueError(f"benchmark {name!r} is not a subclass of mtlbench.benchmarks.Benchmark but {found!r}")
    return found


def make_benchmark(config: BenchmarkConfig) -> Benchmark:
    """The benchmark of a configuration, at its size, with the metrics of its rule of evaluation.

    Raises ValueError for an option's value that the benchmark refuses, and for one from outside that cannot be made or
    breaks the contract.
    """
    made = _make(config)
    if config.evaluate == "published":
        tasks = {name: task.published() for name, task in made.tasks.items()}
        try:
            made.tasks = tasks
        except AttributeError:
            raise ValueError(
                f"benchmark {config.name!r}: its tasks cannot be replaced by those of `evaluate: published`; make "
                "`tasks` an attribute that __init__ sets, and not a property"
            ) from None
    return made


def _make(config: BenchmarkConfig) -> Benchmark:
    from mtlbench.benchmarks.benchmark import shortcomings
    from mtlbench.methods.outside import is_outside

    size = {} if config.size is None else {"size": config.size}
    make = benchmark_class(config.name)
    if not is_outside(config.name):
        return make(**size, **config.options)
    try:
        made = make(**size, **config.options)
    except ValueError:
        raise
    except Exception as error:  # making it runs its author's code, which may fail in any way
        raise ValueError(f"benchmark {config.name!r} cannot be made: {type(error).__name__}: {error}") from error
    problems = shortcomings(made)
    if size and not problems and made.size != config.size:
        problems = [f"size is {made.size} where {config.size} was asked for"]
    if problems:
        raise ValueError(f"benchmark {config.name!r}: {'; '.join(problems)}")
    return made
