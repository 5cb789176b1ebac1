"""Predictions for images of one's own never cost one of them."""

from pathlib import Path

import pytest

from mtlbench.harness.inspect.predict import predict, require_own_places
from mtlbench.harness.store.store import Store


@pytest.mark.parametrize(
    ("images", "out", "expected"),
    [
        (["a.png"], ".", "a.png: its predictions would be written over this image"),
        (["a.jpg", "b.png", "a.png"], ".", "a.png: its predictions"),
        (["d/../a.png"], "d/..", "its predictions would be written over"),
        (["a.png", "d/a.png"], "p", "a.png and d/a.png would both become a.png"),
        (["a.jpg", "a.png"], "p", "a.jpg and a.png would both become a.png"),
        (["a.jpg", "a.jpg"], "p", "would both become"),
    ],
)
def test_what_would_be_written_over_an_image_or_twice_is_refused(images, out, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=expected):
        require_own_places([Path(image) for image in images], Path(out))


def test_other_places_are_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_own_places([Path("a.jpg"), Path("d/b.png")], Path("."))


def test_it_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="both become"):
        next(predict(Store(tmp_path), "no_such_cell", [Path("a.png"), Path("a.jpg")], tmp_path))
