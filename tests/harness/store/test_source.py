"""A number belongs to the code that made it: whatever can move a number moves the hash of the source."""

import re
import shutil

import pytest

from mtlbench.harness.matrix.text.names import names_a_module
from mtlbench.harness.store import source
from mtlbench.methods.outside import is_outside
from paths import ROOT

FILES = source.decisive_files()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the four folders."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in source.FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("rooms_verdict", "__pycache__"))
    return root


@pytest.fixture
def hash_of(checkout):
    """The hash of the copy as it is now."""

    def compute():
        source.source_hash.cache_clear()
        source.decisive_files.cache_clear()
        return source.source_hash(checkout)

    yield compute
    source.source_hash.cache_clear()
    source.decisive_files.cache_clear()


def edited(file, text):
    """Undoes the edit when the returned function is called."""
    before = file.read_text()
    file.write_text(text)
    return lambda: file.write_text(before)


def test_what_trains_and_scores_a_cell_is_decisive():
    for name in (
        "harness/training/train.py", "harness/training/objective.py", "harness/training/optimizers.py",
        "harness/data/loading.py", "harness/data/learning.py", "harness/scoring/statistics.py", "harness/seeds.py",
        "harness/scoring/protocol.py", "harness/matrix/cell.py", "benchmarks/tasks/losses.py",
        "benchmarks/tasks/edges.py", "benchmarks/nyud.py", "benchmarks/copies/folders.py",
        "benchmarks/rendering/shading.py", "methods/sca_mtl.py", "methods/parts/attention.py", "methods/backbone.py",
        "methods/feature_maps.py", "methods/stages.py",
    ):  # fmt: skip
        assert name in FILES, name
    for folder in ("harness/driver", "harness/tracking", "harness/cli", "harness/bench", "results/report"):
        assert not [name for name in FILES if name.startswith(folder)], folder


@pytest.mark.slow
def test_an_edit_of_any_decisive_file_moves_the_hash(checkout, hash_of):
    before = hash_of()
    for name in FILES:
        undo = edited(checkout / name, (checkout / name).read_text() + "\nEDITED = 1\n")
        assert hash_of() != before, name
        undo()
    assert hash_of() == before


def test_an_edit_of_a_constant_or_of_the_drawing_of_crops_moves_the_hash(checkout, hash_of):
    before = hash_of()
    text = (checkout / "benchmarks/transforms/augmentation.py").read_text()
    undo = edited(checkout / "benchmarks/transforms/augmentation.py", text.replace("tries: int = 10", "tries: int = 9"))
    assert hash_of() != before
    undo()


def test_comments_docstrings_and_layout_do_not_move_the_hash(checkout, hash_of):
    before, undo = hash_of(), []
    for name in FILES:
        text = (checkout / name).read_text()
        said = re.sub(r'^( *)"""', r'\1"""Said otherwise. ', text, count=1, flags=re.MULTILINE)
        undo.append(edited(checkout / name, "# A comment.\n\n" + said + "\n\n# Another.\n"))
    after = hash_of()
    for back in undo:
        back()
    assert after == before


def test_files_that_move_no_number_do_not_move_the_hash(checkout, hash_of):
    before, undo = hash_of(), []
    others = {file.relative_to(checkout).as_posix() for f in source.FOLDERS for file in (checkout / f).rglob("*.py")}
    assert len(others - set(FILES)) > 40
    for name in others - set(FILES):
        undo.append(edited(checkout / name, (checkout / name).read_text() + "\nEDITED = 1\n"))
    after = hash_of()
    for back in undo:
        back()
    assert after == before


def test_a_file_that_a_decisive_one_begins_to_import_becomes_decisive(checkout, hash_of):
    before = hash_of()
    (checkout / "benchmarks" / "tasks" / "fresh.py").write_text("VALUE = 1\n")
    assert hash_of() == before
    losses = checkout / "benchmarks/tasks/losses.py"
    undo = edited(losses, losses.read_text() + "\nfrom mtlbench.benchmarks.tasks.fresh import VALUE\n")
    with_import = hash_of()
    (checkout / "benchmarks" / "tasks" / "fresh.py").write_text("VALUE = 2\n")
    assert len({before, with_import, hash_of()}) == 3
    undo()
    (checkout / "benchmarks" / "tasks" / "fresh.py").unlink()


