"""An augmentation says what a training protocol may draw; `draw` makes one draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mtlbench.benchmarks.transforms.colour import between, draw_colour
from mtlbench.benchmarks.transforms.geometry import (
    Borders,
    Draw,
    NormalsZoom,
    Placement,
    Resampling,
    Size,
    largest_share,
)


@dataclass(frozen=True)
class Crop:
    """A random window of the network's size, cut from the zoomed image. The image is not resized to fit the window.

    Up to `tries` windows are drawn until no class covers `largest_share` of the labelled pixels (ATRC's rule). If no
    window qualifies, the last one is taken. The labels looked at are those of the benchmark's first task with several
    classes, if the copy of the data has them, whatever tasks are trained. So a single-task baseline sees the same
    windows as the network of all tasks. If the zoomed image is smaller than the window, it is centred in the window.
    """

    largest_share: float = 0.75
    tries: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.largest_share <= 1:
            raise ValueError(f"largest_share is {self.largest_share}; it is a share of pixels in (0, 1]")
        if self.tries < 1:
            raise ValueError(f"tries is {self.tries}; at least one window has to be drawn")


@dataclass(frozen=True)
class Augmentation:
    """What a training protocol may draw; the identity by default.

    crop: None resizes the whole image to the network's size, without keeping its aspect. With a `Crop` the network sees
    a window of its size, at the scale of the zoomed image.

    borders: what lies outside the image. With "ignore" it has ImageNet's mean colour and no label. With "background" it
    is black and labelled 0, as the published multi-task loaders fill it, so that class 0 is trained there.

    resampling: of images, "bilinear" or "cubic"; see geometry.py. The published multi-task loaders use cubic weights.

    normals_zoom: a zoom s divides depth by s. "published" leaves the normals as they are, which contradicts the zoomed
    depth: both are 10 degrees apart at s = 1.5. "consistent" turns the normals with the surface: n_z is multiplied by
    s.
    """

    flip: float = 0.0  # probability of a horizontal flip
    zooms: tuple[float, ...] = (1.0,)  # one of these, with equal probability
    zoom_range: tuple[float, float] | None = None  # or uniform between these two
    degrees: float = 0.0  # rotation uniform in [-degrees, degrees]
    crop: Crop | None = None
    photometric: bool = False  # brightness, contrast, saturation and hue, each with probability 1/2
    borders: Borders = "ignore"
    normals_zoom: NormalsZoom = "published"
    resampling: Resampling = "bilinear"

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is {self.flip}; it is a probability in [0, 1]")
        if not self.zooms or min(self.zooms) <= 0:
            raise ValueError(f"zooms is {self.zooms}; it lists one or more factors above 0")
        if self.zoom_range is not None and not 0 < self.zoom_range[0] <= self.zoom_range[1]:
            raise ValueError(f"zoom_range is {self.zoom_range}; it is (least, greatest) with 0 < least <= greatest")
        if self.zoom_range is not None and self.zooms != (1.0,):
            raise ValueError(f"zooms {self.zooms} and zoom_range {self.zoom_range} exclude each other; give one")
        if self.degrees < 0:
            raise ValueError(f"degrees is {self.degrees}; it is the greatest angle to either side, 0 or more")

    @property
    def placement(self) -> Placement:
        """How evaluation has to bring an image to the network's size so that it matches this training."""
        return "stretch" if self.crop is None else "pad"


def draw(augmentation: Augmentation, generator: np.random.Generator, size: Size, balance: Tensor | None = None) -> Draw:
    """One draw for one sample; nothing but `generator` is random.

    size: rows and columns of the output. balance [H, W]: the label map whose classes a `Crop` looks at; with None it
    takes the first window. How many doubles the generator advances depends on the augmentation alone.
    """
    flip, zoom, angle = generator.random(3).tolist()  # raw doubles: distribution methods may change between releases
    if augmentation.zoom_range is None:
        zoom = augmentation.zooms[int(zoom * len(augmentation.zooms))]
    else:
        zoom = between(*augmentation.zoom_range, zoom)
    drawn = Draw(
        flip=flip < augmentation.flip,
        zoom=zoom,
        degrees=between(-augmentation.degrees, augmentation.degrees, angle),
        borders=augmentation.borders,
        normals_zoom=augmentation.normals_zoom,
        resampling=augmentation.resampling,
    )
    if augmentation.crop is not None:
        windows = generator.random((augmentation.crop.tries, 2)).tolist()
        for window in windows:
            drawn = drawn._replace(window=tuple(window))
            if balance is None or largest_share(balance, drawn, size) < augmentation.crop.largest_share:
                break
    if augmentation.photometric:
        drawn = drawn._replace(colour=draw_colour(*generator.random((4, 2)).tolist()))
    return drawn
