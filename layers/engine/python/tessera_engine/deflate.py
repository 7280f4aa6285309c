"""Strips of PNG rows: filtered and compressed apart from each other, so that several cores can work on one picture.

A strip is a whole number of rows and ends on a byte, so strips put one after another are one deflate stream (as pigz
does it). How a strip is filtered and compressed is chosen by compressing a small part of it in each way: noise and
photographs want little search, drawings and text want much and are quick all the same.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.uint8]  # (rows, bytes of a row): samples as PNG stores them

NONE, SUB, UP = 0, 1, 2  # PNG (W3C) 9.2; Average and Paeth cost more in numpy than they save
STRIP_BYTES = 2 * 1024 * 1024  # a strip starts without a dictionary: larger ones lose less, smaller ones spread better
SAMPLE_BYTES = 32 * 1024  # deflate's window
SAMPLE_ROW = 8 * 1024  # bytes; wider rows are cut, so that a sample has several rows
FLAT = 8  # a sample that shrinks to less than 1 / FLAT is a drawing: thorough search costs it little
WORTH = 1.04  # a quicker way is taken unless it is larger than the thorough one by more than this
RAW = -15  # zlib's wbits for a bare deflate stream with the largest window
MODULUS = 65_521  # of Adler-32 (RFC 1950)


@dataclass(frozen=True)
class Method:
    level: int
    strategy: int

    def compress(self, data: bytes | memoryview, *, last: bool = True) -> bytes:
        """A piece of a deflate stream that ends on a byte; `last` ends the stream."""
        stream = zlib.compressobj(self.level, zlib.DEFLATED, RAW, 9, self.strategy)
        return stream.compress(data) + stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


RUNS = Method(1, zlib.Z_RLE)
QUICK = Method(1, zlib.Z_DEFAULT_STRATEGY)
FILTERED = Method(3, zlib.Z_FILTERED)
THOROUGH = Method(6, zlib.Z_DEFAULT_STRATEGY)


@dataclass(frozen=True)
class Strip:
    """`checksum` and `length` are of the filtered bytes, for the Adler-32 of the whole stream."""

    data: bytes
    checksum: int
    length: int


def pack(rows: Rows, above: NDArray[np.uint8], step: int, *, last: bool) -> Strip:
    """`above` is the row before the first one, zeros at the top; `step` is the bytes of a pixel."""
    candidates = [filtered(rows, above, step, kind) for kind in (NONE, SUB, UP)]
    samples = [sample(candidate) for candidate in candidates]
    sizes = [len(QUICK.compress(part)) for part in samples]
    best = sizes.index(min(sizes))
    method = chosen(samples[best], sizes[best])
    chunk = candidates[best]
    return Strip(method.compress(chunk.data, last=last), zlib.adler32(chunk.data), chunk.size)


def filtered(rows: Rows, above: NDArray[np.uint8], step: int, kind: int) -> Rows:
    """(rows, n) to (rows, 1 + n): each row behind its filter's number."""
    result = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    result[:, 0] = kind
    body = result[:, 1:]
    if kind == NONE:
        body[:] = rows
    elif kind == SUB:
        body[:, :step] = rows[:, :step]
        np.subtract(rows[:, step:], rows[:, :-step], out=body[:, step:])
    else:
        np.subtract(rows[0], above, out=body[0])
        np.subtract(rows[1:], rows[:-1], out=body[1:])
    return result


def sample(rows: Rows) -> bytes:
    """About SAMPLE_BYTES from two places of the strip."""
    wide = min(rows.shape[1], SAMPLE_ROW)
    count = max(1, SAMPLE_BYTES // 2 // wide)
    if rows.shape[0] <= 2 * count:
        return rows[:, :wide].tobytes()
    places = (rows.shape[0] // 4, 3 * rows.shape[0] // 4)
    starts = [(min(place, rows.shape[0] - count), (rows.shape[1] - wide) // 2) for place in places]
    return b"".join(rows[top : top + count, left : left + wide].tobytes() for top, left in starts)


def chosen(part: bytes, quick: int) -> Method:
    """The quickest method that is about as small as a more thorough one; `quick` is the size that QUICK gave."""
    if quick * FLAT < len(part):
        return THOROUGH
    thorough = min(quick, len(FILTERED.compress(part)))
    if len(RUNS.compress(part)) <= thorough * WORTH:
        return RUNS
    return QUICK if quick <= thorough * WORTH else FILTERED


def joined(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces by their own; `length` is the second's. As zlib's adler32_combine."""
    low_first, high_first = first & 0xFFFF, first >> 16
    low_second, high_second = second & 0xFFFF, second >> 16
    low = (low_first + low_second - 1) % MODULUS
    high = (high_first + high_second + length * (low_first - 1)) % MODULUS
    return high << 16 | low