def test_a_moved_file_moves_the_hash(checkout, hash_of):
    before = hash_of()
    moved = checkout / "methods/parts/order2.py"
    (checkout / "methods/parts/order.py").rename(moved)
    assert hash_of() != before
    moved.rename(checkout / "methods/parts/order.py")
    assert hash_of() == before


def test_every_exception_is_reached_and_has_a_reason():
    assert set(source.EXCEPTIONS) <= source.reached(), "an exception that nothing reaches any more"
    assert all(source.EXCEPTIONS.values())
    assert set(source.STARTS) <= set(FILES)


def test_a_method_from_outside_is_known_by_all_its_files(tmp_path):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("import os\nfrom mine import layers\nfrom .heads import head\n")
    (package / "layers.py").write_text("def layer():\n    import beside\n    return 'named:Optimizer'\n")
    (package / "heads.py").write_text("def head(): ...\n")
    (package / "unused.py").write_text("VALUE = 1\n")
    (tmp_path / "beside.py").write_text("VALUE = 1\n")
    (tmp_path / "named.py").write_text("Optimizer = 1\n")
    before = source.outside_hash({"mine.net": package / "net.py"})
    for name in ("mine/__init__.py", "mine/net.py", "mine/layers.py", "mine/heads.py", "beside.py", "named.py"):
        undo = edited(tmp_path / name, (tmp_path / name).read_text() + "\nEDITED = 1\n")
        assert source.outside_hash({"mine.net": package / "net.py"}) != before, name
        undo()
        undo = edited(tmp_path / name, "# A comment.\n" + (tmp_path / name).read_text())
        assert source.outside_hash({"mine.net": package / "net.py"}) == before, name
        undo()
    (package / "unused.py").write_text("VALUE = 2\n")
    assert source.outside_hash({"mine.net": package / "net.py"}) == before


def test_of_an_installed_module_only_its_own_package_is_followed(tmp_path):
    folder = tmp_path / "site-packages"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "__init__.py").write_text("")
    (folder / "mine" / "net.py").write_text("import library\nfrom mine import layers\n")
    (folder / "mine" / "layers.py").write_text("WIDTH = 1\n")
    (folder / "library.py").write_text("VALUE = 1\n")
    found = []
    for name in ("library.py", "mine/layers.py"):
        found.append(source.outside_hash({"mine.net": folder / "mine" / "net.py"}))
        (folder / name).write_text("VALUE = 2\n")
    found.append(source.outside_hash({"mine.net": folder / "mine" / "net.py"}))
    assert found[0] == found[1] != found[2]


def test_prepared_data_are_old_once_the_code_that_reads_files_has_changed(checkout):
    def reading():
        source.reading_hash.cache_clear()
        return source.reading_hash("mtlbench.benchmarks.nyud", checkout)

    before = reading()
    for name, moves in (
        ("benchmarks/copies/folders.py", True), ("benchmarks/copies/files.py", True), ("benchmarks/nyud.py", True),
        ("benchmarks/pascal_context.py", False), ("benchmarks/tasks/losses.py", False),
        ("benchmarks/copies/verify.py", False),
    ):  # fmt: skip
        undo = edited(checkout / name, (checkout / name).read_text() + "\nEDITED = 1\n")
        assert (reading() != before) is moves, name
        undo()
        undo = edited(checkout / name, (checkout / name).read_text() + "\n# A comment.\n")
        assert reading() == before, name
        undo()
    source.reading_hash.cache_clear()


@pytest.mark.parametrize("text", ["a:B", "a.b:C", "a", ":", "a:", ":B", "a b:C", "a.:B", "a:B.c", "1a:B", "https://x"])
def test_a_name_from_outside_is_the_same_for_the_hash_and_for_the_methods(text):
    assert names_a_module(text) == is_outside(text)
