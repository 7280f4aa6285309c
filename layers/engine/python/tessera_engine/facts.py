"""What a file says of itself in its header: colours, depth, how its samples are stored. No pixel is decoded.

Every value is read from the bytes; what a format has only one way of is told without looking. Layouts as in `header`,
and: JPEG's tables (ITU-T T.81, B.2.4.1 DQT; K.1 and K.2), PNG (W3C, 11.2.2 and 11.3.1.1), TIFF 6.0 (sections 5 to 8,
16, 23), GIF 89a (sections 20 and 23), BITMAPV4HEADER, AVIF (AV1 in ISOBMFF, 2.3.3 `av1C`), HEIC (ISO/IEC 14496-15,
8.3.3.1 `hvcC`), the properties of an item (23008-12, 9.3.1 `ipma`).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from tessera import job
from tessera.job import Colorspace

from tessera_engine.header import JPEG_BARE, JPEG_FRAMES, SourceFormat

HEAD = 256 * 1024  # bytes of a result that are kept to read its header in: metadata of a JPEG has at most 64 KiB each
MAX_STEPS = 2000  # through segments or chunks; a real file has tens before its pixels

PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})  # SOF2, 6, 10 and 14
DQT, SOS = 0xDB, 0xDA
SAMPLINGS = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1", (4, 2): "4:1:0"}
# T.81's tables K.1 and K.2 in the order of a DQT segment: those that libjpeg scales by its quality.
LUMA = (
    *(16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51),
    *(61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77),
    *(113, 121, 112, 100, 120, 92, 101, 103, 99),
)
CHROMA = (17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, *(99,) * 50)

GREY_ALPHA, RGBA, PALETTE = 4, 6, 3  # PNG's colour types beside 0, grey, and 2, RGB
TIFF_TAGS = frozenset({258, 262, 338})
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_EXTRA = 258, 262, 338
TIFF_KINDS: dict[int, Colorspace] = {0: "gray", 1: "gray", 2: "srgb", 3: "srgb", 5: "cmyk", 6: "srgb"}
TIFF_KINDS |= {8: "lab", 9: "lab", 10: "lab"}  # CIE, ICC and ITU L*a*b*
TIFF_PALETTE = 3
BMP_CORE, BMP_MASKS, BMP_ALPHA_HEADER = 12, (3, 6), 56  # BITMAPCOREHEADER; BI_BITFIELDS; from BITMAPV3INFOHEADER on
ALPHA_URNS = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
HVC_SAMPLINGS = {1: "4:2:0", 2: "4:2:2", 3: "4:4:4"}  # chroma_format_idc; 0 is grey


@dataclass(frozen=True)
class Traits:
    """What `tessera.job.Picture` says beside size and digest."""

    colorspace: Colorspace = "srgb"
    depth: int = 8
    interlaced: bool = False
    sampling: str | None = None
    quality: int | None = None
    alpha: bool = False


class Recorded:
    """A sink that hands on what is written to it, and knows how much that was, its SHA-1 and how it began."""

    def __init__(self, sink: BinaryIO) -> None:
        self.sink, self.size, self.head, self.digest = sink, 0, bytearray(), hashlib.sha1(usedforsecurity=False)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        view = memoryview(data).cast("B")
        self.digest.update(view)
        self.size += len(view)
        self.head += view[: max(0, HEAD - len(self.head))]
        return self.sink.write(view)

    def flush(self) -> None:
        self.sink.flush()

    def facts(self, kind: SourceFormat, width: int, height: int) -> job.Picture | None:
        return _facts(kind, bytes(self.head), width, height, self.size, self.digest.hexdigest())


def of(data: bytes, kind: SourceFormat, width: int, height: int, *, foreign: bool = False) -> job.Picture | None:
    """Of a file whose picture is that large when it stands upright; `foreign`: its profile is not sRGB's.

    None where a decoder has read more into the header than is to be read there.
    """
    digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    facts = _facts(kind, data, width, height, len(data), digest)
    return facts.model_copy(update={"colorspace": "rgb"}) if facts and foreign else facts


def _facts(kind: SourceFormat, head: bytes, width: int, height: int, size: int, sha1: str) -> job.Picture | None:
    try:
        traits = READERS[kind](head)
        return job.Picture(format=kind, width=width, height=height, bytes=size, sha1=sha1, **asdict(traits))
    except (struct.error, LookupError, ValueError):
        return None


# ---------------------------------------------------------------- JPEG


def _jpeg(head: bytes) -> Traits:
    tables: dict[int, tuple[int, ...]] = {}
    frame: tuple[int, bytes] | None = None
    for marker, body in _segments(head):
        if marker == DQT:
            tables |= _tables(body)
        elif marker in JPEG_FRAMES:
            frame = marker, body
    if frame is None:
        raise LookupError("no frame header")
    marker, body = frame
    depth, count = body[0], body[5]
    parts = [(body[place + 1] >> 4, body[place + 1] & 15, body[place + 2]) for place in range(6, 6 + 3 * count, 3)]
    used = [tables[selector] for *_, selector in parts[:2] if selector in tables]
    return Traits(
        colorspace={1: "gray", 4: "cmyk"}.get(count, "srgb"),  # type: ignore[arg-type]  # literals, all of them
        depth=depth,
        interlaced=marker in PROGRESSIVE,
        sampling=_sampling(parts),
        quality=quality(used) if used else None,
    )


def _segments(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of what lies before the first scan, as `header` walks it."""
    place = 2
    for _ in range(MAX_STEPS):
        start = head.index(b"\xff", place)
        marker = head[start + 1]
        place = start + 1
        if marker in (0x00, 0xFF) or marker in JPEG_BARE:
            continue
        if marker in (0xD9, SOS):
            return
        (length,) = struct.unpack_from(">H", head, start + 2)
        yield marker, head[start + 4 : start + 2 + length]
        place = start + 2 + max(2, length)
    raise LookupError("no scan")


