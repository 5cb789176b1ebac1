"""`mtlbench show` takes what a person types, and prints losses, sizes and times with their units."""

import json
import re

import pytest

from cells import small_matrix
from command import invoke
from mtlbench.harness.matrix.expand import expand, manifest
from mtlbench.harness.store.cells import find_cell
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.record import Record, Score

METHODS = [{"name": "single_task", "label": "Single task"}, {"name": "pad_net", "label": "PAD-Net"}]
COST = {
    "parameters": 3455844.0,
    "macs": 2.3e8,
    "peak_memory_bytes": 1.43e9,
    "seconds_per_step": 0.294,
    "train_seconds": 4000.0,
}
SCORES = (
    Score("semseg", "miou", 42.33794, True, True, title="mIoU", unit="%", decimals=2),
    Score("semseg", "pixel_accuracy", None, True, False, title="pixel accuracy", unit="%", decimals=2),
    Score("depth", "rmse", 0.61284, False, True, title="rmse", unit="m", decimals=4),
    Score("depth", "old", 0.5, False, False),
)
PROVENANCE = {
    "commit": None, "device": "Some CPU", "processes": 2, "source": "fefba587d4ea", "unheard_of": {"so_far": [1, 2]},
    "data": {"fingerprint": "5d82", "images": [1400, 200], "rows": {"depth": 200, "semseg": 199}, "unlabelled": 0},
    "versions": {"numpy": "2.4.6", "python": "3.11.7"}, "weights": {"package": "lite0 0.1.0", "sha256": "5793"},
}  # fmt: skip
HISTORY = [
    {"step": 50, "epoch": 1, "name": "train/loss", "value": 9.5},
    {"step": 1200, "epoch": 2, "name": "train/loss", "value": 1.25},
    {"step": 1200, "epoch": 2, "name": "train/loss/depth", "value": 0.75},
    {"step": 1200, "epoch": 2, "name": "train/lr", "value": 0.001},
]


@pytest.fixture
def store(tmp_path):
    """A store of two matrices of seeds 0, 1 and 10; the PAD-Net of seed 1 in `first` is finished."""
    store = Store(tmp_path / "s")
    for name, epochs in (("first", 1), ("second", 2)):
        matrix = small_matrix(
            name=name, methods=METHODS, baseline="Single task", seeds=[0, 1, 10], train={"epochs": epochs, "batch": 2}
        )
        store.put(files.matrix(name), manifest(matrix, {}).to_json())
        for item in expand(matrix):
            store.put_cell(item.cell)
            if (name, item.cell.method, item.cell.seed) == ("first", "pad_net", 1):
                record = Record(item.cell.id, item.cell.model_dump(mode="json"), SCORES, COST, PROVENANCE, {}, ())
                store.put_record(record)
                store.put(files.history(item.cell.id), "\n".join(map(json.dumps, HISTORY)))
    return store


def test_words_of_a_title_find_the_cell_and_its_numbers_have_units(store):
    done = invoke("show", "pad", "seed", "1", "--matrix", "first", "--store", store.url)
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for expected in (
        "loss 1.25 step 1,200, epoch 2", "loss/depth 0.75 step 1,200, epoch 2", "parameters 3,455,844",
        "multiply-accumulates 0.23 G", "peak memory 1.4 GB", "a step 294.0 ms", "train 1 h 07 min",
    ):  # fmt: skip
        assert expected in lines
    assert "9.5" not in done.stdout and "lr" not in " ".join(lines).split("last losses:")[1].split("parameters")[0]


def test_scores_have_their_units_and_where_they_come_from_is_said_in_words(store):
    said = invoke("show", "pad", "seed", "1", "--matrix", "first", "--store", store.url).stdout
    for line in (
        "* semseg  mIoU                42.34 %     higher is better",
        "  semseg  pixel accuracy  undefined %     higher is better",
        "* depth   rmse               0.6128 m     lower is better",
        "  depth   old                0.5000       lower is better",
        "  * enters Δm",
        "commit of mtlbench        unknown",
        "device                    Some CPU",
        "processes                 2",
        "unheard of, so far        1, 2",
        "hash of the data          5d82",
        "images                    1,400 to train, 200 to test",
        "images scored             depth 200, semseg 199",
        "training images left out  0",
        "versions                  numpy 2.4.6, python 3.11.7",
        "weights from the package  lite0 0.1.0",
    ):
        assert line in said.splitlines(), said
    assert "{" not in said.partition("* enters Δm")[2]


@pytest.mark.parametrize("words", [["s10"], ["PAD", "seed 10"], ["pad_net", "10"]])
def test_a_seed_is_no_part_of_a_greater_one_and_case_does_not_matter(store, words):
    done = invoke("show", "pad", *words, "--matrix", "second", "--store", store.url)
    assert done.exit_code == 0 and "-s10-" in done.stdout


def test_what_fits_several_cells_is_refused_in_one_line_that_lists_them(store):
    done = invoke("show", "pad", "--matrix", "first", "--store", store.url)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "'pad' fits 3 cells of first" in done.stderr
    assert all(f" · seed {seed}" in done.stderr for seed in (0, 1, 10))
    both = invoke("show", "pad", "seed", "1", "--store", store.url)  # of two matrices, the ids tell them apart
    assert both.exit_code == 2 and both.stderr.count("\n") == 1 and both.stderr.count("-pad_net-") == 2


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        ("single semseg", ["Single task · semseg · seed 0"]),
        ("semseg", ["Single task · semseg · seed 0"]),
        ("SEMSEG+depth", ["PAD-Net · semseg+depth · seed 0"]),
        ("pad semseg", ["PAD-Net · semseg+depth · seed 0"]),
        ("sem", ["Single task · semseg · seed 0", "PAD-Net · semseg+depth · seed 0"]),
    ],
)
def test_a_word_that_is_a_whole_task_set_finds_no_larger_set_beside_it(tmp_path, words, titles):
    store, benchmark = Store(tmp_path / "s"), {"name": "rooms", "tasks": ["semseg", "depth"]}
    cells = manifest(small_matrix(benchmark=benchmark, methods=METHODS, baseline="Single task"), {})
    store.put(files.matrix("m"), cells.to_json())
    if len(titles) == 1:
        (found,) = (entry for cell_id, entry in cells.cells().items() if cell_id == find_cell(store, words))
        assert [f"{found.label} · {'+'.join(found.tasks)} · seed {found.seed}"] == titles
    else:
        with pytest.raises(FileNotFoundError, match=re.escape("; ".join(titles))):
            find_cell(store, words)


def test_a_matrix_that_the_store_lacks_is_named(store):
    done = invoke("show", "pad", "--matrix", "third", "--store", store.url)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and "no matrix 'third'" in done.stderr
