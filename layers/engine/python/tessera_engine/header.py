"""Format and size of a picture by its first bytes: no decoder runs, nothing is allocated.

Layouts: PNG (W3C, 11.2.2 IHDR), JPEG (ITU-T T.81, B.2.2 frame header), WebP (RFC 9649, 2.4-2.7).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tessera.recipe import ImageFormat

from tessera_engine.errors import CorruptImage, UnsupportedFormat

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15; DHT, JPG and DAC share the range
JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0-7, SOI: markers without a length


@dataclass(frozen=True)
class ImageInfo:
    """As stored: an EXIF orientation has not been applied to width and height."""

    format: ImageFormat
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def probe(data: bytes) -> ImageInfo:
    """Raises UnsupportedFormat for what is not PNG, JPEG or WebP, CorruptImage for a header that makes no sense."""
    try:
        if data.startswith(PNG_SIGNATURE):
            info = _png(data)
        elif data.startswith(b"\xff\xd8"):
            info = _jpeg(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            info = _webp(data)
        else:
            raise UnsupportedFormat("This is not a JPEG, PNG or WebP picture.")
    except struct.error as error:
        raise CorruptImage("The picture ends within its header.") from error
    if info.width < 1 or info.height < 1:
        raise CorruptImage("The picture's header says that it has no pixels.")
    return info


def _png(data: bytes) -> ImageInfo:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    if kind != b"IHDR":
        raise CorruptImage("The PNG does not begin with its header.")
    return ImageInfo("png", width, height)


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
