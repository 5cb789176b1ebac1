"""The reference of a matrix: every key has a text and an example, and what is committed is what is generated."""

import copy
import json
import re
import subprocess
import sys

import jsonschema
import pytest
import yaml

from command import invoke
from mtlbench.harness.matrix.cell import Cell, TrainConfig
from mtlbench.harness.matrix.entries import SHORT_FORMS, Matrix
from mtlbench.harness.matrix.file import check
from mtlbench.harness.matrix.reference import options, pages, schema
from mtlbench.harness.matrix.text.written import embedded, find
from mtlbench.methods import METHODS
from mtlbench.methods.baseline import MultiTask
from paths import ROOT

EXAMPLES = schema.examples()
KEYS = [(section, key) for section, found in EXAMPLES.items() for key in found]
VALIDATOR = jsonschema.Draft202012Validator(schema.schema())


def fields(section):
    model = schema.SECTIONS[section]
    return {key: field for key, field in model.model_fields.items() if key not in schema.HIDDEN}


@pytest.mark.parametrize("model", [*schema.SECTIONS.values(), Cell, TrainConfig], ids=lambda model: model.__name__)
def test_every_key_has_a_text(model):
    for key, field in model.model_fields.items():
        assert field.description and field.description.endswith("."), f"{model.__name__}.{key}: write a text below it"


def test_every_key_has_an_example_and_every_example_a_key():
    for section, found in EXAMPLES.items():
        assert found.keys() == fields(section).keys() | (SHORT_FORMS.keys() if not section else set()), section


def test_every_part_of_a_matrix_is_a_section():
    parts = {name for name in schema.schema()["$defs"] if name != "RowRecipe"}
    assert parts == {model.__name__ for model in schema.SECTIONS.values() if model is not Matrix}


def with_example(section, key):
    """A small matrix in which a key has its example."""
    value = copy.deepcopy(EXAMPLES[section][key])
    rows = ["single_task", "multi_task"]
    content = {"name": "m", "benchmark": "rooms", "methods": rows, "train": {"epochs": 1}}
    if section == "":
        if key == "benchmarks":
            del content["benchmark"]
        content[key] = value
    elif section == "benchmarks":
        content["benchmark"] = {"name": "rooms", key: value}
    elif section == "methods":
        content["methods"] = [*rows, {"name": "sca_mtl", key: value}]
    elif section == "controls.relatedness":
        sets = [{"tasks": ["semseg", "depth"]}, {"tasks": ["semseg", "depth"], "options": {"foreign": ["depth"]}}]
        content["controls"] = {"row": "multi_task", "relatedness": [*sets, {**sets[0], key: value}]}
        content["controls"]["relatedness"][2].setdefault("options", {"train": 30})
    else:
        begun = {
            "backbone": {"name": "resnet18"},
            "train": {} if key == "steps" else {"epochs": 1},
            "tune": {"trials": 2, "space": {"lr": [1e-4, 1e-3]}},
            "controls": {"row": "multi_task", **{k: EXAMPLES["controls"][k] for k in ("other_seeds", "relatedness")}},
        }
        content[section] = {**begun.get(section, {}), key: value}
    return content


@pytest.mark.parametrize("section, key", KEYS)
def test_an_example_is_read_into_the_model_and_valid_by_the_schema(section, key):
    content = with_example(section, key)
    matrix = check(copy.deepcopy(content), "m.yaml")
    VALIDATOR.validate(content)
    part = matrix if section == "" else None
    if section in ("benchmarks", "methods"):
        part = getattr(matrix, section)[-1]
    elif section == "controls.relatedness":
        part = matrix.controls.relatedness[-1]
    elif section:
        part = getattr(matrix, section)
    if section or key not in SHORT_FORMS:
        assert key in part.model_fields_set
        assert holds(part.model_dump(mode="json")[key], EXAMPLES[section][key])


def holds(read, written):
    """Whether what was read has all that was written, beside defaults."""
    if isinstance(written, dict):
        return all(holds(read[key], value) for key, value in written.items())
    if isinstance(written, list):
        return len(read) == len(written) and all(map(holds, read, written))
    return written in (read, read["name"]) if isinstance(read, dict) else read == written


@pytest.mark.parametrize("name", embedded())
def test_an_embedded_matrix_is_valid_by_the_schema(name):
    VALIDATOR.validate(yaml.safe_load(find(name).read_text()))


