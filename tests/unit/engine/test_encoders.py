from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tessera.recipe import Chroma, Encode, ImageFormat
from tessera_engine import encoders
from tessera_engine.encoders import encoder
from tessera_engine.metadata import Tags
from tessera_engine.picture import Band, Picture

Scene = Callable[..., NDArray[np.uint8]]
OpenFile = Callable[[bytes], Image.Image]
FORMATS = get_args(ImageFormat)
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
    chroma=st.sampled_from(get_args(Chroma)),
    progressive=st.booleans(),
    rows=st.integers(1, 400),
)
def test_a_jpeg_of_strips_is_the_jpeg_of_the_whole(
    width: int, height: int, channels: int, quality: int, chroma: Any, progressive: bool, rows: int
) -> None:
    samples = np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    samples[: height // 2] //= 4
    options = Encode(format="jpeg", quality=quality, chroma=chroma, progressive=progressive)
    data = encoded(Picture(samples), options, rows)
    usual = BytesIO()
    Image.fromarray(samples.squeeze(2) if channels == 1 else samples).save(
        usual, "jpeg", quality=quality, subsampling=chroma
    )
    strips, whole = Image.open(BytesIO(data)), Image.open(usual)
    assert bool(strips.info.get("progressive")) == progressive
    assert strips.mode == whole.mode == MODES[channels] and strips.size == (width, height)
    assert np.array_equal(np.asarray(strips), np.asarray(whole))


def test_a_jpeg_as_wide_as_can_be_with_many_restarts(open_file: OpenFile) -> None:
    pixels = np.zeros((300, 65_500, 3), np.uint8)
    pixels[:, ::500] = 255
    assert open_file(encoded(Picture(pixels), Encode(format="jpeg"), 33)).size == (65_500, 300)
    tall = np.random.default_rng(1).integers(0, 256, (2_000, 9, 1), dtype=np.uint8)
    image = open_file(encoded(Picture(tall), Encode(format="jpeg", quality=100), 2_000))
    assert np.abs(np.asarray(image).astype(int) - tall[:, :, 0]).max() <= 3


@pytest.mark.parametrize("chroma", get_args(Chroma))
def test_a_jpegs_chroma_is_in_its_frame_header(chroma: Any, make_scene: Scene) -> None:
    """T.81, B.2.2: how many samples of each component a unit has, across in the high half of the byte."""
    for progressive in (False, True):
        options = Encode(format="jpeg", chroma=chroma, progressive=progressive)
        data = encoded(Picture(make_scene(90, 70)), options, 33)
        frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
        factors = [data[frame + 11 + 3 * component] for component in range(3)]
        assert factors == [{"4:2:0": 0x22, "4:2:2": 0x21, "4:4:4": 0x11}[chroma], 0x11, 0x11]


def test_widest_at_every_chroma(open_file: OpenFile) -> None:
    """The interval between restarts has 16 bits: 65,504 units at 4:4:4."""
    pixels = np.zeros((140, 65_500, 3), np.uint8)
    pixels[64:] = 255
    image = open_file(encoded(Picture(pixels), Encode(format="jpeg", chroma="4:4:4"), 33))
    assert np.array_equal(np.asarray(image)[:, ::1000], pixels[:, ::1000])


def test_an_avifs_chroma_is_in_its_configuration(make_scene: Scene, open_file: OpenFile) -> None:
    """AV1 in ISOBMFF, 2.3.3: in the third byte of `av1C` monochrome, and halved across and down."""
    cases = {(1, "4:4:4"): 0b111, (3, "4:2:0"): 0b011, (3, "4:2:2"): 0b010, (3, "4:4:4"): 0b000}
    for (channels, chroma), wanted in cases.items():
        options = Encode.model_validate({"format": "avif", "chroma": chroma})
        data = encoded(Picture(make_scene(40, 30, channels)), options, 7)
        assert data[data.index(b"av1C") + 6] >> 2 & 0b111 == wanted
        assert open_file(data).mode == {1: "L", 3: "RGB"}[channels]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_lossless_webp(channels: int, make_scene: Scene, open_file: OpenFile) -> None:
    samples = make_scene(50, 150, channels)
    if channels % 2 == 0:
        samples[20:60, :, -1] = 0  # the colours below are kept too
    data = encoded(picture_of(samples), Encode(format="webp", lossless=True), 37)
    image = np.asarray(open_file(data))
    colours = np.broadcast_to(samples[:, :, : channels - 1 + channels % 2], (*image.shape[:2], 3))
    assert b"VP8L" in data[:40] and np.array_equal(image[:, :, :3], colours)
    assert channels % 2 or np.array_equal(image[:, :, 3], samples[:, :, -1])


@pytest.mark.parametrize("kind", ["avif", "tiff", "png", "jpeg"])
def test_options_of_other_formats_change_nothing(kind: Any, make_scene: Scene) -> None:
    picture = Picture(make_scene(50, 40))
    for name, value in (("lossless", True), ("progressive", True), ("chroma", "4:4:4")):
        meant = {"progressive": ("jpeg",), "chroma": ("jpeg", "avif"), "lossless": ("webp",)}[name]
        options = Encode.model_validate({"format": kind, name: value})
        same = encoded(picture, options, 50) == encoded(picture, Encode(format=kind), 50)
        assert same == (kind not in meant)


def test_what_is_made_in_one_piece_has_a_bound() -> None:
    whole = [Encode(format="webp"), Encode(format="avif"), Encode(format="jpeg", progressive=True)]
    assert all(encoders.most_pixels(options) for options in whole)
    for kind in ("jpeg", "png"):
        assert encoders.most_pixels(Encode.model_validate({"format": kind})) is None


@pytest.mark.parametrize("kind", ["png", "webp", "avif", "tiff"])
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
    if kind in ("png", "tiff"):
        assert image.mode == MODES[channels]
        assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)
    else:
        assert image.mode == ("RGBA" if channels % 2 == 0 else "L" if (kind, channels) == ("avif", 1) else "RGB")


@pytest.mark.parametrize("kind", FORMATS)
def test_exif_is_written_once(kind: Any, make_scene: Scene, open_file: OpenFile) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "A. Author of one name"
    data = encoded(Picture(make_scene(40, 400)), Encode(format=kind), 16, Tags(exif=exif.tobytes()))
    assert open_file(data).getexif()[ExifTags.Base.Copyright] == "A. Author of one name"
    assert data.count(b"A. Author of one name") == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_rows_are_a_fault(kind: Any, make_scene: Scene) -> None:
    picture = Picture(make_scene(8, 20))
    writer = encoder(BytesIO(), picture, Encode(format=kind), NOTHING)
    writer.write(Band(picture.pixels[:19]))
    with pytest.raises(ValueError, match="1 rows are missing"):
        writer.finish()
    writer.abandon()
