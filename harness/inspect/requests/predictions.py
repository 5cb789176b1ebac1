"""Which predictions can be made: of images that are there, into files of their own, and of places in a test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtlbench.results.records.record import Record

ENDINGS = ("png", "pdf", "npz")  # of what is written for an image


def require_images(images: Sequence[Path], out: Path) -> None:
    """Raise FileNotFoundError for images that are not there, and the ValueError of `require_own_places`."""
    require_own_places(images, out)
    if gone := [str(path) for path in images if not path.exists()]:
        raise FileNotFoundError(f"{', '.join(gone)}: No such file or directory; nothing was predicted")


def require_own_places(images: Sequence[Path], out: Path) -> None:
    """Raise ValueError where predictions would be written over an image that is predicted, or over each other."""
    given = {path.resolve(): path for path in images}
    named: dict[str, Path] = {}
    for path in images:
        for file in (out / f"{path.stem}.{ending}" for ending in ENDINGS):
            if file.resolve() in given:
                raise ValueError(
                    f"{file}: its predictions would be written over this image; give another folder by --out"
                )
        if path.stem in named:
            raise ValueError(f"{named[path.stem]} and {path} would both become {path.stem}.png; predict them apart")
        named[path.stem] = path


def require_places(benchmark: str, places: Sequence[int], images: int) -> None:
    """Raise ValueError for a place that the test split of a benchmark with so many `images` lacks."""
    if missing := [place for place in places if not 0 <= place < images]:
        raise ValueError(f"--test {missing[0]}: the test split of {benchmark} has the images 0 to {images - 1}")


def require_places_of(record: Record, places: Sequence[int]) -> None:
    """The same, by the number of test images that a cell was scored on. Nothing where its record does not say it."""
    match record.provenance.get("data"), record.cell:
        case {"images": [_, int(images)]}, {"benchmark": {"name": str(name)}, **rest} if not rest.get("trial"):
            require_places(name, places, images)
