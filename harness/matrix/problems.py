"""What is wrong with a matrix, each mistake with its path and what is allowed there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from mtlbench.harness.matrix import presets, starts
from mtlbench.harness.matrix.cell import NO_FILE, BackboneConfig, Config
from mtlbench.harness.matrix.entries import (
    BenchmarkEntry,
    Matrix,
    MethodEntry,
    Recipe,
    in_full,
    make_benchmark,
    merge_train,
)
from mtlbench.harness.matrix.expand import baseline_of, expand, of_controls
from mtlbench.harness.matrix.text.first_look import describe_mistake
from mtlbench.methods import one_task, packaged, resolve
from mtlbench.methods.feature_maps import STRIDES, strides_for
from mtlbench.methods.feature_maps import check as check_backbone
from mtlbench.methods.outside import is_outside
from mtlbench.methods.weights import no_imagenet_weights


class Right(NamedTuple):
    """A matrix as far as it is right."""

    matrix: Matrix
    wrong: frozenset[str] = frozenset()  # the fields that hold a stand-in, or that a misspelt key may be meant for


# What an entry's check as a whole looks at. It is not made where a key of the entry is wrong.
WHOLE: dict[str, tuple[type[Config], frozenset[str]]] = {
    "benchmarks": (BenchmarkEntry, frozenset({"name", "options"})),
    "methods": (MethodEntry, frozenset({"name", "options"})),
    "train": (Recipe, frozenset({"epochs", "steps", "batch", "accumulate"})),
}
STAND_INS = {"name": "m", "benchmarks": ["rooms"], "methods": ["single_task"], "train": {"epochs": 1}}


def as_far_as_right(raw: dict[str, Any], error: ValidationError) -> Right:
    """The matrix of a file with mistakes: the fields that have some are replaced."""
    content, paths = in_full(raw), [mistake["loc"] for mistake in error.errors()]
    wrong = {str(path[0]) for path in paths} & Matrix.model_fields.keys()
    right = {key: value for key, value in content.items() if key in Matrix.model_fields.keys() - wrong}
    if not content.keys() <= Matrix.model_fields.keys():
        wrong |= {"baseline", "skip_unsupported"} - content.keys()
    return Right(Matrix.model_validate({**STAND_INS, **right}), frozenset(wrong))


def hidden_mistakes(raw: dict[str, Any], error: ValidationError) -> list[str]:
    """Mistakes of entries as a whole, which pydantic does not look for where one key of the entry is wrong.

    An entry is left out where its mistake may be what comes of the wrong key: of a word that is meant for another key,
    or of a value that the check looks at.
    """
    entries: dict[tuple[str | int, ...], set[str]] = {}
    for mistake in error.errors():
        depth = 1 if mistake["loc"][:1] == ("train",) else 2
        if mistake["loc"] and mistake["loc"][0] in WHOLE and len(mistake["loc"]) > depth:
            entries.setdefault(mistake["loc"][:depth], set()).add(str(mistake["loc"][depth]))
    problems = []
    for place, keys in entries.items():
        model, looked_at = WHOLE[str(place[0])]
        entry = in_full(raw)[place[0]]
        entry = entry if len(place) == 1 else entry[place[1]]
        misspelt = not keys <= model.model_fields.keys()
        if keys & looked_at or (misspelt and not looked_at <= entry.keys()):
            continue
        try:
            model.model_validate({key: value for key, value in entry.items() if key not in keys})
        except ValidationError as found:
            problems += [describe_mistake(mistake, place) for mistake in found.errors()]
    return problems


def cross_checks(raw: dict[str, Any], known: Right) -> list[str]:
    """Mistakes that involve two parts of the file. The raw form is looked at, because another part may be wrong too."""
    problems = ["benchmark: give it or benchmarks, not both"] if {"benchmark", "benchmarks"} <= raw.keys() else []
    methods = raw.get("methods") if isinstance(raw.get("methods"), list) else []
    rows = [_row(entry) for entry in methods or []]
    for row in sorted({row for row in rows if row and rows.count(row) > 1}):
        problems.append(f"methods: two rows are called {row!r}; give one another label")
    problems += [line for fields, look in LOOKS if not known.wrong.intersection(fields) for line in look(known.matrix)]
    baseline = raw.get("baseline")
    if baseline is not None and rows and baseline not in rows:
        problems.append(f"baseline: no row is called {baseline!r}; rows: {', '.join(row for row in rows if row)}")
    defaults = raw.get("train") if isinstance(raw.get("train"), dict) else {}
    recipes = {} if (common := _parsed(Recipe, defaults)) is None else {"train": common}
    for index, entry in enumerate(methods or []):
        own = entry.get("train") if isinstance(entry, dict) else None
        if isinstance(own, dict) and own:
            try:
                recipe = merge_train(defaults or {}, own)
                if {"weights", "label_weights"} & own.keys():
                    recipes[f"methods.{index}.train"] = recipe
            except ValidationError as error:
                problems += [
                    describe_mistake(mistake, ("methods", index, "train"))
                    for mistake in error.errors()
                    if not mistake["loc"]
                    or mistake["loc"][0] in own  # the defaults' mistakes are reported where they stand
                ]
    short = in_full(raw).get("benchmarks")
    parsed = [_parsed(BenchmarkEntry, entry) for entry in short] if isinstance(short, list) else []
    problems += _backbone_problems(raw.get("backbone"), [entry for entry in parsed if entry is not None])
    problems += _protocol_problems(parsed)
    entries = [entry for entry in parsed if entry is not None]
    problems += [problem for path, recipe in recipes.items() for problem in _weight_problems(path, recipe, entries)]
    return problems if problems or known.wrong else _same_cells(known.matrix)


def _backbone_problems(backbone: Any, entries: Sequence[BenchmarkEntry]) -> list[str]:
    """What is wrong with the network's name or the images' sizes, and with its weights as far as no download tells."""
    problems = []
    name = backbone.get("name") if isinstance(backbone, dict) else backbone
    full = _parsed(BackboneConfig, {"name": backbone} if isinstance(backbone, str) else backbone)
    if full is not None and (full.name, full.output_stride) != (BackboneConfig().name, STRIDES[-1]):
        try:
            sizes = {make_benchmark(entry).size for entry in entries}
            for size in sizes or (None,):
                check_backbone(full.name, size, full.output_stride)
        except ValueError as error:
            problems.append(f"backbone: {error}")
    file = backbone.get("weights") if isinstance(backbone, dict) else None
    if file == "imagenet" and isinstance(name, str) and is_outside(name):
        problems.append(f"backbone.weights: {no_imagenet_weights(name)}")
    if file == "package":
        try:
            packaged.require(name if isinstance(name, str) else BackboneConfig().name)
        except ValueError as error:
            problems.append(f"backbone.weights: {error}")
    if isinstance(file, str) and file not in NO_FILE and not Path(file).is_file():
        problems.append(
            f"backbone.weights: no file {file!r}; give none, imagenet, package, or the path of a safetensors file"
        )
    return problems


def _unsupported(matrix: Matrix) -> list[str]:
    """Task sets that are too small or too large for a method, where the matrix does not skip them."""
    if matrix.skip_unsupported:
        return []
    found = []
    for method in matrix.methods:
        kind = resolve(method.name)
        task_sets = [s for entry in matrix.benchmarks for s in entry.task_sets]
        sets = ["+".join(s) for s in task_sets if not starts.supports(matrix, method, len(s))]
        if sets:
            found.append(
                f"methods: {method.row} takes {kind.counted()} tasks, and not {', '.join(sets)}; leave it out, or set "
                "skip_unsupported: true, and the tables of these tasks have no such row"
            )
    return found


def _misfits(matrix: Matrix) -> list[str]:
    """Rows whose networks do not fit the strides of the backbone's maps."""
    strides = strides_for(matrix.backbone.output_stride)
    found = [(method.row, resolve(method.name).misfit(method.options, strides)) for method in matrix.methods]
    return [f"backbone.output_stride: row {row}: {wrong}" for row, wrong in found if wrong]


