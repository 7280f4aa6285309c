from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine.picture import Picture, bleed, enlarge_alpha

Scene = Callable[..., NDArray[np.uint8]]


def test_bleeding_replaces_only_what_is_invisible(make_scene: Scene) -> None:
    pixels = make_scene(33, 21)
    alpha = np.zeros((21, 33), np.uint8)
    alpha[5:12, 8:20] = 200
    pixels[alpha == 0] = 0
    filled = bleed(pixels, alpha)
    seen = pixels[alpha > 0]
    assert np.array_equal(filled[alpha > 0], seen)
    assert filled[alpha == 0].min() >= seen.min() and filled[alpha == 0].max() <= seen.max()


def test_bleeding_takes_the_colour_beside() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 0], pixels[:, 15] = (200, 10, 10), (10, 10, 200)
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, [0, 15]] = 255
    filled = bleed(pixels, alpha)
    assert filled[8, 1].tolist() == [200, 10, 10] and filled[8, 14].tolist() == [10, 10, 200]


@pytest.mark.parametrize("level", [0, 255])
def test_bleeding_has_nothing_to_do(level: int, make_scene: Scene) -> None:
    pixels = make_scene(5, 3)
    assert bleed(pixels, np.full((3, 5), level, np.uint8)) is pixels


def test_alpha_stays_within_bounds() -> None:
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    enlarged = enlarge_alpha(alpha, 4)
    assert enlarged.shape == (32, 32)
    assert enlarged[16, 2] == 0 and enlarged[16, 29] == 255


def test_flattening_strip_by_strip(make_scene: Scene) -> None:
    pixels, alpha = make_scene(3, 700), make_scene(3, 700, 1)[:, :, 0]
    share = alpha[:, :, None] / 255
    wanted = pixels * share + 255 * (1 - share)
    flat = Picture(pixels, alpha).flattened()
    assert flat.alpha is None
    assert np.abs(flat.pixels - wanted).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((640, 320), (320, 160)), ((300, 100), (300, 100)), ((3000, 1), (320, 1)), ((7, 641), (3, 320))],
)
def test_fitting_into_a_square(size: tuple[int, int], fitted: tuple[int, int], make_scene: Scene) -> None:
    small = Picture(make_scene(*size)).fitted(320)
    assert (small.width, small.height) == fitted


def test_fitting_keeps_alpha(make_scene: Scene) -> None:
    small = Picture(make_scene(64, 64), make_scene(64, 64, 1)[:, :, 0]).fitted(16)
    assert small.alpha is not None and small.alpha.shape == (16, 16)