def _tables(body: bytes) -> dict[int, tuple[int, ...]]:
    tables, place = {}, 0
    while place < len(body):
        wide, number = body[place] >> 4, body[place] & 15
        layout = ">64H" if wide else ">64B"
        tables[number] = struct.unpack_from(layout, body, place + 1)
        place += 1 + struct.calcsize(layout)
    return tables


def _sampling(parts: list[tuple[int, int, int]]) -> str | None:
    """Of the colours' samples; grey has none."""
    if len(parts) < 3:
        return None
    (across, down, _), (wide, high, _) = parts[:2]
    return SAMPLINGS.get((across // max(1, wide), down // max(1, high)))


def quality(tables: list[tuple[int, ...]]) -> int:
    """The quality, 1 to 100, whose tables libjpeg makes most like these: of brightness, and of colours where given."""
    known = scaled()[:, : len(tables)]
    return 1 + int(np.abs(known - np.array(tables)).sum(axis=(1, 2)).argmin())


@cache
def scaled() -> NDArray[np.int64]:
    """(100, 2, 64): libjpeg's tables for every quality (jcparam.c, jpeg_quality_scaling, for baseline files)."""
    asked = np.arange(1, 101)
    share = np.where(asked < 50, 5000 // asked, 200 - 2 * asked)
    tables: NDArray[np.int64] = (np.array((LUMA, CHROMA)) * share[:, None, None] + 50) // 100
    return tables.clip(1, 255)


# ---------------------------------------------------------------- PNG, WebP


def _png(head: bytes) -> Traits:
    depth, kind, _, _, interlaced = struct.unpack_from("5B", head, 24)
    return Traits(
        colorspace="gray" if kind in (0, GREY_ALPHA) else "srgb",
        depth=8 if kind == PALETTE else depth,  # a palette's colours have 8 bits, whatever its indices have
        interlaced=interlaced == 1,
        alpha=kind in (GREY_ALPHA, RGBA) or _has_chunk(head, b"tRNS"),
    )


def _has_chunk(head: bytes, wanted: bytes) -> bool:
    """Among those before the pixels."""
    place = 8
    for _ in range(MAX_STEPS):
        length, kind = struct.unpack_from(">I4s", head, place)
        if kind in (wanted, b"IDAT"):
            return bool(kind == wanted)
        place += 12 + length
    raise LookupError("no pixels")


def _webp(head: bytes) -> Traits:
    kind = head[12:16]
    if kind == b"VP8X":
        return Traits(alpha=bool(head[20] & 0x10))
    (bits,) = struct.unpack_from("<I", head, 21)
    return Traits(alpha=kind == b"VP8L" and bool(bits >> 28 & 1))


# ---------------------------------------------------------------- GIF, BMP, TIFF


def _gif(head: bytes) -> Traits:
    head = head[:HEAD]
    flags, place, transparent = head[10], 13, False
    palette = b""
    if flags & 0x80:
        palette, place = _palette(head, place, flags)
    while head[place] == 0x21:  # an extension
        transparent = transparent or (head[place + 1] == 0xF9 and bool(head[place + 3] & 1))
        place += 2
        while head[place]:
            place += 1 + head[place]
        place += 1
    flags = head[place + 9]
    if flags & 0x80:
        palette, _ = _palette(head, place + 10, flags)
    return Traits(colorspace=_colours(palette, 3), interlaced=bool(flags & 0x40), alpha=transparent)


def _palette(head: bytes, place: int, flags: int) -> tuple[bytes, int]:
    end = place + 3 * 2 ** ((flags & 7) + 1)
    return head[place:end], end


def _colours(palette: bytes, step: int) -> Colorspace:
    """Of a palette with `step` bytes a colour: grey where it has greys only, in formats that have no other grey."""
    planes = [palette[first::step] for first in range(3)]
    return "gray" if palette and planes[0] == planes[1] == planes[2] else "srgb"


def _bmp(head: bytes) -> Traits:
    (size,) = struct.unpack_from("<I", head, 14)
    (bits,) = struct.unpack_from("<H", head, 24 if size == BMP_CORE else 28)
    compression = 0 if size == BMP_CORE else struct.unpack_from("<I", head, 30)[0]
    if bits <= 8:
        step, first = (3, 26) if size == BMP_CORE else (4, 14 + size)
        count = 2**bits if size == BMP_CORE else struct.unpack_from("<I", head, 46)[0] or 2**bits
        return Traits(colorspace=_colours(head[first : first + step * count], step))
    if compression not in BMP_MASKS:
        return Traits(depth=5 if bits == 16 else 8)
    red, _, _, alpha = struct.unpack_from("<4I", head, 54)
    has_alpha = size >= BMP_ALPHA_HEADER or compression == BMP_MASKS[1]
    return Traits(depth=red.bit_count(), alpha=has_alpha and alpha > 0)


def _tiff(head: bytes) -> Traits:
    values = _tags(head)
    photometric = values.get(TIFF_PHOTOMETRIC, (1,))[0]
    return Traits(
        colorspace=TIFF_KINDS.get(photometric, "srgb"),
        depth=8 if photometric == TIFF_PALETTE else values.get(TIFF_BITS, (1,))[0],
        alpha=any(extra in (1, 2) for extra in values.get(TIFF_EXTRA, ())),
    )


def _tags(head: bytes) -> dict[int, tuple[int, ...]]:
    """The SHORTs of the first directory that are asked for."""
    order = "<" if head.startswith(b"II") else ">"
    (place,) = struct.unpack_from(f"{order}I", head, 4)
    (count,) = struct.unpack_from(f"{order}H", head, place)
    values = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", head, entry)
        if tag in TIFF_TAGS and kind == 3:
            (at,) = (entry + 8,) if length <= 2 else struct.unpack_from(f"{order}I", head, entry + 8)
            values[tag] = struct.unpack_from(f"{order}{min(length, 8)}H", head, at)
    return values


# ---------------------------------------------------------------- AVIF, HEIC


def _heif(head: bytes) -> Traits:
    (meta,) = (body for kind, body in _boxes(head[:HEAD], 0) if kind == b"meta")
    inside = dict(_boxes(meta, 4))
    properties = dict(_boxes(inside[b"iprp"], 0))
    listed = list(_boxes(properties[b"ipco"], 0))
    primary = int.from_bytes(inside[b"pitm"][4:])
    own = [listed[number - 1] for number in _associated(properties[b"ipma"], primary) if 0 < number <= len(listed)]
    # A picture of tiles has no coder's box of its own: its tiles, which come first, have.
    codec, body = next((found for found in (*own, *listed) if found[0] in (b"av1C", b"hvcC")), (b"", b""))
    alpha = any(kind == b"auxC" and data[4:].split(b"\0")[0] in ALPHA_URNS for kind, data in listed)
    traits = _av1(body) if codec == b"av1C" else _hevc(body)
    return Traits(traits.colorspace, traits.depth, sampling=traits.sampling, alpha=alpha)


def _boxes(data: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place + 8 : place + size]
        if size < 8:  # to the end of the file, or of 64 bits: neither comes before the last box that is read here
            return
        place += size


def _associated(ipma: bytes, item: int) -> list[int]:
    """Numbers, from 1, of an item's properties."""
    version, wide = ipma[0], ipma[3] & 1
    (entries,) = struct.unpack_from(">I", ipma, 4)
    place, layout = 8, ">IB" if version else ">HB"
    for _ in range(entries):
        owner, count = struct.unpack_from(layout, ipma, place)
        place += struct.calcsize(layout)
        numbers = struct.unpack_from(f">{count}{'H' if wide else 'B'}", ipma, place)
        place += count * (2 if wide else 1)
        if owner == item:
            return [number & (0x7FFF if wide else 0x7F) for number in numbers]
    return []


def _av1(body: bytes) -> Traits:
    high, twelve, grey, across, down = (bool(body[2] >> bit & 1) for bit in (6, 5, 4, 3, 2))
    depth = 12 if twelve else 10 if high else 8
    if grey:
        return Traits("gray", depth)
    return Traits("srgb", depth, sampling="4:2:0" if down else "4:2:2" if across else "4:4:4")


def _hevc(body: bytes) -> Traits:
    chroma, depth = body[16] & 3, 8 + (body[17] & 7)
    return Traits("srgb" if chroma else "gray", depth, sampling=HVC_SAMPLINGS.get(chroma))


READERS = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "tiff": _tiff,
    "bmp": _bmp,
    "gif": _gif,
    "avif": _heif,
    "heic": _heif,
}
