from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw
from tessera_engine import deflate
from tessera_engine.png import SIGNATURE, Extras, PngWriter, Samples, chunk

Scene = Callable[..., NDArray[np.uint8]]
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def written(samples: Samples, portion: int = 1_000, extras: Extras | None = None) -> bytes:
    target = BytesIO()
    height, width, channels = samples.shape
    writer = PngWriter(target, width, height, channels, samples.dtype.itemsize * 8, extras)
    for top in range(0, height, portion):
        writer.write(samples[top : top + portion])
    writer.finish()
    return target.getvalue()


def unfiltered(data: bytes, step: int) -> NDArray[Any]:
    """The rows (h, bytes), decoded by the specification (9.2 to 9.4), byte by byte."""
    place, stream, height = 8, b"", 0
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, place + 8 + size)[0]
        height = struct.unpack_from(">I", body, 4)[0] if kind == b"IHDR" else height
        stream += body if kind == b"IDAT" else b""
        place += 12 + size
    rows = np.frombuffer(zlib.decompress(stream), np.uint8).reshape(height, -1)
    above = [0] * (rows.shape[1] - 1 + step)
    result = []
    for kind, *filtered in rows.tolist():
        row = [0] * step
        for place, value in enumerate(filtered):
            left, up, corner = row[place], above[place + step], above[place]
            row.append((value + predicted(kind, left, up, corner)) % 256)
        result.append(row[step:])
        above = row
    return np.array(result, np.uint8)


def predicted(kind: int, left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    nearest = min((abs(estimate - value), order) for order, value in enumerate((left, up, corner)))[1]
    return (0, left, up, (left + up) // 2, (left, up, corner)[nearest])[kind]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    channels=st.integers(1, 4),
    deep=st.booleans(),
    portion=st.integers(1, 50),
    strip=st.integers(1, 900),
    kind=st.sampled_from(["noise", "ramp", "flat", "steps"]),
)
def test_what_is_written_is_what_is_read(
    width: int, height: int, channels: int, deep: bool, portion: int, strip: int, kind: str
) -> None:
    depth = np.uint16 if deep else np.uint8
    top = np.iinfo(depth).max
    across = np.arange(width)[None, :, None] + np.arange(height)[:, None, None] * np.arange(1, channels + 1)
    samples = {
        "noise": np.random.default_rng(width).integers(0, top + 1, (height, width, channels)),
        "ramp": across * 257 % (top + 1),
        "flat": np.full((height, width, channels), top),
        "steps": across // 8 % 2 * top,
    }[kind].astype(depth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deflate, "STRIP_BYTES", strip)
        data = written(samples, portion)
    step = channels * samples.dtype.itemsize
    wanted = samples.astype(">u2").view(np.uint8) if deep else samples
    assert np.array_equal(unfiltered(data, step), wanted.reshape(height, -1))
    with Image.open(BytesIO(data)) as image:
        if not deep:
            assert image.mode == MODES[channels]
            assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)
        elif channels == 1:
            assert np.array_equal(np.asarray(image), samples[:, :, 0])
        else:
            image.load()


def test_many_strips_and_columns(make_scene: Scene) -> None:
    pixels = make_scene(3_000, 900)
    assert pixels.nbytes > 3 * deflate.STRIP_BYTES
    assert np.array_equal(np.asarray(Image.open(BytesIO(written(pixels, 77)))), pixels)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_checksums_join_as_in_zlib(first: bytes, second: bytes) -> None:
    assert deflate.joined(zlib.adler32(first), zlib.adler32(second), len(second)) == zlib.adler32(first + second)


def test_paeth_in_bytes_is_the_specifications() -> None:
    """At every order and distance of the three: the levels are close, far and at both ends of the range."""
    levels = np.array([0, 1, 2, 3, 5, 8, 90, 126, 127, 128, 129, 200, 250, 253, 254, 255], np.uint8)
    left, up, corner = (axis.ravel() for axis in np.meshgrid(levels, levels, levels))
    wanted = [predicted(deflate.PAETH, *map(int, place)) for place in zip(left, up, corner, strict=True)]
    assert deflate.paeth(left, up, corner).tolist() == wanted


