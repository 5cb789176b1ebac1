"""What file managers, notebooks and downloads leave in the folders of a copy is none of its samples."""

import random
import shutil
import unicodedata

import numpy as np
import pytest
import scipy.io

from data_copies import COPIES, quiet, same
from fixtures import nyud, nyuv2_13, pascal_mt
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.copies.verify import verify

LAYOUTS = {**COPIES, "NYUD_MT_mat": ("nyud", lambda root: nyud(root, "NYUD_MT_mat"))}
LAYOUTS["labelled_mat"] = ("nyud", lambda root: COPIES["labelled_mat"][1](root, normals_of=(1, 2, 4)))


def folders(root):
    return [root, *sorted(path for path in root.rglob("*") if path.is_dir())]


def drop_junk(root, seed):
    """Some junk into every folder. Its names are made of the names that are there."""
    draw = random.Random(seed)
    for folder in folders(root):
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != ".DS_Store")
        some = draw.sample(names, min(2, len(names))) or ["a.png"]
        for name in some:
            stem, _, ending = name.rpartition(".")
            kinds = [
                f"._{name}",
                f".~{name}",
                f"{name}~",
                f"{name}.part",
                f"{stem} (1).{ending}",
                f"{stem}-copy.{ending}",
            ]
            for junk in draw.sample(kinds, 3):
                (folder / junk).write_bytes(draw.randbytes(20))
            (folder / f"{stem}-checkpoint.{ending}").mkdir(exist_ok=True)
            (folder / ".ipynb_checkpoints").mkdir(exist_ok=True)
            shutil.copy(folder / name, folder / ".ipynb_checkpoints" / name) if name in names else None
        (folder / draw.choice(["Thumbs.db", "desktop.ini", "README.md", "@eaDir"])).write_bytes(b"x")
        for ending in ("npy", "png", "jpg", "mat", "parquet"):
            (folder / f"7.{ending}").mkdir()  # a folder is no file, whatever it is called


def look(benchmark, root):
    tasks = [task for task in benchmark.tasks if task not in benchmark.layout(root).absent]
    samples = {split: list(benchmark.open(root, split, tasks)) for split in benchmark.splits}
    return benchmark.layout(root).name, benchmark.fingerprint(root), benchmark.state(root), samples


@pytest.mark.parametrize("name", LAYOUTS)
def test_junk_in_every_folder_changes_no_sample_and_no_fingerprint(name, tmp_path):
    benchmark, make = LAYOUTS[name]
    benchmark = BENCHMARKS[benchmark]()
    make(tmp_path)
    layout, fingerprint, state, samples = look(benchmark, tmp_path)
    problems = verify(benchmark, tmp_path, quiet).problems
    clean = tmp_path.parent / f"{tmp_path.name}-clean"
    shutil.copytree(tmp_path, clean)
    for seed in range(3):
        root = tmp_path.parent / f"{tmp_path.name}-{seed}"
        shutil.copytree(clean, root)
        drop_junk(root, seed)
        found = look(benchmark, root)
        assert found[:3] == (layout, fingerprint, state)
        for split, expected in samples.items():
            assert all(same(one, other) for one, other in zip(found[3][split], expected, strict=True))
        told = verify(benchmark, root, quiet).problems
        assert [line.replace(str(root), "") for line in told] == [line.replace(str(tmp_path), "") for line in problems]


def test_what_is_only_junk_is_no_copy(tmp_path):
    for name in ("images", "segmentation", "depth", "gt_sets"):
        (tmp_path / name).mkdir()
        for junk in ("._0001.jpg", "._0001.png", "._0001.npy", "._0001.mat", ".DS_Store"):
            (tmp_path / name / junk).write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match="nyud expects"):
        BENCHMARKS["nyud"]().layout(tmp_path)


def test_a_cache_is_copied_without_the_junk_in_it(tmp_path):
    nyud(tmp_path / "data")
    samples = BENCHMARKS["nyud"]().open(tmp_path / "data", "train", ("depth",))
    cache.write(tmp_path / "cache", samples, len(samples))
    drop_junk(tmp_path / "cache", 0)
    cache.copy(tmp_path / "cache", tmp_path / "scratch")
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == ["depth.npy", "image.npy", "index.json"]
    assert all(same(one, other) for one, other in zip(cache.Cache(tmp_path / "scratch"), samples, strict=True))