def _same_cells(matrix: Matrix) -> list[str]:
    """Rows that are the same runs under two labels. A table would count them as independent."""
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
    """A part of the file, or None where it has a mistake. The mistake is reported with those of the whole file."""
    try:
        return model.model_validate(raw)
    except ValidationError:
        return None


def _weight_problems(path: str, recipe: Recipe, entries: Sequence[BenchmarkEntry]) -> list[str]:
    problems = []
    for entry in entries:
        known = make_benchmark(entry).tasks
        for key, named in (("weights", recipe.weights), ("label_weights", recipe.label_weights)):
            problems += [
                f"{path}.{key}.{task}: {entry.name} has no such task; it has: {', '.join(known)}"
                for task in named
                if task not in known
            ]
        for task_set in (each for each in entry.task_sets if len(each) > 1):
            try:
                presets.weights(recipe.preset, entry.name, task_set)
            except ValueError as error:
                problems.append(f"{path}.weights: {error}")
    return problems


def _tuning_problems(matrix: Matrix) -> list[str]:
    """What keeps trials from being judged."""
    if matrix.tune is None:
        return []
    problems = []
    for entry in matrix.benchmarks:
        benchmark = make_benchmark(entry)
        if not matrix.tune.holdout and "val" not in benchmark.splits:
            problems.append(f"tune.holdout: {entry.name} has no val split of its own; give a share of train, as 0.1")
        metrics = {task: benchmark.tasks[task].metric for task_set in entry.task_sets for task in task_set}
        problems += [
            f"tune: trials cannot be judged by {task}, whose scores take minutes; tune task sets without it"
            for task, metric in metrics.items()
            if metric is not None and metric.expensive
        ]
    return problems


