"""A PNG writer that takes rows as they come, compresses them on all cores and holds a few strips only.

Chunks: PNG specification, third edition (W3C), 11.2 and 11.3.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from tessera_engine import deflate
from tessera_engine.cores import usable_cores
from tessera_engine.rows import Cutter

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # samples of a pixel: grey, grey + alpha, RGB, RGBA
RELATIVE_COLORIMETRIC = 1
INCHES = 0.0254  # metres
ZLIB_HEADER = b"\x78\x01"  # RFC 1950: deflate, 32 KiB window, quick

Samples = NDArray[np.uint8 | np.uint16]  # (rows, width, 1..4), full range


@dataclass(frozen=True)
class Extras:
    """What is written before the pixels. Without an `icc` profile the picture says that it is sRGB.

    `exif` may begin with the mark "Exif\\0\\0" of a JPEG; `dpi` is pixels per inch; `xmp` is a packet in UTF-8.
    """

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None

    def chunks(self) -> Iterator[bytes]:
        if self.icc:
            yield chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(self.icc))
        else:
            yield chunk(b"sRGB", bytes([RELATIVE_COLORIMETRIC]))
        if self.dpi:
            yield chunk(b"pHYs", struct.pack(">IIB", *(round(density / INCHES) for density in self.dpi), 1))
        if self.exif:
            yield chunk(b"eXIf", self.exif.removeprefix(b"Exif\0\0"))
        if self.xmp:
            yield chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + self.xmp)


class PngWriter:
    """Give it all rows by `write`, top to bottom, in any portions, then call `finish`, or `abandon` to give up."""

    def __init__(
        self, sink: BinaryIO, width: int, height: int, channels: int, depth: int = 8, extras: Extras | None = None
    ) -> None:
        """`depth` is bits of a sample: 8 for uint8, 16 for uint16."""
        self.sink, self.left = sink, height
        self.step = channels * depth // 8
        self.cutter = Cutter(max(1, deflate.STRIP_BYTES // (width * self.step)), height)
        self.above = np.zeros(width * self.step, np.uint8)
        self.checksum, self.prefix = 1, ZLIB_HEADER
        self.pool = ThreadPoolExecutor(usable_cores())
        self.ahead = usable_cores() + 1
        self.waiting: deque[Future[deflate.Strip]] = deque()
        sink.write(SIGNATURE)
        sink.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, COLOUR_TYPES[channels], 0, 0, 0)))
        for extra in (extras or Extras()).chunks():
            sink.write(extra)

    def write(self, samples: Samples) -> None:
        for strip in self.cutter.cut(samples):
            rows = as_bytes(strip)
            self.left -= rows.shape[0]
            self.waiting.append(self.pool.submit(deflate.pack, rows, self.above, self.step, last=not self.left))
            self.above = rows[-1].copy()
            while len(self.waiting) > self.ahead:
                self._take()

    def finish(self) -> None:
        if self.cutter.left:
            raise ValueError(f"{self.cutter.left} rows are missing")
        while self.waiting:
            self._take()
        self.pool.shutdown()
        self.sink.write(chunk(b"IDAT", struct.pack(">I", self.checksum)))
        self.sink.write(chunk(b"IEND", b""))

    def abandon(self) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _take(self) -> None:
        strip = self.waiting.popleft().result()
        self.checksum = deflate.joined(self.checksum, strip.checksum, strip.length)
        self.sink.write(chunk(b"IDAT", self.prefix + strip.data))
        self.prefix = b""


def as_bytes(samples: NDArray[Any]) -> deflate.Rows:
    """(rows, width, channels) to (rows, bytes), the high byte of 16 bits first."""
    if samples.dtype == np.uint16:
        samples = samples.astype(">u2").view(np.uint8)
    return np.ascontiguousarray(samples).reshape(samples.shape[0], -1)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))
