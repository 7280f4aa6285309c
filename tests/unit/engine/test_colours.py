"""Pictures with profiles made here, by the ICC specification (ICC.1:2022), and the colours that these mean."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from tessera_engine import decoding, header
from tessera_engine.picture import Picture

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]
Floats = NDArray[np.float64]

# Columns: red, green and blue as XYZ under D50.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
WHITE = (0.9642, 1.0, 0.8249)  # D50
INKS = np.array([[55, -37, -50], [48, 74, -3], [89, -5, 93], [0, 0, 0]])  # Lab of cyan, magenta, yellow, black


def numbers(values: Any) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def profile(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": b"XYZ \0\0\0\0" + numbers(WHITE), **tags}
    place, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"\0\0\0\0", 0x02400000, kind, space, connection)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + numbers(WHITE)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(primaries: Floats, power: float) -> bytes:
    columns = {name + b"XYZ": b"XYZ \0\0\0\0" + numbers(primaries[:, at]) for at, name in enumerate((b"r", b"g", b"b"))}
    curves = {name + b"TRC": gamma(power) for name in (b"r", b"g", b"b")}
    return profile(b"RGB ", b"XYZ ", b"mntr", columns | curves)


def cmyk_profile() -> bytes:
    """Inks that multiply: every mixture of full and no ink is a corner of the table."""
    corners = []
    for corner in np.ndindex(2, 2, 2, 2):
        lab = np.array([100.0, 0.0, 0.0])
        for ink, used in zip(INKS, corner, strict=True):
            lab = np.array([lab[0] * ink[0] / 100, *((lab[1:] + ink[1:]) * min(1, ink[0]))]) if used else lab
        corners.append([lab[0] * 2.55, *(lab[1:] + 128)])
    line = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + numbers(np.eye(3).ravel()) + line * 4
    table += np.rint(np.clip(corners, 0, 255)).astype(np.uint8).tobytes() + line * 3
    return profile(b"CMYK", b"Lab ", b"prtr", {b"A2B0": table, b"A2B1": table})


def to_srgb(linear: Floats) -> Floats:
    """IEC 61966-2-1."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decode(data: bytes) -> tuple[Picture, tuple[str, ...]]:
    return decoding.decode(data, header.probe(data, header.ALL))


@pytest.mark.parametrize(("primaries", "power"), [(DISPLAY_P3, 2.2), (ADOBE_RGB, 563 / 256)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_wide_colours_mean_the_same_in_srgb(
    primaries: Floats, power: float, mode: str, make_scene: Scene, make_file: MakeFile
) -> None:
    samples = make_scene(40, 30, len(mode))
    samples[:, :, :3] = 90 + samples[:, :, :3] // 4  # within sRGB, where no rule of clipping plays a part
    data = make_file(Image.fromarray(samples), "png", icc_profile=rgb_profile(primaries, power))
    picture, notes = decode(data)
    linear = (samples[:, :, :3] / 255) ** power
    wanted = to_srgb(linear @ primaries.T @ np.linalg.inv(SRGB).T)
    assert np.abs(picture.pixels - wanted).max() <= 2
    assert not notes
    if mode == "RGBA":
        assert picture.alpha is not None and np.array_equal(picture.alpha, samples[:, :, 3])


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_grey_with_a_profile_stays_grey(kind: str, make_file: MakeFile) -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(16)[None].repeat(8, axis=0)
    grey = profile(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": gamma(1.8)})
    picture, notes = decode(make_file(Image.fromarray(ramp), kind, icc_profile=grey))
    assert picture.pixels.shape == (8, 4096, 1) and not notes
    lifted = ramp >= 16  # sRGB's straight part and black points differ below
    wanted = to_srgb((ramp / 255) ** 1.8)
    assert np.abs(picture.pixels[:, :, 0] - wanted)[lifted].max() <= (2 if kind == "png" else 4)


def test_a_colour_profile_on_a_grey_picture_is_ignored_with_a_note(make_file: MakeFile) -> None:
    data = make_file(Image.new("L", (3, 2), 77), "png", icc_profile=rgb_profile(DISPLAY_P3, 2.2))
    picture, notes = decode(data)
    assert picture.pixels.ravel().tolist() == [77] * 6
    assert notes == (decoding.NOTE_PROFILE,)


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_cmyk_with_a_profile(kind: str, make_file: MakeFile) -> None:
    inks = np.kron(np.array(list(np.ndindex(3, 3, 3, 3)), np.uint8).reshape(9, 9, 4) * 100, np.ones((16, 16, 1)))
    image, icc = Image.fromarray(inks.astype(np.uint8), "CMYK"), cmyk_profile()
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "jpeg" else {}
    picture, notes = decode(make_file(image, kind, icc_profile=icc, **options))
    wanted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        "RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    middles = (slice(8, None, 16), slice(8, None, 16))
    assert wanted is not None and not notes
    assert np.abs(picture.pixels[middles].astype(int) - np.asarray(wanted)[middles]).max() <= 2
    assert picture.pixels[8, 8].min() >= 253  # paper
