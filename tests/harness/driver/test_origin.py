"""A store keeps the matrix as it was asked for: it makes the same cells, and says nothing of machines or persons."""

import yaml

from cells import matrix_file
from command import main
from mtlbench.harness.driver import run as driver
from mtlbench.harness.driver.standing import UNKNOWN, origin
from mtlbench.harness.driver.work import Work
from mtlbench.harness.matrix.expand import expand
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import Written, as_yaml, load
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

METHODS = [{"name": "single_task", "label": "Single"}, {"name": "multi_task", "label": "Multi"}]


def cells(matrix):
    return [item.cell.id for item in expand(matrix)]


def test_the_text_makes_the_same_cells_with_all_overrides(tmp_path):
    file = str(matrix_file(tmp_path, "small", methods=METHODS, baseline="Single"))
    overrides = ["train.lr=0.5", "seeds=[3, 4]", "methods.1.label=Möre"]
    again = tmp_path / "again.yaml"
    again.write_text(as_yaml(load(file, overrides)))
    assert cells(read(str(again))) == cells(read(file, overrides)) != cells(read(file))
    assert read(str(again)).name == "small"


def test_no_folder_and_no_password_is_in_the_text():
    content = {
        "backbone": {"weights": "/home/someone/secret/net.safetensors"},
        "benchmark": {"options": {"root": "~/data/rooms", "from": "https://me:word@host/x?token=abc"}},
        "title": "mIoU / RMSE, and why", "methods": ["my_module:Mine", "../other/net.safetensors"],
    }  # fmt: skip
    text = as_yaml(Written("/home/someone/m.yaml", content, []))
    assert yaml.safe_load(text) == {
        "backbone": {"weights": "net.safetensors"},
        "benchmark": {"options": {"root": "rooms", "from": "https://host/x"}},
        "title": "mIoU / RMSE, and why", "methods": ["my_module:Mine", "net.safetensors"],
    }  # fmt: skip
    assert "someone" not in text and "word" not in text


def test_a_run_keeps_the_text_beside_its_manifest_and_removes_one_that_is_not_its_own(tmp_path):
    file = str(matrix_file(tmp_path, "small", methods=METHODS, baseline="Single"))
    store = Store(tmp_path / "s")
    Work(read(file), store, [], lambda ids: {}, {}, origin(load(file)), "").publish()
    assert store.get(files.matrix_text("small")).decode() == as_yaml(load(file))
    assert files.matrix_names(store.names(files.MATRICES, "file")) == ["small"]
    Work(read(file), store, [], lambda ids: {}, {}, UNKNOWN, "").publish()
    assert not store.exists(files.matrix_text("small"))


def test_the_command_hands_on_what_it_read(tmp_path, monkeypatch):
    file, asked = str(matrix_file(tmp_path, "small", methods=METHODS, baseline="Single")), []

    def run(request, *_):
        asked.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "run", run)
    main(["run", file, "--store", str(tmp_path / "s"), "--set", "train.lr=0.5"])
    assert asked[0].origin == origin(load(file, ["train.lr=0.5"]))
