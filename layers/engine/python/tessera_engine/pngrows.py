"""A large PNG in strips of rows, by Pillow's own decoder.

A row's filter looks at the row above and no further (W3C PNG, 9.2). So a strip that begins with the last row of the
strip before, unfiltered, is a picture of its own: the stream is inflated here, some rows at a time, and what is undone
by Pillow is the filtering alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from mmap import mmap

import numpy as np
from PIL import Image, ImagePalette, PngImagePlugin

from tessera_engine.deep import Layout, Samples
from tessera_engine.errors import CorruptImage

Data = bytes | mmap

MODES = ("L", "LA", "P", "RGB", "RGBA")  # which at 8 bits a sample are Pillow's own layout
PORTION = 64 * 1024  # bytes that are inflated at once
BEGIN = 8  # the first chunk follows the signature
STORED = 0  # deflate's level that copies
TOO_SHORT = "The picture is damaged or incomplete."


def readable(image: Image.Image, data: Data) -> bool:
    """Whether the image, opened from `data` and not loaded, is a PNG of 8 bits, not interlaced, not animated."""
    return in_rows(image, data) and data[24] == 8 and image.mode in MODES  # IHDR's bit depth


def in_rows(image: Image.Image, data: Data) -> bool:
    """Whether it is a PNG, not interlaced, not animated."""
    if not isinstance(image, PngImagePlugin.PngImageFile) or image.is_animated:
        return False
    interlaced = data[28]  # of IHDR, which comes first
    return not interlaced


def strips(image: Image.Image, data: Data, height: int) -> Iterator[Image.Image]:
    """Images of the mode, palette and transparency of `image`, of at most `height` rows, which together are all of it.

    zlib.error or CorruptImage when the stream is damaged or ends before the last row.
    """
    row = image.width * len(image.getbands())
    stream = _Stream(data)
    above = bytes(row)
    for top in range(0, image.height, height):
        count = min(height, image.height - top)
        copied = stream.rows(count, row, above)
        strip = Image.frombytes(image.mode, (image.width, count + 1), copied, "zip", image.mode)
        above = strip.crop((0, count, image.width, count + 1)).tobytes()
        if image.palette:
            strip.palette = ImagePalette.raw(image.palette.rawmode or "RGB", bytes(image.palette.palette))
        strip.info = image.info
        yield strip.crop((0, 1, image.width, count + 1))


def deep_strips(image: Image.Image, data: Data, layout: Layout, height: int) -> Iterator[Samples]:
    """The same of 16 bits per sample, of which each raw mode of the layout keeps a part."""
    row = image.width * layout.channels * 2
    stream = _Stream(data)
    above = bytes(row)
    for top in range(0, image.height, height):
        count = min(height, image.height - top)
        copied = stream.rows(count, row, above)
        size = (image.width, count + 1)
        strip = layout.combined([Image.frombytes(layout.mode, size, copied, "zip", raw) for raw in layout.raw])
        above = strip[-1].astype(">u2").tobytes()
        yield np.ascontiguousarray(strip[1:])


def late_exif(data: Data) -> bytes:
    """EXIF that comes after the pixels, as Pillow gives it; empty when there is none."""
    return next((b"Exif\0\0" + data[start:end] for kind, start, end in _chunks(data) if kind == b"eXIf"), b"")


def _chunks(data: Data) -> Iterator[tuple[bytes, int, int]]:
    """Kind, and where the content starts and ends, for every chunk that is whole."""
    place = BEGIN
    while place + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if place + 8 + length > len(data):
            return
        yield kind, place + 8, place + 8 + length
        place += 12 + length


class _Stream:
    """What the IDAT chunks, the first one and those that follow it directly, contain."""

    def __init__(self, data: Data) -> None:
        self.portions = _portions(data)
        self.inflater = zlib.decompressobj()
        self.waiting = b""  # which was not inflated yet

    def rows(self, count: int, row: int, above: bytes) -> bytes:
        """The next rows of `row` bytes behind the one above them, in a stream of their own."""
        filtered = b"\0" + above + self.read(count * (1 + row))  # 0: not filtered; else each row says how it is
        return zlib.compress(filtered, STORED)

    def read(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            if self.inflater.eof:
                raise CorruptImage(TOO_SHORT)
            self.waiting = self.waiting or next(self.portions, b"")
            if not self.waiting:
                raise CorruptImage(TOO_SHORT)
            got += self.inflater.decompress(self.waiting, count - len(got))
            self.waiting = self.inflater.unconsumed_tail
        return bytes(got)


def _portions(data: Data) -> Iterator[bytes]:
    begun = False
    for kind, start, end in _chunks(data):
        if kind == b"IDAT":
            begun = True
            for place in range(start, end, PORTION):
                yield data[place : min(place + PORTION, end)]
        elif begun:
            return
