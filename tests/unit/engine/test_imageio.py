from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from tessera.job import Limits
from tessera.recipe import Crop, Encode, ImageFormat, Recipe, Resize, Upscale
from tessera_engine import decoding, imageio
from tessera_engine.encoders import MAX_SIDE
from tessera_engine.errors import CorruptImage, Misfit, PictureError, TooManyPixels
from tessera_engine.header import ALL, ImageInfo, probe
from tessera_engine.picture import Picture

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]
OpenFile = Callable[[bytes], Image.Image]

LOSSY = ("jpeg", "webp", "avif")
LIMITS = Limits(max_input_pixels=50_000_000, max_output_pixels=400_000_000)


def decode(data: bytes) -> tuple[Picture, tuple[str, ...]]:
    return decoding.decode(data, probe(data))


def into(options: Encode) -> Recipe:
    return Recipe(operations=(Upscale(model="tessera-fidelity", scale=4), options))


def enlarging(scale: Any, target: Any) -> Recipe:
    return Recipe(operations=(Upscale(model="tessera-fidelity", scale=scale), Encode(format=target)))


def png_of(
    colour: int,
    samples: NDArray[Any],
    *chunks: tuple[bytes, bytes],
    claimed: tuple[int, int] | None = None,
) -> bytes:
    """A PNG by hand, for what Pillow does not write. Samples (h, w * channels); `claimed` is the header's size."""
    width, height = claimed or (samples.shape[1] // {0: 1, 2: 3, 4: 2, 6: 4}[colour], samples.shape[0])
    rows = b"".join(b"\0" + row.astype("u1").tobytes() for row in samples)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "scale", "target"),
    [
        (ImageInfo("png", 13_000, 13_000), 2, "png"),
        (ImageInfo("png", 6_000, 6_000), 4, "png"),
        (ImageInfo("jpeg", 5_000, 10), 4, "webp"),
        (ImageInfo("jpeg", 10, 16_384), 4, "jpeg"),
        (ImageInfo("jpeg", 4_000, 2_001), 4, "webp"),
    ],
)
def test_sizes_are_refused_by_the_header(info: ImageInfo, scale: int, target: Any) -> None:
    """G16."""
    with pytest.raises(TooManyPixels, match=f"{info.width * scale:d}|{info.width:d}"):
        imageio.check_limits(info, enlarging(scale, target), LIMITS)


