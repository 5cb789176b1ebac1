"""The JSON schema of a matrix file, for editors: pydantic's schema of the models, with the short forms of a file.

It is generated once and kept beside this file, so that `mtlbench schema` prints it without importing PyTorch. A file
that `mtlbench run` accepts is valid by the schema. The reverse does not hold: only `mtlbench run --dry-run` checks
everything.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel

from mtlbench.benchmarks import BENCHMARKS
from mtlbench.harness.matrix import presets
from mtlbench.harness.matrix.cell import BackboneConfig
from mtlbench.harness.matrix.entries import (
    SHORT_FORMS,
    BenchmarkEntry,
    Controls,
    Matrix,
    MethodEntry,
    Recipe,
    Resources,
    TaskSet,
)
from mtlbench.harness.matrix.optimization import OPTIMIZERS, SCHEDULES
from mtlbench.harness.matrix.tuning import DIMENSIONS, Tuning
from mtlbench.methods import METHODS

FILE = "harness/matrix/reference/schema.json"
HIDDEN = ("preset",)  # fields of Recipe that a file does not write
OUTSIDE = {"type": "string", "pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$"}  # package.module:Name

# The parts of a file in the order of the page, each as the key at which it stands.
SECTIONS: dict[str, type[BaseModel]] = {
    "": Matrix,
    "benchmarks": BenchmarkEntry,
    "methods": MethodEntry,
    "backbone": BackboneConfig,
    "train": Recipe,
    "tune": Tuning,
    "controls": Controls,
    "controls.relatedness": TaskSet,
    "resources": Resources,
}


def examples() -> dict[str, dict[str, Any]]:
    """An example of each key, by section."""
    text = (resources.files("mtlbench.harness.matrix.reference") / "examples.yaml").read_text()
    read: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {section: read[section or "top"] for section in SECTIONS}


def schema() -> dict[str, Any]:
    """The schema as a dictionary."""
    made = Matrix.model_json_schema()
    parts = {section: made if model is Matrix else made["$defs"][model.__name__] for section, model in SECTIONS.items()}
    for name in HIDDEN:
        del parts["train"]["properties"][name]
    _accept_short_forms(parts)
    _name_choices(parts)
    known = examples()
    for section, part in parts.items():
        part.pop("title", None)
        for key, described in part["properties"].items():
            described["title"] = key
            described["description"] = " ".join(described["description"].split())
            described["examples"] = [known[section][key]]
    row = {key: value for key, value in parts["train"].items() if key != "anyOf"}
    made["$defs"]["RowRecipe"] = {**row, "description": "The keys of `train` in which a row departs from the recipe."}
    parts["methods"]["properties"]["train"]["$ref"] = "#/$defs/RowRecipe"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A matrix of mtlbench",
        **made,
    }


def _accept_short_forms(parts: dict[str, dict[str, Any]]) -> None:
    """What `in_full` and the validators of the models replace before they check."""
    top, benchmark, train = parts[""], parts["benchmarks"]["properties"], parts["train"]

    def or_name(reference: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [reference, {"type": "string"}]}

    sets = benchmark["tasks"]
    sets["anyOf"].insert(0, {"type": "array", "items": {"type": "string"}, "minItems": 1})
    keys = top["properties"]
    for key in ("benchmarks", "methods"):
        keys[key]["items"] = or_name(keys[key]["items"])
    short = {
        "benchmark": or_name({"$ref": "#/$defs/BenchmarkEntry"}),
        "size": {"anyOf": benchmark["size"]["anyOf"]},
        "tasks": {"anyOf": sets["anyOf"]},
    }
    for key, text in SHORT_FORMS.items():
        keys[key] = {**short[key], "description": text}
    keys["backbone"].update(or_name({"$ref": keys["backbone"].pop("$ref")}))
    top["required"] = ["methods", "train"]  # the name is that of the file
    top["anyOf"] = [{"required": ["benchmark"]}, {"required": ["benchmarks"]}]
    train["anyOf"] = [{"required": ["epochs"]}, {"required": ["steps"]}]
    weights = train["properties"]["weights"]
    moved = {key: weights.pop(key) for key in ("type", "additionalProperties")}
    weights["anyOf"] = [moved, {"type": "string", "enum": [presets.COMMON, *presets.PUBLISHED]}]


def _name_choices(parts: dict[str, dict[str, Any]]) -> None:
    """The names that a key takes, so that an editor completes them."""
    for section, key, known in (
        ("methods", "name", METHODS),
        ("benchmarks", "name", BENCHMARKS),
        ("train", "optimizer", OPTIMIZERS),
        ("train", "schedule", SCHEDULES),
    ):
        described = parts[section]["properties"][key]
        described.pop("type")
        described["anyOf"] = [{"type": "string", "enum": [*known]}, OUTSIDE]
    parts["tune"]["properties"]["space"]["propertyNames"] = {"enum": [*DIMENSIONS]}


def files() -> dict[str, str]:
    """The file of the schema with its text."""
    return {FILE: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"}
