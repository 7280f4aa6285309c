from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera_engine.picture import AlphaRows, Band, bleed, flattened

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
    enlarged = AlphaRows(alpha, 4).read(0, 32)
    assert enlarged.shape == (32, 32)
    assert enlarged[16, 2] == 0 and enlarged[16, 29] == 255


def test_flattening_strip_by_strip(make_scene: Scene) -> None:
    pixels, alpha = make_scene(3, 700), make_scene(3, 700, 1)[:, :, 0]
    share = alpha[:, :, None] / 255
    wanted = pixels * share + 255 * (1 - share)
    flat = flattened(Band(pixels, alpha))
    assert np.abs(flat - wanted).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_alpha_row_by_row_is_alpha_as_a_whole(scale: int, make_scene: Scene) -> None:
    alpha = make_scene(23, 31, 1)[:, :, 0]
    across = Image.fromarray(alpha).resize((23 * scale, 31), Image.Resampling.LANCZOS)
    whole = np.asarray(across.resize((23 * scale, 31 * scale), Image.Resampling.LANCZOS))
    rows = AlphaRows(alpha, scale)
    parts = [rows.read(top, min(7 * scale, 31 * scale - top)) for top in range(0, 31 * scale, 7 * scale)]
    assert np.array_equal(np.concatenate(parts), whole)