@pytest.mark.parametrize("kind", deflate.FILTERS)
def test_every_filter(kind: int, make_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a strip of several blocks, with each filter for the whole of it."""
    monkeypatch.setattr(deflate, "BLOCK_BYTES", 900)
    pixels = make_scene(40, 60)
    rows = pixels.reshape(60, -1)
    first = bytes([deflate.NONE]) + rows[0].tobytes()
    whole = zlib.compress(first + deflate.filtered(rows[1:], rows[0], 3, kind).tobytes())
    data = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 60, 8, 2, 0, 0, 0)) + chunk(b"IDAT", whole)
    with Image.open(BytesIO(data + chunk(b"IEND", b""))) as image:
        assert np.array_equal(np.asarray(image), pixels)


def drawing() -> NDArray[np.uint8]:
    image = Image.new("RGB", (900, 700), (250, 250, 250))
    pen = ImageDraw.Draw(image)
    rng = np.random.default_rng(2)
    for _ in range(40):
        left, top, side, *colour = (int(value) for value in rng.integers(0, 256, 6))
        pen.ellipse((left * 3, top * 2, left * 3 + side, top * 2 + side), fill=tuple(colour))
    return np.asarray(image)


def text() -> NDArray[np.uint8]:
    image = Image.new("RGB", (900, 700), "white")
    pen = ImageDraw.Draw(image)
    for line in range(0, 700, 14):
        pen.text((4, line), " ".join(f"{(line * 37 + word * 91) % 9973}" for word in range(24)), fill=(20, 20, 20))
    return np.asarray(image)


def ramp() -> NDArray[np.uint8]:
    down, across = np.mgrid[:700, :900]
    return np.stack([across * 255 // 899, down * 255 // 699, (across + down) * 255 // 1598], -1).astype(np.uint8)


@pytest.mark.parametrize("make", [drawing, text, ramp])
def test_drawings_are_no_larger_than_pillows_quick_ones(
    make: Callable[[], NDArray[np.uint8]], make_file: Callable[..., bytes]
) -> None:
    pixels = make()
    assert len(written(pixels)) <= len(make_file(Image.fromarray(pixels), "png", compress_level=1))


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_are_about_as_small_as_pillows_default(
    channels: int, make_scene: Scene, make_file: Callable[..., bytes]
) -> None:
    pixels = make_scene(700, 500, channels)
    usual = make_file(Image.fromarray(pixels.squeeze()), "png")
    assert len(written(pixels)) <= 1.07 * len(usual)


def test_extras_are_read_by_pillow() -> None:
    exif = Image.Exif()
    exif[0x8298] = "A. Author"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    extras = Extras(icc=profile, exif=exif.tobytes(), xmp=b"<x:xmpmeta/>", dpi=(300, 150))
    image = Image.open(BytesIO(written(np.zeros((2, 3, 3), np.uint8), extras=extras)))
    image.load()
    assert image.info["icc_profile"] == profile
    assert image.getexif()[0x8298] == "A. Author"
    assert image.info["xmp"] == b"<x:xmpmeta/>"
    assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)


def test_without_a_profile_it_is_srgb() -> None:
    image = Image.open(BytesIO(written(np.zeros((2, 3, 3), np.uint8))))
    assert "srgb" in image.info and not {"icc_profile", "dpi", "exif"} & image.info.keys()


def test_rows_are_counted() -> None:
    writer = PngWriter(BytesIO(), 2, 3, 1)
    writer.write(np.zeros((2, 2, 1), np.uint8))
    with pytest.raises(ValueError, match="too many"):
        writer.write(np.zeros((2, 2, 1), np.uint8))
    with pytest.raises(ValueError, match="missing"):
        writer.finish()
    writer.abandon()
