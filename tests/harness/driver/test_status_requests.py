"""How often `mtlbench status` asks an object store: at most once a cell and ten times for all of them."""

from dataclasses import replace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

from cells import matrix_file
from make_records import record, score
from mtlbench.harness.cli.app import app
from mtlbench.harness.driver.standing import digest
from mtlbench.harness.matrix.expand import expand, manifest
from mtlbench.harness.matrix.file import read
from mtlbench.harness.matrix.text.written import load
from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

PAGE = 1000  # names that an object store lists in one answer


class Counted(MemoryFileSystem):
    """An object store in memory that counts what it is asked. A question that asks others is counted once."""

    protocol = "counted"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    requests = 0
    inside = False

    def _count(self, name, *args, **kwargs):
        outermost, Counted.inside = not Counted.inside, True
        try:
            found = getattr(MemoryFileSystem, name)(self, *args, **kwargs)
        finally:
            Counted.inside = not outermost
            Counted.requests += outermost
        if outermost and name in ("ls", "find"):
            Counted.requests += len(found) // PAGE
        return found


for each in ("ls", "find", "info", "exists", "isdir", "isfile", "cat_file", "cat_ranges", "pipe_file", "rm", "open"):
    setattr(Counted, each, lambda self, *args, name=each, **kwargs: self._count(name, *args, **kwargs))


@pytest.fixture
def many(tmp_path):
    """(url, matrix file, number of cells) of a store with cells in every state."""
    fsspec.register_implementation("counted", Counted, clobber=True)
    methods = [{"name": "single_task", "label": "Single"}, {"name": "multi_task", "label": "Multi"}]
    file = str(matrix_file(tmp_path, "small", methods=methods, baseline="Single", seeds=list(range(12))))
    store = Store(f"counted://{tmp_path.name}")
    contents, cells = manifest(read(file), {}), {item.cell.id: item.cell for item in expand(read(file))}
    store.put(files.matrix("small"), replace(contents, written=digest(load(file))).to_json())
    ids = list(contents.cells())
    for number, cell_id in enumerate(ids):
        if number % 4 == 0:
            store.put_failure(cell_id, "no", "")
        elif number % 4 == 1:
            store.put(files.history(cell_id), "")
        elif number % 4 == 2:
            made = record(cell_id, (score("depth", 0.5),), cell=cells[cell_id].model_dump(mode="json"))
            store.put(files.record(cell_id), made.to_json())
            for image in range(100):
                store.put(f"{files.predictions(cell_id)}/{files.image(image, files.ARRAYS)}", b"")
    yield store.url, file, len(ids)
    Counted.store.clear()


@pytest.mark.parametrize("whole", [True, False])
def test_status_asks_an_object_store_once_a_cell_and_ten_times(many, whole):
    url, file, num_cells = many
    Counted.requests = 0
    said = CliRunner().invoke(app, ["status", *([file] if whole else []), "--store", url])
    assert said.exit_code == 0, said.output
    assert num_cells >= 24 and ("stale" if whole else "finished") in said.output and "failed" in said.output
    assert 0 < Counted.requests <= num_cells + 10


def test_a_matrix_that_the_store_has_not_seen_costs_no_more(many):
    url, file, num_cells = many
    Counted.requests = 0
    said = CliRunner().invoke(app, ["status", file, "--store", url, "--set", "title=Other"])
    assert said.exit_code == 0 and "stale" in said.output
    assert 0 < Counted.requests <= num_cells + 10