@pytest.mark.parametrize(
    "wrong, path",
    [
        ({"train": {"epochs": 1, "lr": 0}}, ["train", "lr"]),
        ({"train": {"epochs": 1, "learning_rate": 1}}, ["train"]),
        ({"train": {}}, ["train"]),
        ({"seeds": []}, ["seeds"]),
        ({"methods": [{"name": "pad_nte"}]}, ["methods", 0]),
        ({"method": ["pad_net"]}, []),
        ({"tune": {"trials": 8, "space": {"batch": [1, 8]}}}, ["tune"]),
        ({"benchmark": {"name": "rooms", "evaluate": "natve"}}, ["benchmark"]),
    ],
)
def test_the_schema_finds_a_mistake_where_it_is(wrong, path):
    right = {"benchmark": "rooms", "methods": ["single_task", {"name": "my_module:Mine"}], "train": {"epochs": 1}}
    VALIDATOR.validate(right)
    places = [[*error.absolute_path] for error in VALIDATOR.iter_errors({**right, **wrong})]
    assert places and all(place[: len(path)] == path for place in places)


@pytest.mark.parametrize("name", METHODS)
def test_every_option_of_a_method_has_a_meaning_that_stands_alone(name):
    for option in options.described(METHODS[name]):
        assert option.meaning.endswith("."), f"{name}: write `{option.name}: meaning.` under Options: in its docstring"
        assert len(option.meaning) > 30 and not re.search(r"\bsee [A-Z]", option.meaning), option


def rows_of(page):
    """The cells of each line of a table of keys, by its section and key."""
    found, section = {}, ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = re.sub("`|^At the top$", "", line[3:])
        if cells := re.fullmatch(r"\| \[?`(\w+)`.*? \| (.*) \| (.*) \| (.*) \| `.*` \|", line):
            found[section, cells[1]] = cells.groups()[1:]
    return found


def test_every_key_has_its_default_on_the_page_and_none_has_its_meaning():
    rows = rows_of(pages.matrix_page())
    assert rows.keys() == set(KEYS)
    for (section, key), (_, default, meaning) in rows.items():
        assert default and "Default:" not in meaning, (section, key)
        assert default not in ("none", "empty"), f"{section}.{key}: say what it means, in UNSET or after `Default:`"
    assert rows["", "seeds"][1] == "`[0]`" and rows["", "backbone"][1] == "the defaults [below](#backbone)"
    assert rows["train", "clip"][1] == "none: gradients are not clipped"
    assert rows["methods", "label"][1] == "none: the name of the method"
    assert rows["controls", "judged_on"][1] == "`[]`: all tasks of a set"
    assert rows["train", "lr"][1] == "`0.0001`" and rows["methods", "name"][1] == "needed"


def test_what_is_said_of_keys_that_are_not_written_is_of_keys_without_a_value():
    paths = {".".join(filter(None, path)): path for path in KEYS}
    for path in pages.UNSET:
        section, key = paths[path]
        field = fields(section).get(key)
        assert field is None or field.is_required() or field.default in (None, ""), path


class Documented(MultiTask):
    """A method.

    More of it.

    Options:
        width: channels of the
            mixed map.
        other: no option.
    """

    def __init__(self, backbone, targets, *, width: int | None = None, silent: float = 0.5, head: str = "hrnet"):
        super().__init__(backbone, targets)


def test_meanings_come_from_the_docstring_of_a_method_and_of_what_it_is_made_from():
    width, silent, head = options.described(Documented)
    assert width == ("width", "whole number or null", "null", "Channels of the mixed map.")
    assert silent.meaning == "" and head.meaning == options.described(MultiTask)[0].meaning != ""
    assert options.text_of(Documented) == ("A method.", "More of it.")


def test_one_task_is_named_in_the_singular():
    page = pages.methods_page()
    assert "A network has exactly 1 task." in page and "exactly 2 tasks." in page and "1 tasks" not in page


@pytest.mark.parametrize("file", [*schema.files(), *pages.files()])
def test_what_is_committed_is_what_is_generated(file):
    made = {**schema.files(), **pages.files()}[file]
    assert (ROOT / file).read_text() == made, f"{file}: call python -m mtlbench.harness.matrix.reference"


def test_the_command_prints_the_schema():
    done = invoke("schema")
    assert done.exit_code == 0 and json.loads(done.output) == schema.schema()


def test_the_schema_is_printed_without_pytorch():
    code = (
        "import sys; from mtlbench.harness.cli.app import app; app(['schema'], standalone_mode=False); "
        "print(*{'torch', 'pandas', 'ray', 'mlflow', 'numpy'} & sys.modules.keys(), file=sys.stderr, end='')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "" and json.loads(done.stdout)["title"] == "A matrix of mtlbench"
