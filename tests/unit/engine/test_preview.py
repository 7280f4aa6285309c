from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera_engine.picture import Band, Picture
from tessera_engine.preview import Preview

Scene = Callable[..., NDArray[np.uint8]]


def preview(picture: Picture, side: int, rows: int) -> Picture:
    small = Preview(picture, side)
    for top in range(0, picture.height, rows):
        part = slice(top, top + rows)
        small.write(Band(picture.pixels[part], None if picture.alpha is None else picture.alpha[part]))
    return small.finish()


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((640, 320), (320, 160)), ((300, 100), (300, 100)), ((3000, 1), (320, 1)), ((7, 641), (3, 320)), ((1, 1), (1, 1))],
)
def test_fitting_into_a_square(size: tuple[int, int], wanted: tuple[int, int], make_scene: Scene) -> None:
    small = preview(Picture(make_scene(*size)), 320, 50)
    assert (small.width, small.height) == wanted


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize(("width", "height", "side"), [(301, 407, 16), (90, 20, 64), (33, 700, 40), (5, 5, 16)])
@pytest.mark.parametrize("rows", [1, 13, 1000])
def test_from_bands_as_from_the_whole(
    mode: str, width: int, height: int, side: int, rows: int, make_scene: Scene
) -> None:
    samples = make_scene(width, height, len(mode))
    image = Image.fromarray(samples[:, :, 0] if mode == "L" else samples)
    colours, alpha = (samples[:, :, :-1], samples[:, :, -1]) if mode.endswith("A") else (samples, None)
    small = preview(Picture(colours, alpha), side, rows)
    whole = image.resize((small.width, small.height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert image.mode == mode
    assert np.array_equal(Band(small.pixels, small.alpha).samples().squeeze(), np.asarray(whole).squeeze())
