"""Pixels per inch, read back from the bytes where the format says them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from tessera.recipe import Encode
from tessera_engine import decoding, header, imageio
from tessera_engine.picture import Picture

MakeFile = Callable[..., bytes]
FORMATS = ["jpeg", "png", "webp", "avif", "tiff"]
Base = ExifTags.Base


def stated(data: bytes, kind: str) -> tuple[float, float] | None:
    if kind == "jpeg":  # JFIF: APP0 first, unit 1 for inches
        assert data[2:4] == b"\xff\xe0" and data[6:11] == b"JFIF\0"
        unit, across, down = struct.unpack_from(">BHH", data, 13)
        return (across, down) if unit == 1 else None
    if kind == "png":
        place = data.find(b"pHYs")
        across, down, unit = struct.unpack_from(">IIB", data, place + 4) if place > 0 else (0, 0, 0)
        return (across * 0.0254, down * 0.0254) if unit == 1 else None
    with Image.open(BytesIO(data)) as image:
        exif = image.tag_v2 if kind == "tiff" else image.getexif()
        if Base.XResolution not in exif:
            return None
        assert exif[Base.ResolutionUnit] == 2
        return float(exif[Base.XResolution]), float(exif[Base.YResolution])


def source(dpi: tuple[float, float] | None) -> Picture:
    return Picture(np.zeros((8, 8, 3), np.uint8), dpi=dpi)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("dpi", "own", "policy", "wanted"),
    [
        (240, None, "safe", (240, 240)),
        (240, (300, 150), "keep", (240, 240)),
        (240, (300, 150), "strip", (240, 240)),
        (None, (300, 150), "safe", (300, 150)),
        (None, (300, 150), "keep", (300, 150)),
        (None, (300, 150), "strip", None),
        (None, None, "keep", None),
    ],
)
def test_it_is_written(kind: Any, dpi: Any, own: Any, policy: Any, wanted: Any) -> None:
    data, notes = imageio.encode(source(own), Encode(format=kind, dpi=dpi, metadata=policy))
    assert not notes
    assert stated(data, kind) == (None if wanted is None else pytest.approx(wanted, abs=0.02))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_exif_does_not_contradict(kind: Any) -> None:
    exif = Image.Exif()
    exif.update({Base.XResolution: 72.0, Base.YResolution: 72.0, Base.ResolutionUnit: 3, Base.Artist: "A. Author"})
    picture = Picture(np.zeros((8, 8, 3), np.uint8), exif=exif.tobytes(), dpi=(182.88, 182.88))
    for policy in ("safe", "keep"):
        options = Encode.model_validate({"format": kind, "dpi": 600, "metadata": policy})
        with Image.open(BytesIO(imageio.encode(picture, options)[0])) as image:
            written = image.getexif()
        assert written[Base.Artist] == "A. Author"
        assert [written[tag] for tag in (Base.XResolution, Base.YResolution, Base.ResolutionUnit)] == [600, 600, 2]


def read(data: bytes) -> tuple[float, float] | None:
    return decoding.decode(data, header.probe(data, header.ALL))[0].dpi


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "bmp"])
def test_it_is_read(kind: str, make_file: MakeFile) -> None:
    image = Image.new("RGB", (8, 8))
    assert read(make_file(image, kind, dpi=(300, 200))) == pytest.approx((300, 200), abs=0.02)
    assert read(make_file(image, kind)) in (None, pytest.approx((96, 96), abs=0.1))  # a BMP always says something


def test_centimetres_and_shapes_of_jfif(make_file: MakeFile) -> None:
    jpeg = bytearray(make_file(Image.new("RGB", (8, 8)), "jpeg", dpi=(100, 50)))
    for unit, wanted in ((2, (254, 127)), (0, None)):  # 0: only the shape of a pixel
        jpeg[13] = unit
        assert read(bytes(jpeg)) == wanted


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_else_the_exif_says_it(kind: str, make_file: MakeFile) -> None:
    cases = ((100.0, 3, 254.0), (150.0, 2, 150.0), (150.0, 1, None), (0.0, 2, None), (1e9, 2, None))
    for across, unit, wanted in cases:
        exif = Image.Exif()
        exif.update({Base.XResolution: across, Base.YResolution: across, Base.ResolutionUnit: unit})
        found = read(make_file(Image.new("RGB", (8, 8)), kind, exif=exif))
        assert found == (None if wanted is None else pytest.approx((wanted, wanted)))


@pytest.mark.parametrize("dpi", [0, -1, 65_536, 72.5])
def test_what_makes_no_sense_is_refused(dpi: float) -> None:
    with pytest.raises(ValueError, match="dpi"):
        Encode.model_validate({"format": "png", "dpi": dpi})
