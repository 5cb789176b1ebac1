"""The doctor finds wrong conventions of a copy, and says which option cures them."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from data_copies import Published, findings, quiet, turned
from fixtures import SIZE, blocks, pascal_mt, rooms_as_nyud, save
from mtlbench.benchmarks import BENCHMARKS
from mtlbench.benchmarks.copies import doctor, evidence
from mtlbench.benchmarks.copies.verify import verify
from mtlbench.benchmarks.nyud import NYUD
from paths import REAL

pytestmark = pytest.mark.usefixtures("any_size")


def without(fields, *names):
    return {name: value for name, value in fields.items() if name not in names}


def shifted(by):
    def change(fields):
        ids = fields["segmentation"].astype(int)
        return fields | {"segmentation": np.where(ids > 0, ids + by, 255 if by < 0 else 0).astype(np.uint8)}

    return change


def test_a_healthy_copy_has_only_right_conventions(healthy):
    found = findings(healthy)
    assert {name: finding.verdict for name, finding in found.items()} == {
        "width and height": "right",
        "class ids": "right",
        "unit of depth": "right",
        "sense of depth": "right",
        "frame of normals": "right",
    }
    assert all(not finding.remedy for finding in found.values())
    assert "focal length 0.81 of the uncropped width assumed" in found["frame of normals"].detail


@pytest.mark.parametrize("frame", ["ahead-down-right", "right-up-back", "left-down-back", "up-left-ahead"])
def test_the_frame_of_normals_is_found_and_its_option_cures_it(tmp_path, frame):
    rooms_as_nyud(tmp_path, images=4, change=turned(frame))
    found = findings(tmp_path)["frame of normals"]
    assert found.verdict == "wrong" and found.remedy == f"set the option frame={frame}"
    assert findings(tmp_path, NYUD(frame=frame))["frame of normals"].verdict == "right"
    other = findings(tmp_path, NYUD(frame="down-left-back"))["frame of normals"]
    assert other.verdict == "wrong" and other.remedy == f"set the option frame={frame}"


def test_a_focal_length_that_is_wrong_by_a_fifth_finds_the_same_frame(healthy):
    for factor in (0.8, 1.25):
        found = doctor.examine(NYUD(), healthy, ("depth", "normals"), focal=factor * evidence.assumed_focal((96, 128)))
        assert found.findings[-1].convention == "frame of normals" and found.findings[-1].verdict == "right"


@pytest.mark.parametrize(
    ("change", "convention", "message"),
    [
        (lambda f: f | {"depth": f["depth"] * 1000}, "unit of depth", "millimetres"),
        (lambda f: f | {"depth": (f["depth"] * 1000).astype(np.uint16)}, "unit of depth", "millimetres"),
        (lambda f: f | {"depth": f["depth"] * 100}, "unit of depth", "centimetres"),
        (lambda f: f | {"depth": f["depth"] / 10}, "unit of depth", "not metres in a room"),
        (
            lambda f: f | {"depth": np.where(f["depth"] > 0, 3 / np.maximum(f["depth"], 0.1), 0).astype(np.float32)},
            "sense of depth",
            "if read as inverse depth",
        ),
        (
            lambda f: f | {"depth": np.where(f["depth"] > 0, 10 - f["depth"], 0).astype(np.float32)},
            "sense of depth",
            "if read as depth subtracted from its greatest value",
        ),
        (
            lambda f: (
                without(f, "normals")
                | {"depth": np.where(f["depth"] > 0, 3 / np.maximum(f["depth"], 0.1), 0).astype(np.float32)}
            ),
            "sense of depth",
            "nearer at the bottom than in the middle in",
        ),
        (shifted(-1), "class ids", "one higher"),
        (shifted(1), "class ids", "one lower"),
        (lambda f: shifted(-1)(without(f, "normals")), "class ids", "one higher"),
        (lambda f: f | {"segmentation": f["segmentation"].T.copy()}, "width and height", "semseg is .128, 96.*swapped"),
        (lambda f: f | {"depth": f["depth"].T.copy()}, "width and height", "depth is .128, 96.*swapped"),
        (lambda f: f | {"normals": f["normals"][:50]}, "width and height", "normals is .50, 128. for an image"),
        (lambda f: f | {"normals": f["normals"] * 2}, "length of normals", "a normal of length 2"),
        (lambda f: without(turned("left-up-ahead")(f), "depth"), "frame of normals", "faces the viewer"),
        (lambda f: without(turned("right-up-back")(f), "depth"), "frame of normals", "channel 0 points right"),
        (lambda f: f | {"normals": f["normals"][:, ::-1].copy()}, "depth and normals", "do not belong together"),
        (lambda f: without(turned("left-down-back")(f), "depth"), "frame of normals", "channel 1 points down"),
    ],
)
def test_a_broken_convention_is_found(tmp_path, change, convention, message):
    rooms_as_nyud(tmp_path, images=6, change=change)
    found = findings(tmp_path)
    assert found[convention].verdict == "wrong", found
    assert re.search(message, found[convention].detail) and found[convention].remedy
    others = {name for name, finding in found.items() if finding.verdict == "wrong"} - {convention}
    assert not others, found


def put(value, pixels):
    """Sets the first pixels of the depth of each image."""

    def change(fields):
        depth = fields["depth"].copy()
        depth.flat[:pixels] = value
        return fields | {"depth": depth}

    return change


@pytest.mark.parametrize(
    ("value", "pixels", "verdict", "message"),
    [
        (
            65.535,
            3,
            "wrong",
            r"65\.535 in 12 pixels \(0\.\d%\) of 4 of 4 images: 65535, the greatest number of 16 bits",
        ),
        (6553.5, 3, "wrong", r"6553\.5 in 12 pixels"),
        (
            20.0,
            500,
            "undecided",
            r"20 in 2000 pixels \(\d\.\d%\) of 4 of 4 images: a limit of the sensor, or its sign for",
        ),
        (20.0, 3, None, ""),
    ],
)
def test_pixels_at_the_greatest_number_are_counted_and_named(tmp_path, value, pixels, verdict, message):
    rooms_as_nyud(tmp_path, images=5, change=put(value, pixels))
    found = findings(tmp_path, images=5).get("depth without a value")
    assert (found and found.verdict) == verdict
    if found:
        assert re.match(message, found.detail) and found.remedy == "store 0 where nothing was measured"


def test_a_copy_that_is_turned_as_a_whole_is_found(tmp_path):
    names = ("images", "segmentation", "depth", "normals", "edge")
    rooms_as_nyud(tmp_path, 2, (425, 560), lambda f: {name: f[name].swapaxes(0, 1).copy() for name in names})
    found = findings(tmp_path, Published(), images=2)["width and height"]
    assert found.verdict == "wrong" and "images are (560, 425), and this layout has (425, 560): swapped" in found.detail
    others = {name: finding for name, finding in findings(tmp_path, Published(), images=2).items() if finding != found}
    assert not any(finding.remedy for finding in others.values())


def test_normals_without_depth_are_right_only_where_every_axis_shows(healthy, tmp_path):
    shutil.copytree(healthy, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/depth")
    assert findings(tmp_path / "data")["frame of normals"].verdict == "right"
    for path in (tmp_path / "data/normals").iterdir():
        normals = np.load(path)
        normals[..., 0] = np.abs(normals[..., 0])  # as if walls were seen on one side only
        np.save(path, normals)
    assert findings(tmp_path / "data")["frame of normals"].verdict == "undecided"


def test_what_pictures_do_not_tell_is_undecided(tmp_path):
    rng = np.random.default_rng(0)

    def noise(fields):
        return fields | {
            "segmentation": blocks(rng, (96, 128), [3, 9]),
            "depth": rng.uniform(1, 5, (96, 128)).astype(np.float32),
        }

    rooms_as_nyud(tmp_path, images=3, change=noise)
    found = findings(tmp_path)
    assert {found[name].verdict for name in ("class ids", "sense of depth", "frame of normals")} == {"undecided"}


def test_backgrounds_tell_ids_off_by_one(tmp_path):
    pascal_mt(tmp_path)
    benchmark = BENCHMARKS["pascal_context"]()
    for number, name in enumerate(("2008_000002", "2008_000003", "2008_000007")):
        size = SIZE if number != 1 else SIZE[::-1]
        label = np.zeros(size, np.uint8)
        label[5:20, 5:20] = 3 + number
        save(tmp_path / f"semseg/VOC12/{name}.png", label)
    assert findings(tmp_path, benchmark)["class ids"].verdict == "right"
    for file in (tmp_path / "semseg/VOC12").iterdir():
        save(file, np.array(Image.open(file)) + np.uint8(1))
    found = findings(tmp_path, benchmark)["class ids"]
    assert found.verdict == "wrong" and "one lower" in found.detail


def test_inverse_depth_of_a_plane_gives_its_normal():
    rows, columns, focal = 60, 80, 70.0
    x = np.arange(columns) - (columns - 1) / 2
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    for toward in ([0.0, 0.0, 1.0], [0.5, 0.2, 0.8], [-0.3, 0.6, 0.7]):
        normal = np.array(toward) / np.linalg.norm(toward)  # left, up, back
        inverse = (normal[0] * x / focal + normal[1] * y / focal + normal[2]) / 3  # of a plane three metres away
        derived, known = evidence.derived_normals(inverse, focal)
        assert known.any()
        assert np.abs(derived[:, known] - normal[:, None]).max() < 0.01


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images here")
def test_real_copies_keep_their_conventions():
    assert {finding.verdict for finding in findings(REAL / "NYUD_MT").values()} == {"right", "undecided"}
    assert findings(REAL / "NYUD_MT")["frame of normals"].verdict == "right"
    pascal = findings(REAL / "PASCAL_MT", BENCHMARKS["pascal_context"]())
    assert {finding.verdict for finding in pascal.values()} == {"right"}
    report = verify(NYUD(), REAL / "NYUD_MT", quiet, ("semseg", "depth", "normals"))
    assert len(report.problems) == 3 and "no image has a valid pixel for semseg" in report.problems[-1]
