"""What a picture's first bytes say: format and size, read from the header alone, without decoding anything.

Sources: PNG 3rd edition section 11.2.2 (IHDR); ITU-T T.81 annex B (JPEG markers); RFC 9649 sections 2.5-2.7 (WebP);
TIFF 6.0 section 2; GIF89a section 18; BITMAPCOREHEADER and BITMAPINFOHEADER of Windows (BMP); ISO/IEC 14496-12
section 4.2 (boxes) and 23008-12 section 6.5.3 (ispe) for AVIF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tessera.recipe import WEB, ImageFormat, SourceFormat

HEAD_BYTES = 64 * 1024  # enough for most pictures: a JPEG's size may lie behind colour profiles and previews

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# T.81 table B.1: start-of-frame markers, without DHT (C4), JPG (C8) and DAC (CC)
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
MAX_SEGMENTS = 1000  # a real file has tens
MAX_TAGS = 64  # of a TIFF's directory; ours has fewer than 20
WIDTH_TAG, HEIGHT_TAG = 256, 257
MAX_WINDOWS = 16  # 1 MB of headers; each window is a request to storage


class NotAPicture(Exception):
    """`reason` is for the picture's owner."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def unsupported(formats: Sequence[SourceFormat]) -> str:
    """The reason for a file that is of none of these."""
    return f"Unsupported file type. Allowed: {', '.join(formats).upper()}"


@dataclass(frozen=True)
class Header:
    format: ImageFormat | SourceFormat
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


ReadRange = Callable[[int, int], bytes]
"""(first, count) -> the bytes there, fewer at the end of the file."""


def recognised(head: bytes) -> SourceFormat | None:
    if head.startswith(PNG_SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "bmp" if head.startswith(b"BM") else None


def probe(head: bytes, read: ReadRange) -> Header:
    """Format and size of the picture that begins with `head`; `read` fetches more where a JPEG or TIFF needs it.

    Of any format that some task may take; which ones the task at hand takes is its own to say. Raises NotAPicture for
    anything else, and for a header that is cut off or impossible.
    """
    kind = recognised(head)
    if kind is None:
        raise NotAPicture(unsupported(WEB))
    header = READERS[kind](head, read)
    if header.width < 1 or header.height < 1:
        raise NotAPicture("The picture has no pixels")
    return header


def probe_result(head: bytes, read: ReadRange) -> Header:
    """The same for what a worker has written, which may be an AVIF as well. Raises NotAPicture."""
    if head[4:12] != b"ftypavif":
        return probe(head, read)
    header = _avif(head)
    if header.width < 1 or header.height < 1:
        raise NotAPicture("The picture has no pixels")
    return header


def _tiff(head: bytes, read: ReadRange) -> Header:
    order: Literal["little", "big"] = "little" if head.startswith(b"II") else "big"

    def number(field: bytes) -> int:
        return int.from_bytes(field, order)

    directory = read(number(head[4:8]), 2 + 12 * MAX_TAGS)
    count = number(directory[:2])
    entries = [directory[first : first + 12] for first in range(2, 2 + 12 * min(count, MAX_TAGS), 12)]
    # a SHORT (type 3) stands in the first two of the value's four bytes
    values = {number(entry[:2]): number(entry[8 : 10 if number(entry[2:4]) == 3 else 12]) for entry in entries}
    return Header("tiff", values.get(WIDTH_TAG, 0), values.get(HEIGHT_TAG, 0))


def _bmp(head: bytes, read: ReadRange) -> Header:
    if len(head) < 26:
        raise NotAPicture("The BMP header is damaged")
    if int.from_bytes(head[14:18], "little") == 12:  # the oldest form
        return Header("bmp", int.from_bytes(head[18:20], "little"), int.from_bytes(head[20:22], "little"))
    width, height = (int.from_bytes(head[first : first + 4], "little", signed=True) for first in (18, 22))
    return Header("bmp", width, abs(height))  # a negative height: rows from the top


def _gif(head: bytes, read: ReadRange) -> Header:
    return Header("gif", int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))


def _avif(head: bytes) -> Header:
    """The largest image item: others are its alpha or a thumbnail."""
    sizes = [
        (int.from_bytes(box[4:8]), int.from_bytes(box[8:12]))
        for meta in _boxes(head, b"meta")
        for properties in _boxes(meta[4:], b"iprp")
        for listed in _boxes(properties, b"ipco")
        for box in _boxes(listed, b"ispe")
    ]
    return Header("avif", *max(sizes, default=(0, 0)))


def _boxes(data: bytes, kind: bytes) -> Iterator[bytes]:
    """The contents of the boxes of one kind, of those that lie side by side."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == kind:
            yield data[at + 8 : at + size]
        if size < 8:  # to the end of the file, or with a length of 64 bits: neither comes before the last box here
            return
        at += size


def _png(head: bytes, read: ReadRange) -> Header:
    if len(head) < 24 or head[12:16] != b"IHDR":
        raise NotAPicture("The PNG header is damaged")
    return Header("png", int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))


def _webp(head: bytes, read: ReadRange) -> Header:
    chunk, body = head[12:16], head[20:]
    if len(body) < 10:
        raise NotAPicture("The WebP header is damaged")
    if chunk == b"VP8X":
        return Header("webp", int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1)
    if chunk == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return Header(
            "webp", int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
        )
    if chunk == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    raise NotAPicture("The WebP header is damaged")


def _jpeg(head: bytes, read: ReadRange) -> Header:
    start, window, fetched = 0, head, 0

    def at(first: int, count: int) -> bytes:
        nonlocal start, window, fetched
        if not start <= first <= first + count <= start + len(window):
            fetched += 1
            if fetched > MAX_WINDOWS:
                raise NotAPicture("The JPEG header is too long")
            start, window = first, read(first, HEAD_BYTES)
        piece = window[first - start : first - start + count]
        if len(piece) < count:
            raise NotAPicture("The JPEG ends before its picture begins")
        return piece

    position = 2
    for _ in range(MAX_SEGMENTS):
        marker = at(position, 2)
        if marker[0] != 0xFF:
            break
        if marker[1] == 0xFF:  # fill byte
            position += 1
        elif marker[1] in STANDALONE:
            position += 2
        elif marker[1] in START_OF_FRAME:
            frame = at(position + 5, 4)
            return Header("jpeg", int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[0:2], "big"))
        elif marker[1] in (0xD9, 0xDA):  # end of image, or scan data before any frame
            break
        else:
            position += 2 + max(2, int.from_bytes(at(position + 2, 2), "big"))
    raise NotAPicture("The JPEG header is damaged")


READERS: dict[SourceFormat, Callable[[bytes, ReadRange], Header]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "tiff": _tiff,
    "bmp": _bmp,
    "gif": _gif,
}