@pytest.mark.parametrize(("target", "side"), [("webp", 16_380), ("jpeg", 65_500)])
def test_the_largest_sides_are_accepted(target: Any, side: int) -> None:
    imageio.check_limits(ImageInfo("png", side // 4, 9), enlarging(4, target), LIMITS)


def test_every_step_is_within_the_limits_whichever_way_the_picture_lies() -> None:
    info, png = ImageInfo("jpeg", 1_000, 5_000), Encode(format="png")

    def check(*operations: Any) -> tuple[int, int]:
        return imageio.check_limits(info, Recipe(operations=(*operations, png)), LIMITS)

    assert check(Upscale(model="tessera-fidelity", width=4_000)) == (1_000, 5_000)
    assert check(Upscale(model="tessera-fidelity", width=40_000)) == (5_000, 1_000)  # on its side: 320 megapixels
    with pytest.raises(TooManyPixels, match="16000 x 80000"):
        check(Upscale(model="tessera-fidelity", scale=8), Upscale(model="tessera-fidelity", scale=2), Resize(width=9))
    assert check(Crop(width=4_000, height=500)) == (5_000, 1_000)
    with pytest.raises(Misfit, match="1000 x 5000"):
        check(Crop(width=6_000, height=5))


@pytest.mark.parametrize(
    ("options", "most"),
    [
        (Encode(format="avif"), 50_000_000),
        (Encode(format="webp", lossless=True), 80_000_000),
        (Encode(format="webp"), 128_000_000),
        (Encode(format="jpeg", progressive=True), 128_000_000),
        (Encode(format="png"), 400_000_000),
        (Encode(format="jpeg"), 400_000_000),
    ],
)
def test_what_is_made_in_one_piece_ends_earlier(options: Encode, most: int) -> None:
    width = 10_000
    imageio.check_limits(ImageInfo("png", width // 4, most // width // 4), into(options), LIMITS)
    with pytest.raises(TooManyPixels, match=f"of at most {most:,}|at most {most:,}"):
        imageio.check_limits(ImageInfo("png", width // 4, most // width // 4 + 1), into(options), LIMITS)


def test_libjpeg_ends_where_the_table_says(make_file: MakeFile) -> None:
    assert probe(make_file(Image.new("L", (65_500, 1)), "jpeg")).width == MAX_SIDE["jpeg"]
    with pytest.raises(OSError, match="when writing image file"):
        make_file(Image.new("L", (65_501, 1)), "jpeg")


def test_a_bomb_is_refused_without_its_pixels() -> None:
    bomb = png_of(0, np.zeros((1, 8), np.uint8), claimed=(13_000, 13_000))
    tracemalloc.start()
    with pytest.raises(TooManyPixels):
        imageio.check_limits(probe(bomb), enlarging(4, "png"), LIMITS)
    with pytest.raises(TooManyPixels):  # even where the limits would let it through
        decode(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


# --- decoding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_orientation_is_applied(orientation: int, kind: str, make_scene: Scene, make_file: MakeFile) -> None:
    pixels = make_scene(9, 5)
    stored = {  # EXIF 2.32, tag 0x0112: where row 0 and column 0 of the stored picture are
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    picture, notes = decode(make_file(image, kind, exif=exif, **({"lossless": True} if kind == "webp" else {})))
    assert np.array_equal(picture.pixels, pixels)
    assert not notes


def test_palette_with_transparency(make_file: MakeFile) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    image.putdata([0, 1, 2])
    picture, _ = decode(make_file(image, "png", transparency=bytes([255, 128, 0])))
    assert picture.pixels.tolist() == [[[10, 20, 30], [200, 100, 50], [0, 0, 0]]]
    assert picture.alpha is not None and picture.alpha.tolist() == [[255, 128, 0]]


def test_one_bit(make_file: MakeFile) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    picture, _ = decode(make_file(image, "png"))
    assert picture.pixels.tolist() == [[[0], [255]]] and picture.alpha is None


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_eight_bits(mode: str, make_scene: Scene, make_file: MakeFile) -> None:
    image = Image.fromarray(make_scene(7, 5, 4)).convert(mode)
    picture, _ = decode(make_file(image, "png"))
    assert np.array_equal(picture.pixels.squeeze(), np.asarray(image.convert(mode.removesuffix("A"))))
    assert (picture.alpha is None) == (not mode.endswith("A"))
    if picture.alpha is not None:
        assert np.array_equal(picture.alpha, np.asarray(image.getchannel("A")))


def test_alpha_that_hides_nothing_is_dropped(make_file: MakeFile) -> None:
    assert decode(make_file(Image.new("RGBA", (2, 2), (1, 2, 3, 255)), "png"))[0].alpha is None


def test_cmyk(make_file: MakeFile) -> None:
    picture, notes = decode(make_file(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "jpeg", quality=95))
    red = picture.pixels[4, 4].astype(int)
    assert red[0] > 240 and red[1] < 15 and red[2] < 15
    assert notes == (decoding.NOTE_CMYK,)


def test_colours_come_out_as_srgb(make_file: MakeFile) -> None:
    """With a profile whose red and blue are swapped, swapped pixels mean the same colours."""
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    picture, notes = decode(make_file(Image.new("RGBA", (2, 2), (30, 90, 200, 77)), "png", icc_profile=bytes(swapped)))
    assert np.abs(picture.pixels[0, 0].astype(int) - [200, 90, 30]).max() <= 2
    assert picture.alpha is not None and picture.alpha[0, 0] == 77
    assert not notes


def test_a_damaged_profile_is_ignored_with_a_note(make_file: MakeFile) -> None:
    picture, notes = decode(make_file(Image.new("RGB", (2, 2), (30, 90, 200)), "png", icc_profile=b"junk" * 40))
    assert picture.pixels[0, 0].tolist() == [30, 90, 200]
    assert notes == (decoding.NOTE_PROFILE,)


def test_damaged_exif_does_not_spoil_the_picture(make_file: MakeFile) -> None:
    data = make_file(Image.new("RGB", (2, 2)), "webp", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")
    assert decode(data)[0].width == 2


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_the_first_frame_of_an_animation(kind: str, make_file: MakeFile) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    picture, notes = decode(make_file(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
    assert picture.pixels[0, 0, 0] > 200 and picture.pixels[0, 0, 2] < 50
    assert notes == (decoding.NOTE_FIRST_FRAME,)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_pictures(kind: str, share: float, make_scene: Scene, make_file: MakeFile) -> None:
    whole = make_file(Image.fromarray(make_scene(120, 90)), kind)
    with pytest.raises(CorruptImage):
        decode(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_flipped_bytes_raise_nothing_unexpected(kind: str, make_scene: Scene, make_file: MakeFile) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    whole = make_file(Image.fromarray(make_scene(24, 20)), kind, exif=exif)
    rng = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(len(damaged), size=3):
            damaged[place] = rng.integers(256)
        try:
            info = probe(bytes(damaged))
            imageio.check_limits(info, enlarging(2, "png"), LIMITS)
            decoding.decode(bytes(damaged), info)
        except PictureError:
            continue


# --- encoding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", get_args(ImageFormat))
def test_what_is_written_is_what_was_asked(kind: Any, make_scene: Scene, open_file: OpenFile) -> None:
    picture = Picture(make_scene(40, 30))
    sizes = []
    for quality in (30, 95):
        data, notes = imageio.encode(picture, Encode(format=kind, quality=quality))
        assert probe(data, ALL) == ImageInfo(kind, 40, 30) and not notes
        sizes.append(len(data))
        error = np.abs(np.asarray(open_file(data).convert("RGB")).astype(int) - picture.pixels).mean()
        assert error < (25 if kind in LOSSY else 0.001)
    assert (sizes[0] < sizes[1]) if kind in LOSSY else (sizes[0] == sizes[1])


@pytest.mark.parametrize("kind", ["png", "webp", "avif", "tiff"])
def test_alpha_is_written(kind: Any, make_scene: Scene, open_file: OpenFile) -> None:
    alpha = make_scene(40, 30, 1)[:, :, 0]
    data, _ = imageio.encode(Picture(make_scene(40, 30), alpha), Encode(format=kind))
    difference = np.abs(np.asarray(open_file(data).getchannel("A")).astype(int) - alpha)
    assert difference.max() <= (12 if kind == "avif" else 0)  # which codes it like the colours


def test_jpeg_is_laid_over_white(open_file: OpenFile) -> None:
    black = np.zeros((16, 48, 3), np.uint8)
    alpha = np.repeat(np.array([0, 128, 255], np.uint8), 16)[None].repeat(16, axis=0)
    data, _ = imageio.encode(Picture(black, alpha), Encode(format="jpeg", quality=95))
    row = np.asarray(open_file(data))[8, :, 0].astype(int)
    assert (row[8], abs(row[24] - 127) <= 2, row[40]) == (255, True, 0)


def camera() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Copyright] = "A. Author"
    exif[ExifTags.Base.HostComputer] = "home"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.FNumber: 2.8,
        ExifTags.Base.BodySerialNumber: "12345",
        ExifTags.Base.ExifImageWidth: 99,
    }
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif.tobytes()


@pytest.mark.parametrize("kind", get_args(ImageFormat))
@pytest.mark.parametrize("policy", ["safe", "keep", "strip"])
def test_metadata_policies(kind: Any, policy: Any, make_file: MakeFile, open_file: OpenFile) -> None:
    """G18."""
    source, _ = decode(make_file(Image.new("RGB", (6, 4)), "jpeg", exif=camera(), comment=b"secret"))
    assert (source.width, source.height) == (4, 6)
    data, notes = imageio.encode(source, Encode(format=kind, metadata=policy))
    result = open_file(data)
    exif = result.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert ExifTags.Base.Orientation not in exif and not notes
    assert "comment" not in result.info and "icc_profile" not in result.info
    assert exif.get(ExifTags.Base.Copyright) == (None if policy == "strip" else "A. Author")
    assert details.get(ExifTags.Base.FNumber) == (None if policy == "strip" else 2.8)
    kept = policy == "keep"
    assert (ExifTags.Base.HostComputer in exif) == kept
    assert (ExifTags.Base.BodySerialNumber in details) == kept
    assert bool(exif.get_ifd(ExifTags.IFD.GPSInfo)) == kept
    assert ExifTags.Base.ExifImageWidth not in details


def test_metadata_that_cannot_be_written_is_a_note(make_scene: Scene) -> None:
    picture = Picture(make_scene(4, 4), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff broken")
    data, notes = imageio.encode(picture, Encode(format="jpeg", metadata="keep"))
    assert probe(data).width == 4
    assert notes in ((), (imageio.NOTE_METADATA,))


def test_a_result_can_be_read_again(make_scene: Scene) -> None:
    picture = Picture(make_scene(31, 17))
    data, _ = imageio.encode(picture, Encode(format="png"))
    assert np.array_equal(decode(data)[0].pixels, picture.pixels)
