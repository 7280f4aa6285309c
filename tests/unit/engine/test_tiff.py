from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tessera.recipe import Encode
from tessera_engine import decoding, header, imageio, tiff
from tessera_engine.encoders import encoder
from tessera_engine.metadata import Tags
from tessera_engine.picture import Band, Picture

Scene = Callable[..., NDArray[np.uint8]]
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 7: "B"}


def written(samples: NDArray[np.uint8], rows: int = 1_000, tags: Tags | None = None) -> bytes:
    alpha = None if samples.shape[2] % 2 else np.ascontiguousarray(samples[:, :, -1])
    picture = Picture(samples if alpha is None else np.ascontiguousarray(samples[:, :, :-1]), alpha)
    sink = BytesIO()
    writer = encoder(sink, picture, Encode(format="tiff"), tags or Tags())
    for top in range(0, picture.height, rows):
        part = slice(top, top + rows)
        writer.write(Band(picture.pixels[part], None if alpha is None else alpha[part]))
    writer.finish()
    return sink.getvalue()


def directory(data: bytes) -> dict[int, tuple[int, ...]]:
    """Tags and values of the first page, read by TIFF 6.0, section 2."""
    assert data[:4] == b"II*\0"
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    entries: dict[int, tuple[int, ...]] = {}
    for number in range(count):
        entry = place + 2 + 12 * number
        tag, kind, length = struct.unpack_from("<HHI", data, entry)
        layout = "<" + FORMATS[kind] * length
        inside = struct.calcsize(layout) <= 4
        entries[tag] = struct.unpack_from(
            layout, data, entry + 8 if inside else struct.unpack_from("<I", data, entry + 8)[0]
        )
    assert list(entries) == sorted(entries)
    return entries


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 90),
    channels=st.integers(1, 4),
    rows=st.integers(1, 100),
    strip=st.integers(1, 3_000),
    noise=st.booleans(),
)
def test_what_is_written_is_what_is_read(
    width: int, height: int, channels: int, rows: int, strip: int, noise: bool
) -> None:
    samples = np.random.default_rng(width).integers(0, 256 if noise else 3, (height, width, channels), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff, "STRIP_BYTES", strip)
        data = written(samples, rows)
    with Image.open(BytesIO(data)) as image:
        image.load()
        assert (image.mode, image.size) == (MODES[channels], (width, height))
        assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_strips_follow_one_another_to_the_end(make_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "IN_MEMORY", 1_000)
    monkeypatch.setattr(tiff, "STRIP_BYTES", 20_000)
    data = written(make_scene(300, 200), 7)
    entries = directory(data)
    (rows,), offsets, counts = entries[tiff.ROWS], entries[tiff.OFFSETS], entries[tiff.COUNTS]
    assert len(offsets) == -(-200 // rows) > 3
    assert [place + size for place, size in zip(offsets, counts, strict=True)] == [*offsets[1:], len(data)]


def test_metadata_stands_in_the_directory(make_scene: Scene) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "A. Author"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.FNumber: 2.8}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitude: (52.0, 31.0, 6.0)}
    data = written(make_scene(20, 10), tags=Tags(exif.tobytes(), b"<x:xmpmeta/>", (300, 150)))
    entries = directory(data)
    assert bytes(entries[tiff.XMP]) == b"<x:xmpmeta/>"
    assert entries[tiff.X_DENSITY][0] / entries[tiff.X_DENSITY][1] == 300
    assert entries[tiff.Y_DENSITY][0] / entries[tiff.Y_DENSITY][1] == 150
    with Image.open(BytesIO(data)) as image:
        read = image.getexif()
        assert read[ExifTags.Base.Copyright] == "A. Author"
        assert read.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber] == pytest.approx(2.8)
        assert read.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (52.0, 31.0, 6.0)
        assert image.info["xmp"] == b"<x:xmpmeta/>"


def test_how_the_source_was_stored_is_not_carried_over(make_scene: Scene) -> None:
    """A camera's first directory may describe another picture than the one that is written."""
    exif = Image.Exif()
    layout = {
        258: 12,
        259: 6,
        262: 6,
        273: 99,
        277: 1,
        278: 1,
        279: 5,
        284: 2,
        317: 1,
        322: 16,
        323: 16,
        338: 1,
        513: 7,
    }
    exif.update({**layout, ExifTags.Base.Artist: "A. Author"})
    pixels = make_scene(30, 20)
    for kind in ("tiff", "jpeg"):
        options = Encode.model_validate({"format": kind, "metadata": "keep"})
        data, notes = imageio.encode(Picture(pixels, exif=exif.tobytes()), options)
        with Image.open(BytesIO(data)) as image:
            assert not notes and image.getexif()[ExifTags.Base.Artist] == "A. Author"
            assert kind == "tiff" or not layout.keys() & image.getexif().keys()
        if kind == "tiff":
            assert np.array_equal(np.asarray(Image.open(BytesIO(data))), pixels)


@pytest.mark.parametrize("policy", ["safe", "keep", "strip"])
def test_a_tiffs_tags_are_read(policy: str, make_scene: Scene, make_file: Callable[..., bytes]) -> None:
    exif = Image.Exif()
    exif.update({ExifTags.Base.Copyright: "A. Author", ExifTags.Base.HostComputer: "home"})
    data = make_file(Image.fromarray(make_scene(30, 20)), "tiff", exif=exif, compression="tiff_lzw")
    picture, _ = decoding.decode(data, header.probe(data, header.ALL))
    again, notes = imageio.encode(picture, Encode.model_validate({"format": "jpeg", "metadata": policy}))
    with Image.open(BytesIO(again)) as image:
        assert image.getexif().get(ExifTags.Base.Copyright) == (None if policy == "strip" else "A. Author")
        assert (ExifTags.Base.HostComputer in image.getexif()) == (policy == "keep") and not notes


def test_it_is_about_as_small_as_pillows(make_scene: Scene, make_file: Callable[..., bytes]) -> None:
    pixels = make_scene(700, 500)
    usual = make_file(Image.fromarray(pixels), "tiff", compression="tiff_adobe_deflate", tiffinfo={317: 2})
    assert len(written(pixels)) <= 1.07 * len(usual)


def test_nothing_is_left_behind_when_the_work_fails(make_scene: Scene) -> None:
    writer = tiff.TiffEncoder(BytesIO(), Picture(make_scene(8, 20)), Tags())
    writer.write(Band(make_scene(8, 19)))
    with pytest.raises(ValueError, match="1 rows are missing"):
        writer.finish()
    writer.abandon()
    assert writer.spool.closed
