"""Formats beyond those of the web, which are read only where they are asked for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, features
from tessera.job import Limits
from tessera.recipe import Encode, Recipe, Upscale
from tessera_engine import decoding, header, imageio, metadata, pipeline
from tessera_engine.errors import CorruptImage, PictureError, TooManyPixels, UnsupportedFormat
from tessera_engine.picture import Picture

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]

FURTHER = [kind for kind in ("tiff", "bmp", "gif", "avif") if kind != "avif" or features.check("avif")]
LIMITS = Limits(max_input_pixels=1_000_000, max_output_pixels=16_000_000)
TWICE = Recipe(operations=(Upscale(model="tessera-fidelity", scale=2), Encode(format="png")))


def decode(data: bytes) -> tuple[Picture, tuple[str, ...]]:
    return decoding.decode(data, header.probe(data, header.ALL))


@pytest.mark.parametrize("kind", FURTHER)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (37, 23)])
def test_they_are_read_where_they_are_asked_for(
    kind: Any, width: int, height: int, make_scene: Scene, make_file: MakeFile
) -> None:
    pixels = make_scene(width, height)
    data = make_file(Image.fromarray(pixels), kind, **({"quality": 95} if kind == "avif" else {}))
    with pytest.raises(UnsupportedFormat, match="accepted: jpeg, png, webp"):
        header.probe(data)
    assert header.probe(data, {kind}) == header.ImageInfo(kind, width, height)
    picture, notes = decode(data)
    colours = np.broadcast_to(picture.pixels, pixels.shape).astype(int)
    assert np.abs(colours - pixels).mean() <= {"gif": 12, "avif": 8}.get(kind, 0)
    assert not notes
    recipe = Recipe(operations=(Upscale(model="tessera-fidelity", scale=2), Encode(format="png")))
    product = pipeline.carry_out(
        recipe, data, LIMITS, stand_in="refuse", listener=lambda _: None, formats=header.WEB | {kind}
    )
    assert (product.width, product.height) == (2 * width, 2 * height)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_kinds_of_tiff(mode: str, make_scene: Scene, make_file: MakeFile) -> None:
    image = Image.fromarray(make_scene(20, 10, 4)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 256 + 99)
    picture, _ = decode(make_file(image, "tiff"))
    assert picture.channels == (1 if mode in ("1", "L", "LA", "I;16") else 3)
    assert picture.has_alpha == mode.endswith("A")
    if mode == "I;16":
        assert np.array_equal(picture.pixels[:, :, 0], np.asarray(image))


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_strange_kinds_of_tiff_are_refused(mode: str, make_file: MakeFile) -> None:
    with pytest.raises(UnsupportedFormat, match="colours"):
        decode(make_file(Image.new(mode, (4, 4)), "tiff"))


def test_a_transparent_gif(make_file: MakeFile) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    picture, _ = decode(make_file(image, "gif", transparency=0))
    assert picture.alpha is not None and picture.alpha.tolist() == [[0, 255]]
    assert picture.pixels[0, 1].tolist() == [200, 100, 50]


@pytest.mark.parametrize(("kind", "note"), [("gif", decoding.NOTE_FIRST_FRAME), ("tiff", decoding.NOTE_FIRST_PAGE)])
def test_the_first_of_several(kind: str, note: str, make_file: MakeFile) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    picture, notes = decode(make_file(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert picture.pixels[0, 0].tolist() == [250, 0, 0] and notes == (note,)


def stored(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """EXIF 2.32, tag 0x0112: where row 0 and column 0 of the stored picture are."""
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }
    return np.ascontiguousarray(turned[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "tiff", "avif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_orientation(orientation: int, kind: str, channels: int, make_scene: Scene, make_file: MakeFile) -> None:
    if kind not in ("jpeg", *FURTHER):
        pytest.skip("this Pillow has no AVIF")
    pixels = make_scene(48, 32, channels)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(stored(pixels, orientation).squeeze())
    picture, _ = decode(make_file(image, kind, exif=exif, **({} if kind == "tiff" else {"quality": 95})))
    assert (picture.width, picture.height) == (48, 32)
    assert np.abs(picture.pixels.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("kind", FURTHER)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated(kind: str, share: float, make_scene: Scene, make_file: MakeFile) -> None:
    whole = make_file(Image.fromarray(make_scene(120, 90)), kind)
    with pytest.raises((CorruptImage, UnsupportedFormat)):
        decode(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("kind", FURTHER)
def test_flipped_bytes_raise_nothing_unexpected(kind: str, make_scene: Scene, make_file: MakeFile) -> None:
    whole = make_file(Image.fromarray(make_scene(24, 20)), kind)
    rng = np.random.default_rng(1)
    for _ in range(120):
        damaged = bytearray(whole)
        for place in rng.integers(min(len(damaged), 400), size=3):
            damaged[place] = rng.integers(256)
        try:
            info = header.probe(bytes(damaged), header.ALL)
            imageio.check_limits(info, TWICE, LIMITS)
            decoding.decode(bytes(damaged), info)
        except PictureError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 60_000, -60_000),
        b"MM\0*" + struct.pack(">IHHHIIHHII", 8, 2, 256, 4, 1, 100_000, 257, 4, 1, 100_000),
        b"\0\0\0\x1cftypavif" + bytes(16) + b"ispe" + struct.pack(">III", 0, 60_000, 60_000),
    ],
)
def test_huge_claims_are_refused_by_the_header(data: bytes) -> None:
    with pytest.raises(TooManyPixels):
        imageio.check_limits(header.probe(data, header.ALL), TWICE, LIMITS)


# --- HEIC -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def heic(make_file: MakeFile) -> MakeFile:
    pillow_heif = pytest.importorskip("pillow_heif")  # of the group test
    pillow_heif.register_heif_opener()
    return lambda image, **options: make_file(image, "HEIF", **options)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 37), (130, 90)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_heic_is_read_where_it_is_asked_for(
    width: int, height: int, channels: int, heic: MakeFile, make_scene: Scene
) -> None:
    pixels = make_scene(width, height, channels)
    data = heic(Image.fromarray(pixels.squeeze()), quality=95)
    with pytest.raises(UnsupportedFormat, match="accepted: jpeg, png, webp"):
        header.probe(data)
    info = header.probe(data, header.ALL)
    assert info.format == "heic" and info.width >= width and info.height >= height  # small ones are padded to 64
    picture, notes = decode(data)
    assert (picture.width, picture.height) == (width, height) and not notes
    colours = np.broadcast_to(picture.pixels, (height, width, 3)).astype(int)
    assert np.abs(colours - pixels[:, :, :3]).mean() < 6
    if channels == 4:
        assert picture.alpha is not None and np.abs(picture.alpha.astype(int) - pixels[:, :, 3]).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_is_turned_once(orientation: int, heic: MakeFile, make_scene: Scene) -> None:
    """By the container (`irot`, `imir`); its EXIF says so too, and is not asked again."""
    pixels = make_scene(96, 64)
    exif = Image.Exif()
    exif.update({ExifTags.Base.Orientation: orientation, ExifTags.Base.Copyright: "A. Author"})
    picture, _ = decode(heic(Image.fromarray(stored(pixels, orientation)), quality=95, exif=exif.tobytes()))
    assert (picture.width, picture.height) == (96, 64)
    assert np.abs(picture.pixels.astype(int) - pixels).mean() < 6
    assert metadata.parse(picture.exif)[ExifTags.Base.Copyright] == "A. Author"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.95])
def test_a_truncated_heic(share: float, heic: MakeFile, make_scene: Scene) -> None:
    whole = heic(Image.fromarray(make_scene(120, 90)))
    with pytest.raises((CorruptImage, UnsupportedFormat)):
        decode(whole[: int(len(whole) * share)])


def test_flipped_bytes_of_a_heic_raise_nothing_unexpected(heic: MakeFile, make_scene: Scene) -> None:
    whole = heic(Image.fromarray(make_scene(64, 64)))
    rng = np.random.default_rng(1)
    for _ in range(80):
        damaged = bytearray(whole)
        for place in rng.integers(min(len(damaged), 900), size=3):
            damaged[place] = rng.integers(256)
        try:
            info = header.probe(bytes(damaged), header.ALL)
            imageio.check_limits(info, TWICE, LIMITS)
            decoding.decode(bytes(damaged), info)
        except PictureError:
            continue


@pytest.mark.parametrize(
    ("major", "listed", "kind"),
    [
        (b"heic", b"mif1heic", "heic"),
        (b"heix", b"", "heic"),
        (b"mif1", b"mif1heic", "heic"),
        (b"msf1", b"msf1hevc", "heic"),
        (b"mif1", b"mif1miafavif", "avif"),
        (b"avis", b"msf1", "avif"),
        (b"mif1", b"mif1", None),
        (b"isom", b"isomavc1heic", None),
        (b"mif1", b"xxxx" * 1_000 + b"heic", None),
    ],
)
def test_brands_say_what_is_in_the_container(major: bytes, listed: bytes, kind: str | None) -> None:
    head = struct.pack(">I4s4sI", 16 + len(listed), b"ftyp", major, 0) + listed
    assert header.recognised(head + b"heicavif") == kind


def test_without_its_reader_no_heic(heic: MakeFile, monkeypatch: pytest.MonkeyPatch, make_scene: Scene) -> None:
    data = heic(Image.fromarray(make_scene(64, 64)))
    monkeypatch.setattr(decoding, "HEIF_READER", None)
    with pytest.raises(UnsupportedFormat, match="pillow-heif"):
        decoding.decode(data, header.probe(data, header.ALL))
