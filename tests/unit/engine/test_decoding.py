"""Whatever way a file takes, what comes out is what Pillow makes of it."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from tessera_engine import decoding, pngrows
from tessera_engine.errors import CorruptImage
from tessera_engine.header import probe
from tessera_engine.picture import STRIP, Picture
from tessera_engine.sandbox import Decoder

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]


def decode(data: bytes) -> tuple[Picture, tuple[str, ...]]:
    return decoding.decode(data, probe(data))


@pytest.fixture
def swapped() -> bytes:
    """sRGB's profile with red and blue in each other's place."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


# --- JPEG -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2},
        {"subsampling": 2, "progressive": True},
        {"subsampling": 0, "restart_marker_blocks": 3},
        {"keep_rgb": True},
        {"quality": 20},
    ],
)
@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 1), (5, 2 * STRIP + 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(
    options: dict[str, Any],
    size: tuple[int, int],
    channels: int,
    make_scene: Scene,
    make_file: MakeFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = make_file(
        Image.fromarray(make_scene(*size, channels).squeeze(-1 if channels == 1 else ())), "jpeg", **options
    )
    monkeypatch.setattr(decoding, "_crops", lambda _: pytest.fail("took Pillow's way"))
    picture, _ = decode(data)
    assert np.array_equal(picture.pixels, np.asarray(Image.open(BytesIO(data))).reshape(picture.pixels.shape))


@pytest.mark.parametrize("spoil", [lambda data: data + b"after the end", lambda data: data[:300] + b"\0" + data[300:]])
def test_an_odd_jpeg_is_what_pillow_makes_of_it(
    spoil: Callable[[bytes], bytes], make_scene: Scene, make_file: MakeFile
) -> None:
    data = spoil(make_file(Image.fromarray(make_scene(64, 48)), "jpeg"))
    try:
        wanted = np.asarray(Image.open(BytesIO(data)))
    except OSError:
        with pytest.raises(CorruptImage):
            decode(data)
    else:
        assert np.array_equal(decode(data)[0].pixels, wanted)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_ends_early(progressive: bool, make_scene: Scene, make_file: MakeFile) -> None:
    whole = make_file(Image.fromarray(make_scene(120, 90)), "jpeg", progressive=progressive)
    for end in range(len(whole) // 3, len(whole) - 40, 97):
        with pytest.raises(CorruptImage):
            decode(whole[:end])


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_profiles_are_applied_to_all_strips(
    mode: str, kind: str, swapped: bytes, make_scene: Scene, make_file: MakeFile
) -> None:
    image = Image.fromarray(make_scene(6, 2 * STRIP + 9)).convert(mode)
    data = make_file(image, kind, icc_profile=swapped)
    picture, notes = decode(data)
    if mode == "L":  # whose profile this cannot be
        assert notes == (decoding.NOTE_PROFILE,)
        return
    source = Image.open(BytesIO(data))
    wanted = ImageCms.profileToProfile(
        source,
        ImageCms.ImageCmsProfile(BytesIO(swapped)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert np.array_equal(picture.pixels, np.asarray(wanted)) and not notes


# --- PNG --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("height", [1, STRIP, STRIP + 1, 3 * STRIP - 1])
@pytest.mark.parametrize("transparent", [False, True])
def test_png_in_strips(mode: str, height: int, transparent: bool, make_scene: Scene, make_file: MakeFile) -> None:
    """Pillow chooses a filter for each row, so that all kinds occur."""
    image = Image.fromarray(make_scene(37, height, 4)).convert("RGB" if mode == "P" else mode)
    if mode == "P":
        image = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=50)
    key: Any = {"L": 120, "RGB": (120, 121, 122), "P": bytes(range(50))}.get(mode)
    data = make_file(image, "png", **({"transparency": key} if transparent and key is not None else {}))
    with Image.open(BytesIO(data)) as opened:
        assert pngrows.readable(opened, data)
        wanted = np.asarray(opened.convert("RGBA"))
    picture, _ = decode(data)
    assert np.array_equal(np.broadcast_to(picture.pixels, (*wanted.shape[:2], 3)), wanted[:, :, :3])
    alpha = 255 if picture.alpha is None else picture.alpha
    assert np.array_equal(np.broadcast_to(alpha, wanted.shape[:2]), wanted[:, :, 3])


def chunks(*parts: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def test_png_in_many_chunks_with_exif_at_the_end() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    pixels = np.arange(600 * 7, dtype=np.uint8).reshape(600, 7)
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    parts = [(b"IDAT", stream[at : at + 11]) for at in range(0, len(stream), 11)]
    header = (b"IHDR", struct.pack(">IIBBBBB", 7, 600, 8, 0, 0, 0, 0))
    data = chunks(header, (b"IDAT", b""), *parts, (b"eXIf", exif.tobytes()[6:]), (b"IEND", b""))
    picture, _ = decode(data)
    assert np.array_equal(picture.pixels[:, :, 0], pixels[::-1, ::-1])
    assert picture.exif == exif.tobytes()


@pytest.mark.parametrize("rows", [0, 1, STRIP, STRIP + 5])
def test_a_png_with_too_few_rows(rows: int) -> None:
    header = (b"IHDR", struct.pack(">IIBBBBB", 3, STRIP + 6, 8, 2, 0, 0, 0))
    data = chunks(header, (b"IDAT", zlib.compress(bytes(rows * 10))), (b"IEND", b""))
    with pytest.raises(CorruptImage):
        decode(data)


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_large_picture_is_held_once(kind: str, make_file: MakeFile) -> None:
    """Pillow holds 4 bytes a pixel, beside the 3 of the picture."""
    width, height = 5_000, 3_000
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    small, large = (make_file(Image.new("RGB", size), kind, exif=exif) for size in ((8, 8), (width, height)))
    peaks = []
    with Decoder() as running:
        for data in (small, large):
            picture, _ = running.decode(data, probe(data), max_pixels=width * height, check=lambda: None)
            status = Path(f"/proc/{running.pid}/status").read_text()
            peaks.append(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
    assert (picture.width, picture.height) == (height, width)
    assert peaks[1] - peaks[0] < 6 * width * height  # a strip has some copies
