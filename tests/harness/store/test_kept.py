"""Answers about our code are kept on this machine, and belong to the code as it is, byte for byte."""

import json

import pytest

from mtlbench.harness.store import kept, source


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never():
    raise AssertionError("asked although the answer is known")


def test_an_answer_is_found_once_for_each_state(cache):
    assert kept.remembered("first", "a", lambda: "1") == "1"
    assert kept.remembered("second", "a", lambda: "2") == "2"
    assert (kept.remembered("first", "a", never), kept.remembered("second", "a", never)) == ("1", "2")
    assert kept.remembered("first", "b", lambda: "3") == "3"
    assert kept.remembered("first", "a", lambda: "4") == "4", "an answer of a state that is gone was kept"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"state": "a"}', b'{"state": "a", "answers": {"first": 3}}']
)
def test_a_damaged_file_of_answers_costs_time_alone(cache, content):
    cache.mkdir()
    (cache / kept.ANSWERS).write_bytes(content)
    assert kept.remembered("first", "a", lambda: "1") == "1"
    assert kept.remembered("first", "a", never) == "1"


def test_a_folder_that_cannot_be_written_costs_time_alone(cache):
    cache.write_text("a file, and no folder")
    assert [kept.remembered("first", "a", lambda: "1") for _ in range(2)] == ["1", "1"]


def test_the_hash_of_the_source_is_the_same_with_and_without_what_is_kept(cache, monkeypatch):
    def hashes():
        for function in (source.source_hash, source.decisive_files, source.reading_hash):
            function.cache_clear()
        return source.source_hash(), source.decisive_files(), source.reading_hash("mtlbench.benchmarks.nyud")

    found = hashes()
    assert set(json.loads((cache / kept.ANSWERS).read_text())["answers"]) == {
        "source", "files", "reading benchmarks/nyud.py"
    }  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(source, "hash_of", never)
        patched.setattr(source, "reached", never)
        assert hashes() == found
    cache.joinpath(kept.ANSWERS).unlink()
    assert hashes() == found
