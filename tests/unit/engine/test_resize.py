from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera_engine import models
from tessera_engine.enlargement import Enlargement
from tessera_engine.picture import Band, Picture
from tessera_engine.resize import Resampled

Scene = Callable[..., NDArray[np.uint8]]


def picture_of(samples: NDArray[np.uint8]) -> Picture:
    even = samples.shape[2] % 2 == 0
    return Picture(samples[:, :, :-1], samples[:, :, -1]) if even else Picture(samples)


def resized(picture: Picture, width: int, height: int) -> NDArray[np.int_]:
    """By Pillow, in one piece: across, then down, as it does by itself where the picture is not very tall."""
    samples = Band(picture.pixels, picture.alpha).samples()
    image = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    across = image.resize((width, image.height), Image.Resampling.LANCZOS)
    both = image.resize((width, height), Image.Resampling.LANCZOS)
    if image.mode in ("L", "RGB") and image.height > 100 * image.width:
        both = across.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(both).reshape(height, width, samples.shape[2]).astype(int)


def samples_of(picture: Picture) -> NDArray[np.int_]:
    return Band(picture.pixels, picture.alpha).samples().astype(int)


def weighed(samples: NDArray[np.int_]) -> NDArray[np.float64]:
    """Colours times alpha: what is rounded, before it is divided by an alpha that may be small."""
    return samples[:, :, :3] * samples[:, :, 3:] / 255 if samples.shape[2] == 4 else samples.astype(float)


@dataclass(frozen=True)
class InBands(Picture):
    """Portions of `rows` rows."""

    rows: int = 256

    def bands(self) -> Iterator[Band]:
        for top in range(0, self.height, self.rows):
            part = slice(top, top + self.rows)
            yield Band(self.pixels[part], None if self.alpha is None else self.alpha[part])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (70, 1), (33, 64), (97, 131)])
def test_three_times_is_the_whole_fourfold_result_brought_down(
    channels: int, width: int, height: int, make_scene: Scene
) -> None:
    source = picture_of(make_scene(width, height, channels))
    network = models.network(models.DEFAULT.passes(4)[0])
    fourfold = Enlargement(network, source.pixels, source.alpha, b"", 32, lambda _: None)
    threefold = Resampled(fourfold, width * 3, height * 3)
    wanted = resized(fourfold.whole(), width * 3, height * 3)
    assert np.abs(samples_of(threefold.whole()) - wanted).max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("rows", [1, 13, 1000])
@pytest.mark.parametrize("size", [(45, 60), (44, 59), (200, 263), (61, 81), (7, 9)])
def test_from_bands_as_from_the_whole(channels: int, rows: int, size: tuple[int, int], make_scene: Scene) -> None:
    source = picture_of(make_scene(60, 80, channels))
    lazy = Resampled(InBands(source.pixels, source.alpha, b"exif", rows), *size)
    bands = list(lazy.bands())
    assert sum(band.pixels.shape[0] for band in bands) == lazy.height == size[1]
    got = np.concatenate([band.samples() for band in bands]).astype(int)
    wanted = resized(source, *size)
    if size == (45, 60):
        assert np.array_equal(got, wanted)
    assert np.abs(weighed(got) - weighed(wanted)).max() <= (2 if channels == 4 else 1)
    assert (lazy.channels, lazy.has_alpha, lazy.exif) == (source.channels, source.has_alpha, b"exif")


def test_only_the_rows_that_the_kernel_reads_are_waited_for(make_scene: Scene) -> None:
    given: list[int] = []

    @dataclass(frozen=True)
    class Telling(InBands):
        def bands(self) -> Iterator[Band]:
            for band in super().bands():
                given.append(band.pixels.shape[0])
                yield band

    made = 0
    for band in Resampled(Telling(make_scene(8, 400), rows=20), 6, 300).bands():
        made += band.pixels.shape[0]
        assert made >= 300 or made >= sum(given) * 3 / 4 - 5


def test_transparent_pixels_weigh_nothing() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, :20] = (200, 40, 90)
    alpha = np.zeros((40, 40), np.uint8)
    alpha[:, :20] = 255
    small = Resampled(Picture(pixels, alpha), 30, 30).whole()
    assert small.alpha is not None
    assert np.abs(small.pixels[small.alpha > 128].astype(int) - (200, 40, 90)).max() <= 2