# names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC"), ("NFD", "mixed")])
def test_an_id_finds_its_file_in_either_normal_form(listed, stored, tmp_path):
    plain, accented = ["kuche_1", "bad_2"], ["küche_1", "bäd_2"]
    nyud(tmp_path / "plain", train=plain, test=["0002"])
    nyud(tmp_path / "root", train=plain, test=["0002"])
    forms = iter(["NFC", "NFD"] * 20)
    for path in sorted((tmp_path / "root").rglob("*")):
        for old, new in zip(plain, accented, strict=True):
            if path.stem == old:
                form = next(forms) if stored == "mixed" else stored
                path.rename(path.with_name(unicodedata.normalize(form, new) + path.suffix))
    ids = [unicodedata.normalize(listed, name) for name in accented]
    (tmp_path / "root/gt_sets/train.txt").write_text("\n".join(ids))
    benchmark = BENCHMARKS["nyud"]()
    tasks = tuple(benchmark.tasks)
    found = benchmark.open(tmp_path / "root", "train", tasks)
    expected = benchmark.open(tmp_path / "plain", "train", tasks)
    assert [sample.id for sample in found] == ids and found.sizes() == expected.sizes()
    assert all(same(one._replace(id=""), other._replace(id="")) for one, other in zip(found, expected, strict=True))
    assert benchmark.fingerprint(tmp_path / "root") and benchmark.state(tmp_path / "root")
    assert not [line for line in verify(benchmark, tmp_path / "root", quiet).problems if "no such file" in line]


def test_one_image_in_both_normal_forms_is_listed_twice(tmp_path):
    nyud(tmp_path)
    (tmp_path / "gt_sets/train.txt").write_text("\n".join(unicodedata.normalize(form, "é") for form in ("NFC", "NFD")))
    with pytest.raises(ValueError, match="1 ids occur more than once"):
        BENCHMARKS["nyud"]().open(tmp_path, "train", ())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            "0001.jpg\n0003.jpg",
            r"0001\.jpg\.jpg: no such file.* 2 of 2 images .*; ids have no ending; leave it out in the",
        ),
        ("0001.png\n0003.png", "ids have no ending"),
        ("0001 1\n0003 -1", "ids stand alone in their lines; leave out what follows '0001'"),
        ("0001,kitchen\n0003,bath", "ids stand alone in their lines; leave out what follows '0001'"),
        ("0001.jpg segmentation.png", "ids have no ending, and stand alone in their lines"),
        ("1\n3", "file names have zeros before the number; write them in the list"),
        (
            "0001\n0009",
            r"0009\.jpg: no such file, but every task needs it; 1 of 2 images lack theirs; usual source: the",
        ),
    ],
)
def test_an_id_that_is_written_otherwise_is_told_how_to_write_it(lines, expected, tmp_path):
    nyud(tmp_path)
    (tmp_path / "gt_sets/train.txt").write_text(lines)
    with pytest.raises(FileNotFoundError, match=expected):
        BENCHMARKS["nyud"]().open(tmp_path, "train", ())


def test_an_ending_in_capital_letters_is_named(tmp_path):
    nyud(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".JPG"))
    with pytest.raises(
        FileNotFoundError, match=r"there is 0001\.JPG, but capital letters count; rename it to end in \.jpg"
    ):
        BENCHMARKS["nyud"]().open(tmp_path, "train", ())


def test_numbered_files_are_counted_without_folders(tmp_path):
    nyuv2_13(tmp_path)
    (tmp_path / "train/image/3.npy").mkdir()
    assert len(BENCHMARKS["nyuv2_13"]().open(tmp_path, "train", ())) == 3


# an annotation without an object --------------------------------------------------------------------------------------


@pytest.mark.parametrize("objects", [np.zeros((1, 0)), np.zeros((0, 0))])
def test_an_annotation_without_an_object_is_an_image_without_a_person(objects, tmp_path):
    pascal_mt(tmp_path)
    annotation = np.zeros((1, 1), dtype=[("imname", object), ("objects", object)])
    annotation[0, 0] = ("made", objects)
    scipy.io.savemat(tmp_path / "human_parts/2008_000002.mat", {"anno": annotation})
    samples = BENCHMARKS["pascal_context"]().open(tmp_path, "train", ("human_parts",))
    label = samples[0].labels["human_parts"]
    assert label.shape == samples[0].image.shape[1:] and bool((label == 255).all())
    assert samples.stored(0, "human_parts").shape == label.shape
