"""The commands that verify, examine and prepare a copy: their exit status and their last sentence."""

import json

import pytest

from data_copies import cli, opened, turned
from fixtures import nyud, rooms_as_nyud
from mtlbench.benchmarks.copies import cache
from mtlbench.benchmarks.nyud import NYUD

pytestmark = pytest.mark.usefixtures("any_size")


def test_verify_exits_with_1_when_something_is_wrong_and_says_so_in_json_too(tmp_path):
    nyud(tmp_path)
    result = cli("verify", "nyud", "--data", tmp_path)
    assert result.exit_code == 1
    assert "wrong: train: 2 images; the whole data set has 795" in result.stdout and "2 problems" in result.stdout
    assert "layout NYUD_MT" in result.stdout
    result = cli("verify", "nyud", "--data", tmp_path, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and len(report["problems"]) == 2
    assert report["splits"][0]["fields"][2]["name"] == "depth"


def test_doctor_exits_with_1_when_a_convention_is_wrong(tmp_path, healthy):
    result = cli("doctor", "nyud", "--data", healthy)
    assert result.exit_code == 0 and "right      frame of normals: left-up-back" in result.stdout
    rooms_as_nyud(tmp_path, images=4, change=turned("ahead-down-right"))
    result = cli("doctor", "nyud", "--data", tmp_path)
    assert result.stdout.endswith("\nimages looked at: 4\n")
    assert "read one lower or one higher, the ids would fit such places by " in result.stdout
    assert result.exit_code == 1 and "-> set the option frame=ahead-down-right" in result.stdout
    result = cli("doctor", "nyud", "--data", tmp_path, "--set", "frame=ahead-down-right", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)[-1]["verdict"] == "right"


def test_prepare_says_where_training_finds_what_it_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("MTLBENCH_CACHE", raising=False)
    root, kept = tmp_path / "data", tmp_path / "cache"
    nyud(root)
    result = cli("prepare", "nyud", "--data", root, "--cache", kept, "--scratch", tmp_path / "scratch")
    assert result.exit_code == 0
    assert "2 train, 1 test: semseg, depth, normals, edge" in result.stdout
    assert f"export MTLBENCH_CACHE={kept}" in result.stdout
    assert f"export MTLBENCH_SCRATCH={tmp_path / 'scratch'}" in result.stdout
    assert isinstance(opened(NYUD(), root, ("depth",), kept), cache.Cache)


def test_prepare_ends_with_2_and_a_sentence_when_it_cannot(tmp_path):
    root = tmp_path / "data"
    nyud(root)
    (tmp_path / "file").write_text("")
    result = cli("prepare", "nyud", "--data", root, "--cache", tmp_path / "file")
    assert result.exit_code == 2 and "the cache could not be written" in result.stderr
    (root / "depth/0001.npy").write_bytes(b"")
    result = cli("prepare", "nyud", "--data", root, "--cache", tmp_path / "cache")
    assert result.exit_code == 2 and "depth/0001.npy: not a whole .npy" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "nyud"), "benchmark nyud reads data from disk: give --data PATH"),
        (("doctor", "nyud", "--data", "/nowhere"), "--data /nowhere: no such folder"),
        (
            ("verify", "nyud", "--data", "/", "--set", "size=abc"),
            "--set size: 'abc' is no list; write one in brackets, such as [64, 96]",
        ),
        (("verify", "nyud", "--data", "/", "--set", "size=[32, x]"), "--set size.1: 'x' is no whole number"),
        (("verify", "nyud", "--data", "/", "--set", "size=[32, 33]"), "[32, 33]: rows and columns must be multiples"),
        (("prepare", "nyu"), "unknown benchmark 'nyu'; known: rooms, nyud"),
        (("verify", "nyud", "--data", "/", "--set", "layout"), "--set layout: write KEY=VALUE"),
        (("verify", "nyud", "--data", "/", "--set", "layout={"), "--set layout={: the value is not YAML: "),
        (("verify", "rooms", "--set", "train=010"), "--set train=010: 010 begins with a zero, which makes it octal"),
        (("verify", "rooms", "--set", "seed=1", "--set", "seed=2"), "--set seed=2: seed is 1 already; leave one out"),
        (("verify", "nyud", "--data", "/", "--set", "layout=mine"), "no layout 'mine'; it has NYUD_MT"),
        (
            ("verify", "nyud", "--data", "/", "--set", "colour=red"),
            "nyud has no option 'colour'; it has: layout, frame",
        ),
    ],
)
def test_wrong_use_ends_with_2_and_a_sentence(arguments, message):
    result = cli(*arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_rooms_are_made_by_prepare(tmp_path):
    options = [word for key in ("train=2", "val=1", "test=1", "size=[32, 64]") for word in ("--set", key)]
    result = cli("prepare", "rooms", "--cache", tmp_path, *options)
    assert result.exit_code == 0
    assert len(list(tmp_path.glob("rooms/rooms-32x64-*/*/index.json"))) == 3
