"""A matrix: methods x benchmarks x task sets x seeds, read from YAML and expanded to cells.

``read`` gives a Matrix or raises MatrixError listing every mistake with its path. ``plan`` says which cells to run now.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from benchmarks import BENCHMARKS
from benchmarks.benchmark import Benchmark
from harness import presets, pretrained, strict_yaml
from harness.cell import BackboneConfig, BenchmarkConfig, Cell, Config, TrainConfig, plain
from harness.tuning import Tuning, trials, tuned
from methods import check_options, resolve
from methods.backbone import Backbone
from results.record import Entry, Manifest, Record


class MatrixError(ValueError):
    """What is wrong with a matrix file: one line a mistake."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))


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
        return _in_full(raw)


def _in_full(raw: Any) -> Any:
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


def read(source: str, overrides: Sequence[str] = ()) -> Matrix:
    """The matrix of a file, or of a name in benchmarks/matrices. `overrides` are ``a.b=value`` with YAML values.

    Raises FileNotFoundError with the embedded names, or MatrixError.
    """
    path = find(source)
    try:
        raw, repeated = strict_yaml.load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MatrixError(str(path), [f"not YAML: {error}"]) from error
    if repeated:  # and not more: which of the values is meant is not known
        raise MatrixError(str(path), repeated)
    if not isinstance(raw, dict):
        raise MatrixError(str(path), [f"a mapping is expected at the top, not {type(raw).__name__}"])
    for override in overrides:
        _override(raw, override)
    raw.setdefault("name", path.stem)
    return check(raw, str(path))


def embedded() -> list[str]:
    """Names of the matrices that come with the package."""
    folder = resources.files("benchmarks") / "matrices"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def find(source: str) -> Path:
    if Path(source).is_file():
        return Path(source)
    if source in embedded():
        return Path(str(resources.files("benchmarks") / "matrices" / f"{source}.yaml"))
    raise FileNotFoundError(f"no matrix file {source!r}, and no embedded one of that name: {', '.join(embedded())}")


def check(raw: dict[str, Any], source: str) -> Matrix:
    """Raises MatrixError."""
    problems = []
    matrix = None
    try:
        matrix = Matrix.model_validate(raw)
    except ValidationError as error:
        problems = [_describe(mistake) for mistake in error.errors()]
    problems += _cross_checks(raw, matrix)
    if problems:
        raise MatrixError(source, problems)
    assert matrix is not None
    return matrix


def _cross_checks(raw: dict[str, Any], matrix: Matrix | None) -> list[str]:
    """What involves two parts of the file; looks at the raw form where another part is wrong."""
    problems = ["benchmark: give it or benchmarks, not both"] if {"benchmark", "benchmarks"} <= raw.keys() else []
    methods = raw.get("methods") if isinstance(raw.get("methods"), list) else []
    rows = [_row(entry) for entry in methods or []]
    for row in sorted({row for row in rows if row and rows.count(row) > 1}):
        problems.append(f"methods: two rows are called {row!r}; give one a label")
    if matrix is not None:
        problems += _twice("benchmarks", [entry.name for entry in matrix.benchmarks])
        problems += [line for e in matrix.benchmarks for line in _twice("tasks", ["+".join(s) for s in e.task_sets])]
        problems += _twice("seeds", matrix.seeds)
        problems += _tuning_problems(matrix)
    baseline = raw.get("baseline")
    if baseline is None and matrix is not None and not any(resolve(m.name).one_task for m in matrix.methods):
        problems.append(
            f"baseline: name the row that Eq. (6) divides by, one of: {', '.join(row for row in rows if row)}"
        )
    if baseline is not None and rows and baseline not in rows:
        problems.append(f"baseline: no row is called {baseline!r}; rows: {', '.join(row for row in rows if row)}")
    defaults = raw.get("train") if isinstance(raw.get("train"), dict) else {}
    recipes = {} if (common := _parsed(Recipe, defaults)) is None else {"train.weights": common}
    for index, entry in enumerate(methods or []):
        own = entry.get("train") if isinstance(entry, dict) else None
        if isinstance(own, dict) and own:
            try:
                recipe = _merge_train(defaults or {}, own)
                if "weights" in own:
                    recipes[f"methods.{index}.train.weights"] = recipe
            except ValidationError as error:
                problems += [
                    _describe(mistake, ("methods", index, "train"))
                    for mistake in error.errors()
                    if not mistake["loc"] or mistake["loc"][0] in own  # else it is said of the defaults
                ]
    backbone = raw.get("backbone")
    name = backbone.get("name") if isinstance(backbone, dict) else backbone
    if isinstance(name, str) and name != BackboneConfig().name:
        try:
            Backbone(name)
        except ValueError as error:
            problems.append(f"backbone: {error}")
    file = backbone.get("weights") if isinstance(backbone, dict) else None
    if isinstance(file, str) and file not in pretrained.NAMES and not Path(file).is_file():
        problems.append(f"backbone.weights: no file {file!r}; give none, imagenet, or the path of a safetensors file")
    short = _in_full(raw).get("benchmarks")
    parsed = [_parsed(BenchmarkEntry, entry) for entry in short] if isinstance(short, list) else []
    entries = [entry for entry in parsed if entry is not None]
    problems += [problem for path, recipe in recipes.items() for problem in _weight_problems(path, recipe, entries)]
    if matrix is not None:
        problems += [] if problems else _same_cells(matrix)
    return problems


