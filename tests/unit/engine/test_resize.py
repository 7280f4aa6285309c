from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera_engine.derived import Derived
from tessera_engine.picture import Band, Picture, image_of
from tessera_engine.resize import Cropped, Padded, Resampled

Scene = Callable[..., NDArray[np.uint8]]


def quiet(_: int) -> None:
    pass


@dataclass(frozen=True)
class Portions(Derived):
    """The source in bands of uneven heights, which a network may give too."""

    def bands(self) -> Iterator[Band]:
        whole, top, rows = self.source.whole(), 0, 1
        while top < self.height:
            part = slice(top, top + rows)
            yield Band(whole.pixels[part], None if whole.alpha is None else whole.alpha[part])
            top, rows = part.stop, rows % 97 + 13


def picture(samples: NDArray[np.uint8]) -> Picture:
    channels = samples.shape[2]
    return Picture(samples, None) if channels % 2 else Picture(samples[:, :, :-1], samples[:, :, -1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((100, 77), (0, 0, 200, 630)),
        ((333, 900), (0, 0, 200, 630)),  # larger
        ((200, 100), (0, 0, 200, 630)),  # down only
        ((3, 2), (0, 0, 200, 630)),
        ((150, 150), (20.25, 40.7, 180.5, 600.3)),
        ((100, 31), (50, 600, 150, 631 - 1)),
    ],
)
def test_bands_are_those_of_pillows_whole(
    channels: int, size: tuple[int, int], box: tuple[float, float, float, float], make_scene: Scene
) -> None:
    samples = make_scene(200, 630, channels)
    if channels % 2 == 0:
        samples[:, :, -1] = samples[:, :, -1].clip(60, 255)  # where colours are divided by little, levels are coarse
    source = Portions(picture(samples), quiet)
    result = Resampled(source, quiet, size, box).whole()
    whole, image = Band(result.pixels, result.alpha).samples().astype(int).squeeze(), image_of(samples)
    pillow = image.resize(size, Image.Resampling.LANCZOS, box)  # which may go down first; both round to bytes
    assert np.abs(whole - np.asarray(pillow)).max() <= (1 if channels % 2 else 10)
    image = image.convert({"LA": "La", "RGBA": "RGBa"}.get(image.mode, image.mode))
    image = image.resize((size[0], 630), Image.Resampling.LANCZOS, (box[0], 0, box[2], 630))
    image = image.resize(size, Image.Resampling.LANCZOS, (0, box[1], size[0], box[3]))
    in_order = np.asarray(image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)))
    assert (whole != in_order).mean() < 0.001


def test_a_box_filter_averages(make_scene: Scene) -> None:
    pixels = make_scene(120, 600)
    result = Resampled(Picture(pixels), quiet, (40, 200), (0, 0, 120, 600), Image.Resampling.BOX).whole()
    expected = np.asarray(Image.fromarray(pixels).resize((40, 200), Image.Resampling.BOX))
    assert np.abs(result.pixels.astype(int) - expected).max() <= 1


def test_transparent_pixels_weigh_nothing() -> None:
    samples = np.zeros((64, 64, 4), np.uint8)
    samples[:, 30:] = (200, 40, 40, 255)
    result = Resampled(picture(samples), quiet, (21, 21), (0, 0, 64, 64)).whole()
    assert result.alpha is not None
    assert np.abs(result.pixels[result.alpha > 16].astype(int) - [200, 40, 40]).max() <= 8


def test_only_the_rows_at_hand_are_kept(make_scene: Scene) -> None:
    """A band comes out as soon as the rows that it is made of are there."""
    seen: list[int] = []

    @dataclass(frozen=True)
    class Watched(Portions):
        def bands(self) -> Iterator[Band]:
            for band in super().bands():
                seen.append(band.pixels.shape[0])
                yield band

    source = Watched(Picture(make_scene(20, 2000)), quiet)
    made = 0
    for band in Resampled(source, quiet, (10, 1000), (0, 0, 20, 2000)).bands():
        made += band.pixels.shape[0]
        assert sum(seen) <= 2 * made + 2 * 120
    assert made == 1000


def test_a_crop_is_its_pixels(make_scene: Scene) -> None:
    whole = picture(make_scene(90, 700, 4))
    part = Cropped(Portions(whole, quiet), quiet, 3, 200, 80, 650)
    assert (part.width, part.height, part.has_alpha) == (77, 450, True)
    result = part.whole()
    assert np.array_equal(result.pixels, whole.pixels[200:650, 3:80])
    assert whole.alpha is not None and result.alpha is not None
    assert np.array_equal(result.alpha, whole.alpha[200:650, 3:80])


@pytest.mark.parametrize(
    ("channels", "colour", "expected"),
    [
        (1, (9, 9, 9, 255), (1, False)),
        (1, (9, 8, 9, 255), (3, False)),
        (3, (9, 8, 9, 100), (3, True)),
        (4, (9, 8, 9, 255), (3, True)),
    ],
)
def test_padding(
    channels: int, colour: tuple[int, int, int, int], expected: tuple[int, bool], make_scene: Scene
) -> None:
    whole = picture(make_scene(30, 300, channels))
    padded = Padded(whole, quiet, (50, 400), 7, 60, colour)
    assert (padded.channels, padded.has_alpha) == expected
    result = padded.whole()
    assert (result.pixels[60:360, 7:37] == whole.pixels).all()
    assert (result.pixels[:60] == colour[: padded.channels]).all()
    assert (result.pixels[60:360, :7] == colour[: padded.channels]).all()
    if result.alpha is not None:
        assert (result.alpha[360:] == colour[3]).all()
        assert (result.alpha[60:360, 7:37] == (255 if whole.alpha is None else whole.alpha)).all()
