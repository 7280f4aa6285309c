from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine import models, tiling
from tessera_engine.enlargement import Enlargement
from tessera_engine.picture import Band

Scene = Callable[..., NDArray[np.uint8]]


def enlargement(samples: NDArray[np.uint8], scale: int, tile: int, told: list[int]) -> Enlargement:
    network = models.network(models.DEFAULT.passes(scale)[0])
    even = samples.shape[2] % 2 == 0
    colours, alpha = (samples[:, :, :-1], samples[:, :, -1]) if even else (samples, None)
    return Enlargement(network, colours, alpha, tile, told.append)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 70), (70, 1), (33, 64), (97, 131)])
@pytest.mark.parametrize("tile", [32, 50])
@pytest.mark.parametrize("memory", [1, tiling.BAND_BYTES])
def test_bands_are_the_whole_to_the_last_bit(
    channels: int,
    scale: int,
    width: int,
    height: int,
    tile: int,
    memory: int,
    make_scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples, told = make_scene(width, height, channels), list[int]()
    whole = enlargement(samples, scale, 10_000, told).whole()
    monkeypatch.setattr(tiling, "BAND_BYTES", memory)
    monkeypatch.setattr(tiling, "LOW", 9)
    lazy = enlargement(samples, scale, tile, told)
    bands = list(lazy.bands())
    assert (lazy.width, lazy.height) == (width * scale, height * scale)
    assert sum(band.pixels.shape[0] for band in bands) == height * scale
    joined = np.concatenate([band.samples() for band in bands])
    assert np.array_equal(joined, Band(whole.pixels, whole.alpha).samples())
    assert sum(told) >= 2 * width * height


def test_nothing_is_computed_before_it_is_asked_for(make_scene: Scene) -> None:
    told: list[int] = []
    bands = enlargement(make_scene(40, 90), 2, 30, told).bands()
    assert told == []
    next(bands)
    assert sum(told) == 40 * 30


def test_grey_is_shown_as_colours_and_comes_back_as_grey(make_scene: Scene) -> None:
    grey = make_scene(40, 30, 1)
    network = models.network(models.DEFAULT.passes(4)[0])
    colours = tiling.enlarge(network, grey.repeat(3, axis=2), tile=64, done=lambda _: None).astype(int)
    one = tiling.enlarge(network, grey, tile=64, done=lambda _: None)
    assert one.shape == (120, 160, 1)
    assert np.abs(colours.mean(axis=2, keepdims=True) - one).max() <= 0.5


@pytest.mark.parametrize("scale", [2, 4])
def test_a_wide_picture_has_low_bands(scale: int) -> None:
    for width in (1, 1_000, 12_000, 65_000):
        wide, high = tiling.shape(width, scale, tiling.TILE)
        assert high >= tiling.LOW
        assert high == tiling.LOW or high * width * 3 * scale**2 <= tiling.BAND_BYTES
        assert wide * high <= tiling.TILE**2
