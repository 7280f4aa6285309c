"""What of a picture's EXIF goes into the result.

safe   a short list: who made it, who owns it, with which camera and settings. No place, no serial number, no maker's
       note, no comment, no preview.
keep   all of it, the place too, but for what is no longer true: orientation, old size, old preview.
strip  nothing.

Colours are always converted to sRGB, so no policy keeps a profile. XMP, IPTC and text chunks are never kept.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

if TYPE_CHECKING:  # the decoder's process does without pydantic
    from tessera.recipe import MetadataPolicy

Base, IFD = ExifTags.Base, ExifTags.IFD

SAFE = (Base.ImageDescription, Base.Make, Base.Model, Base.DateTime, Base.Artist, Base.Copyright)
SAFE_CAMERA = (
    Base.ExposureTime,
    Base.FNumber,
    Base.ISOSpeedRatings,
    Base.DateTimeOriginal,
    Base.FocalLength,
    Base.LensModel,
)
UNTRUE = (Base.Orientation, Base.ImageWidth, Base.ImageLength)
UNTRUE_CAMERA = (Base.ExifImageWidth, Base.ExifImageHeight)

MAX_BYTES = 65_533 - 6  # a JPEG segment without its length and the mark "Exif\0\0"

# What Pillow raises when it reads or writes EXIF of which parts are damaged.
FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    struct.error,
)


def orientation(exif: bytes) -> int:
    """1 (upright) to 8; 1 when the tag is missing or makes no sense."""
    try:
        with quiet():
            value = parse(exif).get(Base.Orientation, 1)
    except FAULTS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def kept(exif: bytes, policy: MetadataPolicy) -> bytes | None:
    """EXIF to write, empty for nothing; None when it should be kept but is damaged or larger than a JPEG can hold."""
    if policy == "strip" or not exif:
        return b""
    try:
        with quiet():
            source = parse(exif)
            chosen = safe(source) if policy == "safe" else still_true(source)
            written = chosen.tobytes() if len(chosen) else b""
    except FAULTS:
        return None
    return written if len(written) <= MAX_BYTES else None


@contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings on damaged tags, which it skips."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse(exif: bytes) -> Image.Exif:
    parsed = Image.Exif()
    parsed.load(exif)
    return parsed


def safe(source: Image.Exif) -> Image.Exif:
    chosen = Image.Exif()
    chosen.update({tag: source[tag] for tag in SAFE if tag in source})
    camera = source.get_ifd(IFD.Exif)
    if settings := {tag: camera[tag] for tag in SAFE_CAMERA if tag in camera}:
        chosen[IFD.Exif] = settings
    return chosen


def still_true(source: Image.Exif) -> Image.Exif:
    chosen = Image.Exif()
    ifds = (IFD.Exif, IFD.GPSInfo)
    chosen.update({tag: value for tag, value in source.items() if tag not in (*UNTRUE, *ifds)})
    for ifd in ifds:
        if values := {tag: value for tag, value in source.get_ifd(ifd).items() if tag not in UNTRUE_CAMERA}:
            chosen[ifd] = values
    return chosen