def _same_cells(matrix: Matrix) -> list[str]:
    """Rows that are the same runs under two labels, which a table would count as independent."""
    runs: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    for item in expand(matrix.model_copy(update={"seeds": matrix.seeds[:1]})):
        entry = item.entry
        runs.setdefault((entry.label, entry.benchmark, entry.task_set), set()).add(entry.id)
    tables: dict[tuple[str, tuple[str, ...], frozenset[str]], list[str]] = {}
    for (label, benchmark, task_set), ids in runs.items():
        tables.setdefault((benchmark, task_set, frozenset(ids)), []).append(label)
    same = dict.fromkeys(tuple(labels) for labels in tables.values() if len(labels) > 1)
    return [f"methods: {' and '.join(labels)} are the same cells; keep one of them" for labels in same]


Model = TypeVar("Model", bound=Config)


def _parsed(model: type[Model], raw: Any) -> Model | None:
    """A part of the file, None where it has a mistake: which is said of the whole."""
    try:
        return model.model_validate(raw)
    except ValidationError:
        return None


def _weight_problems(path: str, recipe: Recipe, entries: Sequence[BenchmarkEntry]) -> list[str]:
    problems = []
    for entry in entries:
        for task in recipe.weights:
            if task not in entry.make().tasks:
                known = ", ".join(entry.make().tasks)
                problems.append(f"{path}.{task}: {entry.name} has no such task; it has: {known}")
        for task_set in entry.task_sets:
            try:
                recipe.on(entry.name, task_set)
            except ValueError as error:
                problems.append(f"{path}: {error}")
    return problems


def _tuning_problems(matrix: Matrix) -> list[str]:
    """What keeps trials from being judged."""
    if matrix.tune is None:
        return []
    problems = []
    for entry in matrix.benchmarks:
        benchmark = entry.make()
        if not matrix.tune.holdout and "val" not in benchmark.splits:
            problems.append(f"tune.holdout: {entry.name} has no val split of its own; give a share of train, as 0.1")
        metrics = {task: benchmark.tasks[task].metric for task_set in entry.task_sets for task in task_set}
        problems += [
            f"tune: trials cannot be judged by {task}, whose scores take minutes; tune task sets without it"
            for task, metric in metrics.items()
            if metric is not None and metric.expensive
        ]
    return problems


def _twice(path: str, values: Sequence[Any]) -> list[str]:
    return [f"{path}: {value} is there more than once" for value in dict.fromkeys(values) if values.count(value) > 1]


def _row(entry: Any) -> str | None:
    if isinstance(entry, str):
        return entry
    named = (entry.get("label") or entry.get("name")) if isinstance(entry, dict) else None
    return named if isinstance(named, str) else None


def _describe(mistake: Any, above: tuple[str | int, ...] = ()) -> str:
    """A line for a mistake of pydantic's in what stands at the path `above`."""
    loc = (*above, *mistake["loc"])
    path = ".".join(map(str, loc))
    message = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        message = f"unknown key{_allowed(loc)}"
    elif mistake["type"] == "missing":
        message = "missing"
    elif mistake["type"] != "value_error":
        message = f"{message}, not {mistake['input']!r}"
    return f"{path}: {message}" if path else message


def _allowed(loc: tuple[Any, ...]) -> str:
    """The keys allowed where an unknown one stood."""
    model: Any = Matrix
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        found = {
            "benchmarks": BenchmarkEntry, "methods": MethodEntry, "train": TrainConfig,
            "resources": Resources, "backbone": BackboneConfig, "tune": Tuning,
        }  # fmt: skip
        model = found.get(part)
    if model is None:
        return ""
    keys = list(model.model_fields)
    if model is Matrix:
        keys += ["benchmark", "size", "tasks"]
    return f"; allowed: {', '.join(sorted(keys))}"


def _check_options(benchmark: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that a benchmark does not take, or a value that it refuses."""
    known = [name for name in inspect.signature(BENCHMARKS[benchmark]).parameters if name != "size"]
    for name in options:
        if name not in known:
            raise ValueError(f"{benchmark} has no option {name!r}; it has: {', '.join(known) or 'none'}")


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise MatrixError("--set", [f"{override!r}: write key=value, for example train.epochs=10"])
    try:
        value, repeated = strict_yaml.load(text)
    except yaml.YAMLError as error:
        raise MatrixError("--set", [f"{override!r}: the value is not YAML: {error}"]) from error
    if repeated:
        raise MatrixError("--set", [f"{override!r}: {line}" for line in repeated])
    node: Any = raw
    *parents, leaf = key.split(".")
    for part in parents:
        place = _place(node, part, override)
        child = node[place] if isinstance(node, list) else node.get(place)
        if isinstance(child, str):  # the short form of a benchmark, a backbone or a method
            child = {"name": child}
        node[place] = child = {} if child is None else child
        node = child
    node[_place(node, leaf, override)] = value


def _place(node: Any, part: str, override: str) -> Any:
    """`part` as a key of a mapping or an index of a list. Raises MatrixError where it is neither."""
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise MatrixError("--set", [f"{override!r}: there is nothing called {part!r} below {node!r}"])
    if not part.isdigit() or int(part) >= len(node):
        raise MatrixError("--set", [f"{override!r}: {part!r} is no place in a list of {len(node)}; they count from 0"])
    return int(part)


def _merge_train(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Recipe:
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
                train = _merge_train(matrix.train.model_dump(exclude_unset=True), method.train)
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
