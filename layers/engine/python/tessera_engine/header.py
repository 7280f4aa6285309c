"""Format and size of a picture by its first bytes: no decoder runs, nothing is allocated.

Layouts: PNG (W3C, 11.2.2 IHDR), JPEG (ITU-T T.81, B.2.2 frame header), WebP (RFC 9649, 2.4-2.7), GIF (89a, 18), BMP
(BITMAPCOREHEADER, BITMAPINFOHEADER), TIFF (6.0, section 2), AVIF and HEIC (ISO/IEC 14496-12, 4.3 `ftyp`;
23008-12, 6.5.3 `ispe`).
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, get_args

from tessera_engine.errors import CorruptImage, UnsupportedFormat
from tessera_engine.picture import BYTES, DEEP, Depth

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15; DHT, JPG and DAC share the range
JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0-7, SOI: markers without a length

TIFF_SIZES = {256: "width", 257: "height"}
TIFF_BITS = 258  # BitsPerSample: a SHORT for every channel
TIFF_TYPES = {3: "H", 4: "I"}  # SHORT and LONG
HEIF_HEAD = 64 * 1024  # bytes within which the properties are looked for
MAX_BRANDS = 32  # a file has a handful
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
HEIF_BRANDS = frozenset({b"mif1", b"msf1", b"mif2"})  # the container alone; the other brands say what is in it
HEIF_READERS = ("pillow_heif", "pi_heif")  # one API; the second's wheel has no encoder, and so no GPL code

SourceFormat = Literal["jpeg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic"]

WEB: frozenset[SourceFormat] = frozenset({"jpeg", "png", "webp"})  # what a job takes that says nothing else
HEIF_READER = next((name for name in HEIF_READERS if importlib.util.find_spec(name)), None)
ALL: frozenset[SourceFormat] = frozenset(get_args(SourceFormat)) - (frozenset() if HEIF_READER else {"heic"})


@dataclass(frozen=True)
class ImageInfo:
    """As stored: an EXIF orientation has not been applied to width and height.

    `depth`: bits of a sample as they are read, 16 for PNG and TIFF that have 16 and 8 for everything else.
    """

    format: SourceFormat
    width: int
    height: int
    depth: int = 8

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def dtype(self) -> Depth:
        return DEEP if self.depth == 16 else BYTES


def probe(data: bytes, formats: Set[SourceFormat] = WEB) -> ImageInfo:
    """Raises UnsupportedFormat for what is none of `formats`, CorruptImage for a header that makes no sense."""
    kind = recognised(data)
    if kind is None or kind not in formats:
        names = [name for name in get_args(SourceFormat) if name in formats]
        raise UnsupportedFormat(f"This is not a picture of a format that is accepted: {', '.join(names)}.")
    try:
        info = READERS[kind](data)
    except struct.error as error:
        raise CorruptImage("The picture ends within its header.") from error
    if info.width < 1 or info.height < 1:
        raise CorruptImage("The picture's header says that it has no pixels.")
    return info


def recognised(data: bytes) -> SourceFormat | None:
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "tiff"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[4:8] == b"ftyp":
        return _by_brands(data)
    return "bmp" if data.startswith(b"BM") else None


def _by_brands(data: bytes) -> SourceFormat | None:
    """By the major brand, and where that names the container only, by the compatible ones."""
    major, listed = data[8:12], data[16 : min(int.from_bytes(data[:4]), 16 + 4 * MAX_BRANDS)]
    brands = {major}
    if major in HEIF_BRANDS:
        brands = {listed[place : place + 4] for place in range(0, len(listed), 4)}
    if brands & AVIF_BRANDS:
        return "avif"
    return "heic" if brands & HEIC_BRANDS else None


def _png(data: bytes) -> ImageInfo:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    if kind != b"IHDR":
        raise CorruptImage("The PNG does not begin with its header.")
    (depth,) = struct.unpack_from("B", data, 24)
    return ImageInfo("png", width, height, 16 if depth == 16 else 8)


def _jpeg(data: bytes) -> ImageInfo:
    """Walk the segments to the frame header. Every step moves forward, so the walk ends."""
    place = 2
    while True:
        start = data.find(b"\xff", place)
        if start < 0:
            raise CorruptImage("The JPEG has no frame header.")
        (marker,) = struct.unpack_from("B", data, start + 1)
        place = start + 1
        if marker in (0x00, 0xFF) or marker in JPEG_BARE:  # fill bytes before a marker
            continue
        if marker in (0xD9, 0xDA):  # the end or the pixels came before any frame header
            raise CorruptImage("The JPEG has no frame header.")
        (length,) = struct.unpack_from(">H", data, start + 2)
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, start + 5)
            return ImageInfo("jpeg", width, height)
        place = start + 2 + max(2, length)


def _webp(data: bytes) -> ImageInfo:
    (kind,) = struct.unpack_from("4s", data, 12)
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return ImageInfo("webp", low_width + (high_width << 16) + 1, low_height + (high_height << 16) + 1)
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, 20)
        if signature != 0x2F:
            raise CorruptImage("The WebP's lossless header is damaged.")
        return ImageInfo("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        start_code, width, height = struct.unpack_from("<3sHH", data, 23)
        if start_code != b"\x9d\x01\x2a":
            raise CorruptImage("The WebP's frame header is damaged.")
        return ImageInfo("webp", width & 0x3FFF, height & 0x3FFF)
    raise CorruptImage("The WebP's first chunk is none that a picture begins with.")


def _gif(data: bytes) -> ImageInfo:
    return ImageInfo("gif", *struct.unpack_from("<HH", data, 6))


def _bmp(data: bytes) -> ImageInfo:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return ImageInfo("bmp", width, abs(height))  # a negative height: rows from the top


def _tiff(data: bytes) -> ImageInfo:
    """The first page's size. BigTIFF has another version number and is not accepted."""
    order = "<" if data.startswith(b"II") else ">"
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    sizes: dict[str, int] = {}
    bits = 1
    for number in range(count):
        entry = place + 2 + 12 * number
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, entry)
        if tag in TIFF_SIZES and length == 1 and kind in TIFF_TYPES:
            (sizes[TIFF_SIZES[tag]],) = struct.unpack_from(order + TIFF_TYPES[kind], data, entry + 8)
        if tag == TIFF_BITS:
            at = entry + 8 if length <= 2 else struct.unpack_from(f"{order}I", data, entry + 8)[0]
            (bits,) = struct.unpack_from(f"{order}H", data, at)
    if len(sizes) < 2:
        raise CorruptImage("The TIFF does not say how large it is.")
    return ImageInfo("tiff", **sizes, depth=16 if bits == 16 else 8)


def _avif(data: bytes) -> ImageInfo:
    return ImageInfo("avif", *_heif_size(data))


def _heic(data: bytes) -> ImageInfo:
    return ImageInfo("heic", *_heif_size(data))


def _heif_size(data: bytes) -> tuple[int, int]:
    """The largest of the sizes in the file's properties: a grid's tiles and an alpha plane have theirs too."""
    sizes, place = [], data.find(b"ispe")
    while place >= 0:
        sizes.append(struct.unpack_from(">II", data, place + 8))
        place = data.find(b"ispe", place + 4, HEIF_HEAD)
    if not sizes:
        raise CorruptImage("The picture does not say how large it is.")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return width, height


READERS = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "tiff": _tiff,
    "bmp": _bmp,
    "gif": _gif,
    "avif": _avif,
    "heic": _heic,
}
