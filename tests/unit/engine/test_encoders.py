from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tessera.recipe import Encode
from tessera_engine.encoders import encoder
from tessera_engine.metadata import Tags
from tessera_engine.picture import Band, Picture

Scene = Callable[..., NDArray[np.uint8]]
OpenFile = Callable[[bytes], Image.Image]
NOTHING = Tags()
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def picture_of(samples: NDArray[np.uint8]) -> Picture:
    if samples.shape[2] % 2:
        return Picture(samples)
    return Picture(np.ascontiguousarray(samples[:, :, :-1]), np.ascontiguousarray(samples[:, :, -1]))


def encoded(picture: Picture, options: Encode, rows: int, tags: Tags = NOTHING) -> bytes:
    sink = BytesIO()
    writer = encoder(sink, picture, options, tags)
    for top in range(0, picture.height, rows):
        part = slice(top, top + rows)
        writer.write(Band(picture.pixels[part], None if picture.alpha is None else picture.alpha[part]))
    writer.finish()
    return sink.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 700),
    channels=st.sampled_from([1, 3]),
    quality=st.integers(1, 100),
    rows=st.integers(1, 400),
)
def test_a_jpeg_of_strips_is_the_jpeg_of_the_whole(
    width: int, height: int, channels: int, quality: int, rows: int
) -> None:
    samples = np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    samples[: height // 2] //= 4
    data = encoded(Picture(samples), Encode(format="jpeg", quality=quality), rows)
    usual = BytesIO()
    Image.fromarray(samples.squeeze(2) if channels == 1 else samples).save(
        usual, "jpeg", quality=quality, subsampling="4:2:0"
    )
    strips, whole = Image.open(BytesIO(data)), Image.open(usual)
    assert strips.mode == whole.mode == MODES[channels] and strips.size == (width, height)
    assert np.array_equal(np.asarray(strips), np.asarray(whole))


def test_a_jpeg_as_wide_as_can_be_with_many_restarts(open_file: OpenFile) -> None:
    pixels = np.zeros((300, 65_500, 3), np.uint8)
    pixels[:, ::500] = 255
    assert open_file(encoded(Picture(pixels), Encode(format="jpeg"), 33)).size == (65_500, 300)
    tall = np.random.default_rng(1).integers(0, 256, (2_000, 9, 1), dtype=np.uint8)
    image = open_file(encoded(Picture(tall), Encode(format="jpeg", quality=100), 2_000))
    assert np.abs(np.asarray(image).astype(int) - tall[:, :, 0]).max() <= 3


@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 37, 500])
def test_bands_are_written_as_the_whole(
    kind: Any, channels: int, rows: int, make_scene: Scene, open_file: OpenFile
) -> None:
    samples = make_scene(50, 150, channels)
    picture = picture_of(samples)
    data = encoded(picture, Encode(format=kind), rows)
    assert data == encoded(picture, Encode(format=kind), 150)
    image = open_file(data)
    if kind == "png":
        assert image.mode == MODES[channels]
        assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)
    else:
        assert image.mode == ("RGB" if channels % 2 else "RGBA")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_exif_is_written_once(kind: Any, make_scene: Scene, open_file: OpenFile) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "A. Author of one name"
    data = encoded(Picture(make_scene(40, 400)), Encode(format=kind), 16, Tags(exif=exif.tobytes()))
    assert open_file(data).getexif()[ExifTags.Base.Copyright] == "A. Author of one name"
    assert data.count(b"A. Author of one name") == 1


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_missing_rows_are_a_fault(kind: Any, make_scene: Scene) -> None:
    picture = Picture(make_scene(8, 20))
    writer = encoder(BytesIO(), picture, Encode(format=kind), NOTHING)
    writer.write(Band(picture.pixels[:19]))
    with pytest.raises(ValueError, match="1 rows are missing"):
        writer.finish()
    writer.abandon()
