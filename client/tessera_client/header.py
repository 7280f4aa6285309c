"""The size of a picture by its first bytes, for estimates: nothing is decoded."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from tessera_client.errors import UnsupportedFile

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81 table B.1
BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
DAMAGED = "the picture's header is damaged"


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height in pixels. Raises UnsupportedFile, or OSError where the file cannot be read."""
    with open(path, "rb") as file:
        head = file.read(30)
        try:
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                size: tuple[int, int] = struct.unpack(">II", head[16:24])
            elif head.startswith(b"\xff\xd8\xff"):
                size = _jpeg(file)
            elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
                size = _webp(head)
            else:
                raise UnsupportedFile("not a JPEG, PNG or WebP picture")
        except (struct.error, IndexError):
            raise UnsupportedFile(DAMAGED) from None
    if min(size) < 1:
        raise UnsupportedFile(DAMAGED)
    return size


def _jpeg(file: BinaryIO) -> tuple[int, int]:
    file.seek(2)
    while True:
        lead, marker = struct.unpack(">BB", file.read(2))
        if lead != 0xFF or marker in (0xD9, 0xDA):
            raise UnsupportedFile(DAMAGED)
        if marker == 0xFF:  # fill
            file.seek(-1, os.SEEK_CUR)
        elif marker in FRAMES:
            height, width = struct.unpack(">xxxHH", file.read(7))
            return width, height
        elif marker not in BARE:
            file.seek(struct.unpack(">H", file.read(2))[0] - 2, os.SEEK_CUR)


def _webp(head: bytes) -> tuple[int, int]:
    """RFC 9649 sections 2.5 to 2.7."""
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF
