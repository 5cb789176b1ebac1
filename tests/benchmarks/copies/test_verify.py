"""Whatever is wrong with a copy is named, and nothing else is."""

import io
import json
import re
import shutil
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pytest

from data_copies import Published, cli, findings, quiet
from fixtures import NYUD_FORMATS, SIZE, labelled_mat, nyud, pascal_mt, save, tree
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.copies.verify import verify
from mtlbench.benchmarks.nyud import NYUD
from mtlbench.harness.data import prepare
from mtlbench.harness.data.copy import Copy

pytestmark = pytest.mark.usefixtures("any_size")


class Small(NYUD):
    """NYUD-v2 as if the whole data set had the sizes of the copies made here."""

    splits = MappingProxyType({"train": 2, "test": 1})


def problems(root, benchmark=None, tasks=None):
    return verify(benchmark or Small(), root, quiet, tasks).problems


@pytest.mark.parametrize("layout", ["NYUD_MT", "NYUDv2"])
def test_nothing_is_wrong_with_a_whole_copy(tmp_path, layout):
    truth = nyud(tmp_path, layout)
    before = tree(tmp_path)
    report = verify(Small(), tmp_path, quiet)
    assert report.problems == [] and report.lacking == {} and tree(tmp_path) == before
    assert report.reading == {"layout": layout, "frame": "left-up-back"}
    assert report.fingerprint == Small().fingerprint(tmp_path)
    train_report, test_report = report.splits
    assert (train_report.images, train_report.expected, train_report.sizes) == (2, 2, {"34 x 46": 2})
    fields = {field.name: field for field in train_report.fields}
    assert {name: field.read for name, field in fields.items()} == dict.fromkeys(
        ("image", "semseg", "depth", "normals", "edge"), 2
    )
    stored = [truth[name] for name in ("0001", "0003")]
    depths = np.stack([entry["depth"] for entry in stored])
    assert fields["depth"].invalid == pytest.approx((depths == 0).mean())
    assert fields["depth"].least == pytest.approx(depths[depths > 0].min())
    assert fields["depth"].greatest == pytest.approx(depths.max())
    assert fields["semseg"].classes == len(np.unique([entry["segmentation"] for entry in stored])) - 1
    assert fields["semseg"].dtypes == ["uint8"] and fields["normals"].dtypes == ["float32"]
    assert fields["normals"].classes is None and fields["edge"].classes is None
    assert test_report.images == 1


def cut(path, keep):
    def change(root):
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(len(content) * keep)])

    return change


def copy(one, other):
    return lambda root: shutil.copy(root / one, root / other)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (cut("images/0003.jpg", 0.5), ["images/0003.jpg: not a whole picture"]),
        (cut("segmentation/0003.png", 0.5), ["segmentation/0003.png: not a whole picture"]),
        (
            lambda root: [cut(name, 0.5)(root) for name in ("depth/0001.npy", "normals/0001.npy", "edge/0002.npy")],
            ["depth/0001.npy: not a whole .npy", "normals/0001.npy: not a whole .npy", "edge/0002.npy: not a whole"],
        ),
        (
            lambda r: [(r / name).unlink() for name in ("images/0003.jpg", "depth/0003.npy")],
            [
                "images/0003.jpg: no such file, but every task needs it; 1 of 2",
                "depth/0003.npy: no such file, but depth",
            ],
        ),
        (copy("depth/0001.npy", "depth/0003.npy"), ["train 0001 and train 0003 have the same depth"]),
        (copy("segmentation/0001.png", "segmentation/0002.png"), ["train 0001 and test 0002 have the same semseg"]),
        (
            lambda r: [
                copy(f"{folder}/0001.{ending}", f"{folder}/0003.{ending}")(r)
                for folder, (ending, _) in NYUD_FORMATS["NYUD_MT"].items()
            ],
            ["train 0003 have the same image, semseg, depth, normals, edge"],
        ),
        (
            lambda r: [save(r / f"edge/{name}.npy", np.zeros(SIZE)) for name in ("0001", "0003")],
            ["train: every labelled pixel of edge is of class 0"],
        ),
        (copy("images/0001.jpg", "images/0003.jpg"), ["train 0001 and train 0003 are the same picture"]),
        (copy("images/0001.jpg", "images/0002.jpg"), ["train 0001 and test 0002 are the same picture"]),
        (lambda r: save(r / "depth/0001.npy", np.ones(SIZE[::-1], np.float32)), ["depth of .46, 34. for an image of"]),
        (lambda r: save(r / "depth/0001.npy", np.full(SIZE, -1.0)), ["depth/0001.npy: depth -1.0"]),
        (lambda r: save(r / "depth/0002.npy", np.zeros(SIZE)), ["test: no image has a valid pixel for depth"]),
        (lambda r: save(r / "gt_sets/train.txt", "0001"), ["train: 1 images; the whole data set has 2"]),
        (lambda r: shutil.rmtree(r / "edge"), ["edge: no such folder, but edge needs"]),
        (lambda r: (r / "edge/0003.npy").unlink(), ["edge/0003.npy: no such file, but edge needs it; 1 of 2"]),
    ],
)
def test_whatever_is_wrong_is_named_and_nothing_else(tmp_path, change, expected):
    nyud(tmp_path)
    change(tmp_path)
    found = problems(tmp_path)
    assert len(found) == len(expected)
    assert all(re.search(message, problem) for message, problem in zip(expected, found, strict=True)), found


@pytest.mark.parametrize("missing", ["images/0003.jpg", "depth/0003.npy"])
def test_a_missing_file_hides_nothing_of_the_others(tmp_path, missing):
    nyud(tmp_path)
    (tmp_path / missing).unlink()
    save(tmp_path / "segmentation/0003.png", np.full(SIZE, 41, np.uint8))
    report = verify(Small(), tmp_path, quiet)
    assert [problem.split(": ")[0].removeprefix(f"{tmp_path}/") for problem in report.problems] == [
        missing,
        "segmentation/0003.png",
    ]
    field = {"images": "image"}.get(missing.split("/")[0], "depth")
    read = [{found.name: found.read for found in split.fields} for split in report.splits]
    assert read[0] == {"image": 2, "semseg": 1, "depth": 2, "normals": 2, "edge": 2} | {field: 1}
    assert set(read[1].values()) == {1}


def test_a_dataset_that_is_missing_leaves_the_others(tmp_path):
    labelled_mat(tmp_path / "data")
    with h5py.File(tmp_path / "data/nyu_depth_v2_labeled.mat", "r+") as file:
        del file["labels"]
    report = verify(Small(), tmp_path / "data", quiet, ("semseg", "depth"))
    assert len(report.problems) == 1 and "no 'labels' in it" in report.problems[0]
    assert [field.name for field in report.splits[0].fields] == ["image", "depth"]
    found = prepare.prepare(Copy(NYUD(), tmp_path / "data"), tmp_path / "cache", quiet)
    assert found.tasks == ("depth",) and "no 'labels' in it" in found.lacking["semseg"]


@pytest.mark.parametrize("layout", ["NYUD_MT", "NYUDv2"])
def test_images_of_another_size_than_the_layouts_are_wrong(tmp_path, layout):
    nyud(tmp_path, layout)
    found = problems(tmp_path, Published())
    assert f"train: 2 of 2 images are 34 x 46; those of layout {layout} are 425 x 560 (rows x columns)" in found
    sizes = findings(tmp_path, Published())["width and height"]
    assert sizes.verdict == "wrong" and "images are (34, 46), and this layout has (425, 560)" in sizes.detail


def test_a_file_that_may_not_be_read_is_a_problem_and_not_the_end(tmp_path, monkeypatch):
    nyud(tmp_path)
    locked = tmp_path / "depth/0001.npy"
    plain = Path.read_bytes

    def read_bytes(path):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    def load(path, **options):
        return np.lib.format.read_array(io.BytesIO(read_bytes(path)))

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(np, "load", load)
    result = cli("verify", "nyud", "--data", tmp_path, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["fingerprint"] is None
    assert sum("Permission denied" in problem and "depth/0001.npy" in problem for problem in report["problems"]) == 1
    for command in ("doctor", "prepare"):
        result = cli(
            command, "nyud", "--data", tmp_path, *(["--cache", tmp_path / "c"] if command == "prepare" else [])
        )
        assert result.exit_code == 2 and "depth/0001.npy" in result.stderr, result.output


def test_a_report_is_json_where_nothing_is_valid(tmp_path):
    nyud(tmp_path)
    save(tmp_path / "depth/0002.npy", np.zeros(SIZE))

    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads(cli("verify", "nyud", "--data", tmp_path, "--json").stdout, parse_constant=refuse)
    depth = report["splits"][1]["fields"][2]
    assert depth["name"] == "depth" and depth["least"] is None and depth["greatest"] is None
    assert "none valid" in cli("verify", "nyud", "--data", tmp_path).stdout


def test_many_problems_of_a_kind_are_counted(tmp_path):
    names = [f"{number:04d}" for number in range(30)]
    nyud(tmp_path, train=names, test=("t",), size=(8, 8))
    for name in names:
        save(tmp_path / f"depth/{name}.npy", np.full((8, 8), 2500.0))
    found = problems(tmp_path, NYUD())
    assert sum("depth 2500.0 in 64 pixels; metres" in problem for problem in found) == 19
    assert "11 more problems with train" in found  # the number of images is one


def test_labels_that_a_layout_may_lack_are_not_wrong_unless_they_are_asked_for(tmp_path):
    labelled_mat(tmp_path)
    report = verify(Small(), tmp_path, quiet)
    assert report.problems == [] and set(report.lacking) == {"normals", "edge"}
    assert "no such folder; usual source" in problems(tmp_path, Small(), ("normals",))[0]
    with pytest.raises(ValueError, match="no task 'parts'; it has semseg"):
        problems(tmp_path, Small(), ("parts",))


@pytest.mark.parametrize("folder", ["pascal-context/trainval", "human_parts", "sal_distill"])
def test_a_folder_that_a_copy_lacks_is_said_once_a_task_and_not_for_each_of_its_files(tmp_path, folder):
    pascal_mt(tmp_path)
    shutil.rmtree(tmp_path / folder)
    about = [line for line in problems(tmp_path, BENCHMARKS["pascal_context"]()) if folder in line]
    assert about and all(f"{folder}: no such folder" in line for line in about)
    assert len(about) == len(set(about)) <= 2


def test_rooms_are_as_they_should_be(tmp_path):
    rooms = BENCHMARKS["rooms"](size=(32, 64), train=3, val=2, test=2)
    report = verify(rooms, tmp_path, quiet, ("semseg", "depth", "normals"))
    assert report.problems == [] and [split.images for split in report.splits] == [3, 2, 2]