def _control_problems(matrix: Matrix) -> list[str]:
    """What keeps the controls from being compared with the table."""
    controls, rows = matrix.controls, [method.row for method in matrix.methods]
    if controls is None:
        return []
    problems = []
    if len(matrix.benchmarks) != 1 or len(matrix.benchmarks[0].task_sets) != 1:
        problems.append("controls: they are of one table; give the matrix one benchmark with one set of tasks")
    if not baseline_of(matrix):
        problems.append("controls: they are compared with a baseline, and no row is one; name it in `baseline`")
    elif controls.row not in rows or controls.row == baseline_of(matrix):
        others = ", ".join(row for row in rows if row != baseline_of(matrix))
        problems.append(f"controls.row: {controls.row!r} is no row beside the baseline; these are: {others}")
    if shared := sorted({*controls.other_seeds} & {*matrix.seeds}):
        problems.append(f"controls.other_seeds: {shared[0]} is one of the matrix's seeds; give seeds that no row has")
    if len(controls.relatedness) == 1:
        problems.append("controls.relatedness: one set of tasks has no order; give two or more")
    for task in controls.judged_on:
        lacking = [place for place, related in enumerate(controls.relatedness) if task not in related.tasks]
        if lacking and len(lacking) == len(controls.relatedness):
            problems.append(f"controls.judged_on: {task} is in no set of relatedness; name a task that all sets have")
        elif lacking:
            path = f"controls.relatedness.{lacking[0]}.tasks"
            problems.append(f"{path}: {task} is not among them, and controls.judged_on names it; change one of them")
    if controls.judged_on and not controls.relatedness:
        problems.append("controls.judged_on: it is of relatedness, which is not asked for")
    if problems:
        return problems
    try:
        names = [name for _, name, _ in of_controls(matrix)]
    except ValidationError as error:
        return [describe_mistake(mistake, ("controls",)) for mistake in error.errors()]
    if not names:
        problems.append("controls: none is asked for; give other_seeds, more_images or relatedness")
    return problems + _twice("controls", names)


def _twice(path: str, values: Sequence[Any]) -> list[str]:
    return [f"{path}: {value} is there more than once" for value in dict.fromkeys(values) if values.count(value) > 1]


def _protocol_problems(entries: Sequence[BenchmarkEntry | None]) -> list[str]:
    """Benchmarks without the augmentation protocol that the matrix asks for. An entry with another mistake is None."""
    problems = []
    for index, entry in enumerate(entries):
        known = {} if entry is None else make_benchmark(entry).augmentations
        if entry is not None and entry.protocol not in known:
            problems.append(
                f"benchmarks.{index}.protocol: {entry.name} has no augmentation protocol {entry.protocol!r}; set it to "
                f"{' or '.join(known)}"
            )
    return problems


def _benchmark_problems(matrix: Matrix) -> list[str]:
    """Benchmarks and task sets that would have one table."""
    problems = _twice("benchmarks", [entry.name for entry in matrix.benchmarks]) + _one_file_name(matrix.benchmarks)
    return problems + [
        line for entry in matrix.benchmarks for line in _twice("tasks", ["+".join(s) for s in entry.task_sets])
    ]


def _start_problems(matrix: Matrix) -> list[str]:
    return starts.problems(matrix) or _unsupported(matrix)


def _no_baseline(matrix: Matrix) -> list[str]:
    if matrix.baseline is not None or any(one_task(method.name) for method in matrix.methods):
        return []
    rows = ", ".join(method.row for method in matrix.methods)
    return [f"baseline: name the row that Eq. (6) divides by, one of: {rows}"]


# Each look at a matrix, with the fields that must be right before it says anything.
LOOKS: tuple[tuple[Collection[str], Callable[[Matrix], list[str]]], ...] = (
    (["benchmarks"], _benchmark_problems),
    (["seeds"], lambda matrix: _twice("seeds", matrix.seeds)),
    (["benchmarks", "tune"], _tuning_problems),
    (["benchmarks", "methods", "baseline", "seeds", "controls"], _control_problems),
    (["backbone", "methods"], _misfits),
    (["benchmarks", "methods", "baseline", "train", "tune", "controls", "skip_unsupported"], _start_problems),
    (["methods", "baseline"], _no_baseline),
)


def _one_file_name(entries: Sequence[BenchmarkEntry]) -> list[str]:
    """Benchmarks whose tables and records would be written into the same files."""
    named: dict[str, list[str]] = {}
    for name, slug in {entry.name: entry.slug for entry in entries}.items():
        named.setdefault(slug, []).append(name)
    return [
        f"benchmarks: {' and '.join(names)} would have files of the same name, {slug}; give one class another name"
        for slug, names in named.items()
        if len(names) > 1
    ]


def _row(entry: Any) -> str | None:
    if isinstance(entry, str):
        return entry
    named = (entry.get("label") or entry.get("name")) if isinstance(entry, dict) else None
    return named if isinstance(named, str) else None
