"""Damaged files of every format, through the decoder's process: each ends in a picture or an error that says so.

FUZZ=number sets how many; `make fuzz` takes ten times as many as `make test`. The seeds are fixed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, features
from PIL.PngImagePlugin import PngInfo
from tessera_engine import header, sandbox
from tessera_engine.errors import PictureError
from tessera_engine.sandbox import Decoder

from tests.unit.engine import deepfiles

MUTATIONS = int(os.environ.get("FUZZ", "10000"))
MAX_PIXELS = 1_000_000
WIDTH, HEIGHT = 24, 16


def scene(channels: int = 3) -> Image.Image:
    rng = np.random.default_rng(3)
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([across * (4 + c) + down * (9 - c) for c in range(channels)], axis=-1)
    pixels = (smooth + rng.integers(0, 30, smooth.shape)).astype(np.uint8)
    return Image.fromarray(pixels.squeeze())


def deep(channels: int) -> deepfiles.Samples:
    pixels = np.asarray(scene(channels)).astype(np.uint16).reshape(HEIGHT, WIDTH, channels)
    return pixels * 251 + np.arange(WIDTH, dtype=np.uint16)[:, None]


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def files() -> dict[str, bytes]:
    rgb, rgba, palette = scene(), scene(4), scene().convert("P", palette=Image.Palette.ADAPTIVE, colors=60)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Copyright] = "A. Author"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngInfo()
    text.add_itxt("Comment", "words " * 50, zip=True)
    more: dict[str, Any] = {"save_all": True, "append_images": [rgb.rotate(180), rgb], "duration": 40}
    made = {
        "jpeg": file_of(rgb, "jpeg", quality=90),
        "jpeg progressive": file_of(rgb, "jpeg", progressive=True, subsampling=0),
        "jpeg restarts": file_of(scene(1), "jpeg", restart_marker_blocks=1),
        "jpeg cmyk": file_of(rgb.convert("CMYK"), "jpeg"),
        "jpeg exif": file_of(rgb, "jpeg", exif=exif, icc_profile=profile),
        "png": file_of(rgb, "png", icc_profile=profile, pnginfo=text, exif=exif),
        "png alpha": file_of(rgba, "png"),
        "png 16": file_of(Image.fromarray(np.asarray(scene(1)).astype(np.uint16) * 200), "png"),
        "png 16 colours": deepfiles.png(deep(3)),
        "png 16 alpha": deepfiles.png(deep(2)),
        "png 16 interlaced": deepfiles.png(deep(4), interlaced=True),
        "png palette": file_of(palette, "png", transparency=bytes(range(60))),
        "png one bit": file_of(rgb.convert("1"), "png"),
        "png animated": file_of(rgb, "png", **more),
        "webp": file_of(rgb, "webp", exif=exif),
        "webp lossless": file_of(rgb, "webp", lossless=True),
        "webp alpha": file_of(rgba, "webp"),
        "webp animated": file_of(rgb, "webp", **more),
        "tiff": file_of(rgb, "tiff", exif=exif),
        "tiff lzw": file_of(rgba, "tiff", compression="tiff_lzw"),
        "tiff jpeg": file_of(rgb, "tiff", compression="jpeg"),
        "tiff 16": deepfiles.tiff(deep(3), orientation=6),
        "tiff 16 deflate": deepfiles.tiff(deep(4), ">", deflated=True),
        "bmp": file_of(rgb, "bmp"),
        "bmp palette": file_of(palette, "bmp"),
        "gif": file_of(palette, "gif", transparency=3),
        "gif animated": file_of(rgb, "gif", **more),
    }
    made["png interlaced"] = interlaced()
    if features.check("avif"):
        made |= {"avif": file_of(rgb, "avif"), "avif alpha": file_of(rgba, "avif", exif=exif)}
    return made


def interlaced() -> bytes:
    """An Adam7 PNG, which Pillow does not write: seven little pictures one after the other (W3C PNG, 8.2)."""
    pixels = np.asarray(scene())
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx])
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)), (b"IDAT", zlib.compress(rows))]
    return header.PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    )


FILES = files()
Mutation = Callable[[bytearray, np.random.Generator], None]


def flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))


def flip_in_header(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(min(len(data), 200), size=rng.integers(1, 4)):
        data[place] = int(rng.integers(256))


def overwrite(data: bytearray, rng: np.random.Generator) -> None:
    place, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
    filling = [b"\0" * length, b"\xff" * length, rng.bytes(length)][rng.integers(3)]
    data[place : place + length] = filling


def truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) :]


def splice(data: bytearray, rng: np.random.Generator) -> None:
    """A piece of another file, or of this one, in the place of some bytes."""
    other = list(FILES.values())[rng.integers(len(FILES))]
    start, place = int(rng.integers(len(other))), int(rng.integers(len(data)))
    data[place : place + int(rng.integers(60))] = other[start : start + int(rng.integers(1, 200))]


def repeat(data: bytearray, rng: np.random.Generator) -> None:
    place, length = int(rng.integers(len(data))), int(rng.integers(1, 120))
    data[place:place] = bytes(data[place : place + length]) * int(rng.integers(1, 30))


def claim(data: bytearray, rng: np.random.Generator) -> None:
    """A number that is a length, a size or a count somewhere, in either order of bytes."""
    value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF, len(data), 900, 901]))
    form = rng.choice([">H", "<H"] if value <= 0xFFFF else [">I", "<I"])
    place = int(rng.integers(len(data)))
    number = struct.pack(form, value)
    data[place : place + len(number)] = number


def repair(data: bytearray) -> None:
    """A PNG's checksums, which would end most of its mutations before a decoder sees them."""
    place = 8
    while data.startswith(header.PNG_SIGNATURE) and place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 <= len(data):
            data[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4


MUTATE: tuple[Mutation, ...] = (flip_bits, flip_in_header, overwrite, truncate, splice, repeat, claim)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as running:
        yield running


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(name: str, decoder: Decoder) -> None:
    whole = FILES[name]
    rng = np.random.default_rng([1, *name.encode()])
    assert outcome(decoder, whole) == "picture"
    outcomes: dict[str, int] = {}
    for _ in range(-(-MUTATIONS // len(FILES))):
        data = bytearray(whole)
        for mutation in rng.choice(len(MUTATE), size=rng.integers(1, 4)):
            if data:
                MUTATE[mutation](data, rng)
        if rng.integers(4):
            repair(data)
        found = outcome(decoder, bytes(data))
        outcomes[found] = outcomes.get(found, 0) + 1
    print(name, outcomes)  # for -s
    assert outcome(decoder, whole) == "picture"
    assert peak(decoder) < sandbox.memory(MAX_PIXELS)


def outcome(decoder: Decoder, data: bytes) -> str:
    """Anything but a PictureError fails the test; so does a decoder that cannot be started again."""
    try:
        info = header.probe(data, header.ALL)
        if info.pixels > MAX_PIXELS:
            return "refused"
        picture, _ = decoder.decode(data, info, max_pixels=MAX_PIXELS, check=lambda: None)
    except PictureError as error:
        return "ended" if str(error) == sandbox.OVER else type(error).__name__
    assert picture.width * picture.height == info.pixels
    return "picture"


def peak(decoder: Decoder) -> int:
    """Bytes of memory that the process has held at most; 0 where the system does not tell."""
    status = Path(f"/proc/{decoder.pid}/status")
    if not status.is_file():
        return 0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
