"""Files of 16 bits per sample give all of their bits, or an error that says so."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from tessera_engine import decoding, header
from tessera_engine.decoding import upright
from tessera_engine.errors import CorruptImage
from tessera_engine.picture import STRIP, Picture
from tessera_engine.sandbox import Decoder

from tests.unit.engine import deepfiles
from tests.unit.engine.test_colours import DISPLAY_P3, rgb_profile

MakeFile = Callable[..., bytes]
Samples = NDArray[np.uint16]
CHANNELS = (1, 2, 3, 4)


def noise(width: int, height: int, channels: int) -> Samples:
    """No two equal bytes in a sample, but for chance."""
    return np.random.default_rng(width).integers(0, 65_536, (height, width, channels), dtype=np.uint16)


def decode(data: bytes) -> tuple[Picture, tuple[str, ...]]:
    return decoding.decode(data, header.probe(data, header.ALL))


def samples_of(picture: Picture) -> NDArray[np.uint8 | np.uint16]:
    return np.concatenate([band.samples() for band in picture.bands()])


def profiled(samples: Samples, profile: bytes) -> bytes:
    return deepfiles.png(samples, (b"iCCP", b"a profile\0\0" + zlib.compress(profile)))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (29, 41), (5, 2 * STRIP + 7)])
def test_png(channels: int, interlaced: bool, size: tuple[int, int]) -> None:
    samples = noise(*size, channels)
    data = deepfiles.png(samples, interlaced=interlaced)
    assert header.probe(data) == header.ImageInfo("png", *size, 16)
    picture, notes = decode(data)
    assert picture.dtype == np.uint16 and not notes
    assert np.array_equal(samples_of(picture), samples)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_tiff(channels: int, order: str, deflated: bool, orientation: int) -> None:
    samples = noise(23, 37, channels)
    data = deepfiles.tiff(samples, order, deflated=deflated, orientation=orientation)
    assert header.probe(data, header.ALL) == header.ImageInfo("tiff", 23, 37, 16)
    picture, notes = decode(data)
    assert picture.dtype == np.uint16 and not notes
    assert np.array_equal(samples_of(picture), upright(samples, orientation))


def test_cmyk_of_16_bits_is_reduced_with_a_note() -> None:
    data = deepfiles.tiff(noise(6, 5, 4))
    for entry, other in (((262, 3, 1, 2), (262, 3, 1, 5)), ((338, 3, 1, 2), (339, 3, 1, 1))):
        data = data.replace(struct.pack("<HHIH", *entry), struct.pack("<HHIH", *other))  # CMYK, no ExtraSamples
    picture, notes = decode(data)
    assert picture.dtype == np.uint8
    assert notes == (decoding.NOTE_EIGHT_BITS, decoding.NOTE_CMYK)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    samples = noise(7, 4, 4)
    picture, _ = decode(deepfiles.png(samples, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))))
    assert np.array_equal(samples_of(picture), upright(samples, orientation))


def test_a_transparent_level_is_one_of_65536() -> None:
    data = deepfiles.png(np.array([[[500], [501]]], np.uint16), (b"tRNS", struct.pack(">H", 500)))
    picture, _ = decode(data)
    assert picture.alpha is not None and picture.alpha.tolist() == [[0, 65_535]]


def test_a_transparent_colour_is_one_of_all() -> None:
    samples = np.array([[[500, 600, 700], [500, 600, 701]]], np.uint16)
    picture, _ = decode(deepfiles.png(samples, (b"tRNS", struct.pack(">HHH", 500, 600, 700))))
    assert picture.alpha is not None and picture.alpha.tolist() == [[0, 65_535]]
    assert np.array_equal(picture.pixels, samples)


def test_alpha_that_hides_nothing_is_dropped() -> None:
    samples = noise(4, 3, 4)
    samples[:, :, 3] = 65_535
    assert decode(deepfiles.png(samples))[0].alpha is None
    samples[1, 1, 3] = 65_534
    assert decode(deepfiles.png(samples))[0].alpha is not None


def test_the_first_frame_of_an_animation() -> None:
    samples = noise(9, 8, 3)
    control = (b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", struct.pack(">IIIIIHHBB", 0, 9, 8, 0, 0, 1, 10, 0, 0))
    picture, notes = decode(deepfiles.png(samples, *control))
    assert np.array_equal(picture.pixels, samples) and notes == (decoding.NOTE_FIRST_FRAME,)


# --- profiles ---------------------------------------------------------------------------------------------------------


def test_with_the_profile_of_srgb_all_bits_stay() -> None:
    samples = noise(9, 8, 3)
    picture, notes = decode(profiled(samples, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()))
    assert np.array_equal(picture.pixels, samples) and not notes


@pytest.mark.parametrize("channels", [3, 4])
def test_another_profile_is_applied_in_8_bits_with_a_note(channels: int, make_file: MakeFile) -> None:
    """What comes out is what the same picture of 8 bits becomes, after a rounded reduction."""
    profile = rgb_profile(DISPLAY_P3, 2.2)
    samples = noise(9, 8, channels)
    reduced = np.rint(samples / 257).astype(np.uint8)
    picture, notes = decode(profiled(samples, profile))
    wanted, _ = decode(make_file(Image.fromarray(reduced), "png", icc_profile=profile))
    assert notes == (decoding.NOTE_EIGHT_BITS,)
    assert picture.dtype == np.uint8 and np.array_equal(samples_of(picture), samples_of(wanted))
    assert not np.array_equal(picture.pixels, reduced[:, :, :3])


def test_a_damaged_profile_costs_no_bits() -> None:
    samples = noise(9, 8, 1)
    picture, notes = decode(profiled(samples, b"junk" * 40))
    assert np.array_equal(picture.pixels, samples) and notes == (decoding.NOTE_PROFILE,)


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_that_ends_early(channels: int, interlaced: bool) -> None:
    whole = deepfiles.png(noise(60, 50, channels), interlaced=interlaced)
    for share in (0.2, 0.5, 0.9):
        with pytest.raises(CorruptImage):
            decode(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("deflated", "tag", "value"), [(True, 279, 5_000), (False, 273, 5_000)])
def test_a_tiff_whose_pixels_end_early(channels: int, deflated: bool, tag: int, value: int) -> None:
    """The strip is too short by what the file says of its length, or of where it begins."""
    whole = deepfiles.tiff(noise(60, 50, channels), deflated=deflated)
    entry = struct.pack("<HHI", tag, 4, 1)
    at = whole.index(entry) + len(entry)
    with pytest.raises(CorruptImage):
        decode(whole[:at] + struct.pack("<I", value) + whole[at + 4 :])


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_damaged_stream(channels: int) -> None:
    whole = bytearray(deepfiles.png(noise(60, 50, channels)))
    at = whole.index(b"IDAT")
    whole[at + 200 : at + 260] = bytes(60)
    with pytest.raises(CorruptImage):
        decode(bytes(whole))


# --- the decoder's process --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", CHANNELS)
def test_the_process_gives_the_same(channels: int) -> None:
    samples = noise(300, 200, channels)
    with Decoder() as decoder:
        for data in (deepfiles.png(samples), deepfiles.png(samples, interlaced=True)):
            info = header.probe(data)
            picture, notes = decoder.decode(data, info, max_pixels=60_000, check=lambda: None)
            assert np.array_equal(samples_of(picture), samples) and not notes
