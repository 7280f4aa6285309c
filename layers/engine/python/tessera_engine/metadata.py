"""What of a picture's metadata goes into the result, and what is said there of the result itself.

safe   of the EXIF a short list: who made it, who owns it, with which camera and settings. No place, no serial number,
       no maker's note, no comment, no preview. An XMP packet that says which networks ran.
keep   all of the EXIF and the XMP, the place too, but for what is no longer true: orientation, old size, old preview.
       Which networks ran is added to the XMP.
strip  nothing.

The density is the source's under safe and keep, unless another one is asked for; what is asked for is always written.
Colours are always converted to sRGB, so no policy keeps a profile. IPTC-IIM and text chunks are never kept.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

from tessera_engine import xmp
from tessera_engine.picture import Picture

if TYPE_CHECKING:  # the decoder's process does without pydantic
    from tessera.recipe import Encode, ImageFormat, MetadataPolicy

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

# How the source's pixels were stored (TIFF 6.0, and tags of a preview that some cameras leave in the first directory).
LAYOUT = (
    Base.NewSubfileType,
    Base.SubfileType,
    Base.ImageWidth,
    Base.ImageLength,
    Base.BitsPerSample,
    Base.Compression,
    Base.PhotometricInterpretation,
    Base.FillOrder,
    Base.Orientation,
    Base.SamplesPerPixel,
    Base.PlanarConfiguration,
    Base.Predictor,
    Base.ColorMap,
    Base.InkSet,
    Base.ExtraSamples,
    Base.SampleFormat,
    Base.StripOffsets,
    Base.RowsPerStrip,
    Base.StripByteCounts,
    Base.TileWidth,
    Base.TileLength,
    Base.TileOffsets,
    Base.TileByteCounts,
    Base.SubIFDs,
    Base.JPEGTables,
    Base.JpegIFOffset,
    Base.JpegIFByteCount,
    Base.YCbCrCoefficients,
    Base.YCbCrSubSampling,
    Base.YCbCrPositioning,
    Base.ReferenceBlackWhite,
)
ELSEWHERE = (Base.XMLPacket, Base.IPTCNAA, Base.ImageResources, Base.InterColorProfile)  # kept apart, or never
UNTRUE = (*LAYOUT, *ELSEWHERE)
UNTRUE_CAMERA = (Base.ExifImageWidth, Base.ExifImageHeight)

DENSITY = (Base.XResolution, Base.YResolution, Base.ResolutionUnit)
DENSITY_IN_EXIF: tuple[ImageFormat, ...] = ("webp", "avif")  # which have no field of their own for it
INCH = 2  # of ResolutionUnit; also what it is where nothing is said
INCHES = 2.54  # centimetres
UNITS = {INCH: 1.0, 3: INCHES}  # 1: only the shape of a pixel is meant
MAX_DENSITY = 65_535  # of a JPEG's two bytes

MAX_BYTES = 65_533 - 6  # a JPEG segment without its length and the mark "Exif\0\0"

Density = tuple[float, float]  # pixels per inch, across and down

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


@dataclass(frozen=True)
class Origin:
    """What the source says of itself."""

    exif: bytes = b""
    xmp: bytes = b""
    dpi: Density | None = None

    @classmethod
    def of(cls, picture: Picture) -> Origin:
        return cls(picture.exif, picture.xmp, picture.dpi)


@dataclass(frozen=True)
class Tags:
    """What is to be written, as it is to be written; `exif` and `xmp` are empty for nothing."""

    exif: bytes = b""
    xmp: bytes = b""
    dpi: Density | None = None


def tags(origin: Origin, options: Encode, runs: tuple[xmp.Run, ...] = ()) -> tuple[Tags, bool]:
    """And whether something that should have been kept is damaged or larger than a JPEG can hold."""
    policy = options.metadata
    asked = (float(options.dpi), float(options.dpi)) if options.dpi else None
    dpi = asked or (None if policy == "strip" else origin.dpi)
    exif = kept(origin.exif, policy, dpi, alone=options.format in DENSITY_IN_EXIF)
    if policy == "strip":
        return Tags(exif or b"", b"", dpi), False
    packet, lost = xmp.packet(runs, origin.xmp, keep=policy == "keep")
    return Tags(exif or b"", packet, dpi), lost or exif is None


def of_tiff(image: Image.Image) -> bytes:
    """The tags of the first page that are not about its layout, as EXIF: a TIFF has no EXIF but is built like one."""
    try:
        with quiet():
            return still_true(image.getexif()).tobytes()
    except FAULTS:
        return b""


def density(exif: bytes) -> Density | None:
    """What the EXIF states; None when it states none that makes sense."""
    try:
        with quiet():
            source = parse(exif)
            unit = UNITS[source.get(Base.ResolutionUnit, INCH)]
            return sensible(float(source[Base.XResolution]) * unit, float(source[Base.YResolution]) * unit)
    except (*FAULTS, ZeroDivisionError):
        return None


def sensible(across: float, down: float) -> Density | None:
    return (across, down) if all(1 <= side <= MAX_DENSITY for side in (across, down)) else None


def orientation(exif: bytes) -> int:
    """1 (upright) to 8; 1 when the tag is missing or makes no sense."""
    try:
        with quiet():
            value = parse(exif).get(Base.Orientation, 1)
    except FAULTS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def kept(exif: bytes, policy: MetadataPolicy, dpi: Density | None = None, *, alone: bool = False) -> bytes | None:
    """EXIF to write, empty for nothing; None when it should be kept but is damaged or larger than a JPEG can hold.

    `dpi` is stated beside other things, and also on its own when `alone` is true.
    """
    try:
        with quiet():
            chosen = Image.Exif() if policy == "strip" or not exif else POLICIES[policy](parse(exif))
            if dpi and (alone or len(chosen)):
                chosen.update(zip(DENSITY, (*dpi, INCH), strict=True))
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


POLICIES: dict[MetadataPolicy, Callable[[Image.Exif], Image.Exif]] = {"safe": safe, "keep": still_true}
