"""Strips of PNG rows: filtered and compressed apart from each other, so that several cores can work on one picture.

A strip is a whole number of rows and ends on a byte, so strips put one after another are one deflate stream (as pigz
does it). How a strip is filtered and compressed is chosen by compressing a small part of it in each way: noise and
photographs want little search, drawings and text want much and are quick all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from zlib_ng import zlib_ng

Rows = NDArray[np.uint8]  # (rows, bytes of a row): samples as PNG stores them
Predict = Callable[[Rows, Rows, Rows], Rows]  # left, up and the corner between them, to what is expected

FILTERS = NONE, SUB, UP, AVERAGE, PAETH = range(5)  # PNG (W3C) 9.2
STRIP_BYTES = 2 * 1024 * 1024  # a strip starts without a dictionary: larger ones lose less, smaller ones spread better
BLOCK_BYTES = 64 * 1024  # of a strip that are filtered at once: what Paeth needs then stays in the second-level cache
SAMPLE_BYTES = 16 * 1024
SAMPLE_ROW = 8 * 1024  # bytes; wider rows are cut, so that a sample has several rows
FLAT = 8  # a sample that shrinks to less than 1 / FLAT is a drawing: thorough search costs it little
WORTH = 1.03  # of a small sample, which favours the quick: 1.04 on photographs in all, up to 1.09 on an enlargement
MEMORY = 9  # zlib's memLevel: the most, and so the fewest blocks
MODULUS = 65_521  # of Adler-32 (RFC 1950)


class Method(Protocol):
    def compress(self, data: bytes | memoryview, *, last: bool = True) -> bytes:
        """A piece of a bare deflate stream that ends on a byte; `last` ends the stream."""


@dataclass(frozen=True)
class Igzip:
    """ISA-L's deflate, at level 1 twice as quick as runs.

    `window` is the logarithm to 2 of how far back it looks, 9 to 15. In a filtered photograph a match far back costs
    more bits than the few bytes that it replaces: 9 is smaller.
    """

    window: int
    level: int = 1

    def compress(self, data: bytes | memoryview, *, last: bool = True) -> bytes:
        stream = isal_zlib.compressobj(self.level, zlib_ng.DEFLATED, -self.window, MEMORY)
        return stream.compress(data) + stream.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_SYNC_FLUSH)


@dataclass(frozen=True)
class Zlib:
    level: int
    strategy: int = zlib_ng.Z_DEFAULT_STRATEGY

    def compress(self, data: bytes | memoryview, *, last: bool = True) -> bytes:
        stream = zlib_ng.compressobj(self.level, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS, MEMORY, self.strategy)
        return stream.compress(data) + stream.flush(zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH)


NEAR, FAR = Igzip(9), Igzip(15)
RUNS = Zlib(1, zlib_ng.Z_RLE)
FILTERED = Zlib(3, zlib_ng.Z_FILTERED)
THOROUGH = Zlib(6)


@dataclass(frozen=True)
class Strip:
    """`checksum` and `length` are of the filtered bytes, for the Adler-32 of the whole stream."""

    data: bytes
    checksum: int
    length: int


def pack(rows: Rows, above: NDArray[np.uint8], step: int, *, last: bool) -> Strip:
    """`above` is the row before the first one, zeros at the top; `step` is the bytes of a pixel."""
    places = samples(rows, above)
    parts = [np.concatenate([filtered(*place, step, kind) for place in places]) for kind in FILTERS]
    sizes = [len(NEAR.compress(part.data)) for part in parts]
    best = sizes.index(min(sizes))
    method = chosen(parts[best].data, sizes[best], usual(parts))
    chunk = filtered(rows, above, step, best)
    return Strip(method.compress(chunk.data, last=last), isal_zlib.adler32(chunk.data), chunk.size)


def pack_differences(rows: NDArray[np.uint8 | np.uint16], step: int) -> Strip:
    """A stream of its own of a TIFF's predictor 2: (rows, samples) less those of the pixel before, `step` samples back.

    16 bits are subtracted as such, then the low byte comes first.
    """
    differences = rows.astype(rows.dtype.newbyteorder("<"))
    differences[:, step:] -= rows[:, :-step]
    chunk = differences.view(np.uint8)
    part = np.ascontiguousarray(chunk[: max(1, SAMPLE_BYTES // chunk.shape[1]), :SAMPLE_BYTES])
    method = chosen(part.data, len(NEAR.compress(part.data)), len(THOROUGH.compress(part.data)))
    return Strip(method.compress(chunk.data), isal_zlib.adler32(chunk.data), chunk.size)


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
    elif kind == UP:
        np.subtract(rows[0], above, out=body[0])
        np.subtract(rows[1:], rows[:-1], out=body[1:])
    else:
        _from_neighbours(rows, above, step, average if kind == AVERAGE else paeth, body)
    return result


def _from_neighbours(rows: Rows, above: NDArray[np.uint8], step: int, predict: Predict, body: Rows) -> None:
    height, width = rows.shape
    padded = np.zeros((height + 1, step + width), np.uint8)
    padded[0, step:], padded[1:, step:] = above, rows
    portion = max(1, BLOCK_BYTES // width)
    for top in range(0, height, portion):
        around = padded[top : top + portion + 1]
        guess = predict(around[1:, :-step], around[:-1, step:], around[:-1, :-step])
        np.subtract(around[1:, step:], guess, out=body[top : top + portion])


def average(left: Rows, up: Rows, _: Rows) -> Rows:
    """floor((left + up) / 2) without a ninth bit."""
    mean: Rows = (left >> 1) + (up >> 1) + (left & up & 1)
    return mean


def paeth(left: Rows, up: Rows, corner: Rows) -> Rows:
    """Which of the three is nearest to left + up - corner (PNG 9.4), in bytes throughout.

    A corner outside left..up may be moved to its nearer end: the end at the other side is chosen all the same. Then the
    distances to the lower and the higher of the two are high - corner and corner - low, and that to the corner is what
    they differ by. PNG's order for ties changes nothing: the two ends tie only where all three are equal or the corner
    is nearest.
    """
    low, high = np.minimum(left, up), np.maximum(left, up)
    corner = np.minimum(np.maximum(corner, low), high)
    to_low, to_high = high - corner, corner - low
    nearer = np.minimum(to_low, to_high)
    end = _picked(to_low < to_high, low, high)
    return _picked(np.maximum(to_low, to_high) - nearer < nearer, corner, end)


def _picked(mask: NDArray[np.bool_], yes: Rows, no: Rows) -> Rows:
    """As numpy's `where`, at several times its speed."""
    masks: Rows = np.negative(mask.view(np.uint8))  # 0 or 255
    return no ^ ((yes ^ no) & masks)


def samples(rows: Rows, above: NDArray[np.uint8]) -> list[tuple[Rows, NDArray[np.uint8]]]:
    """About SAMPLE_BYTES from two places of the strip, each with the row before it."""
    wide = min(rows.shape[1], SAMPLE_ROW)
    count = max(1, SAMPLE_BYTES // 2 // wide)
    if rows.shape[0] <= 2 * count + 2:
        return [(rows[:, :wide], above[:wide])]
    across = slice((rows.shape[1] - wide) // 2, (rows.shape[1] + wide) // 2)
    tops = (rows.shape[0] // 4, min(3 * rows.shape[0] // 4, rows.shape[0] - count))
    return [(rows[top : top + count, across], rows[top - 1, across]) for top in tops]


def usual(parts: list[Rows]) -> int:
    """Bytes that the usual encoders would need: of each row's filters that of the least sum (PNG 12.7), zlib's level 6.

    `parts` are the same rows in the order of FILTERS.
    """
    sums = [np.minimum(part, np.negative(part)).sum(axis=1, dtype=np.uint32) for part in parts]
    rows = np.stack(parts)[np.argmin(sums, axis=0), np.arange(parts[0].shape[0])]
    return len(THOROUGH.compress(rows.data))


def chosen(part: memoryview, near: int, usual: int) -> Method:
    """The quickest method that is about as small as the usual one; `near` is the size that NEAR gave for `part`."""
    if near * FLAT < part.nbytes:
        return THOROUGH
    bound = usual * WORTH
    far = len(FAR.compress(part))
    if min(near, far) <= bound:
        return NEAR if near <= far else FAR
    return RUNS if len(RUNS.compress(part)) <= bound else FILTERED


def joined(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces by their own; `length` is the second's. As zlib's adler32_combine."""
    low_first, high_first = first & 0xFFFF, first >> 16
    low_second, high_second = second & 0xFFFF, second >> 16
    low = (low_first + low_second - 1) % MODULUS
    high = (high_first + high_second + length * (low_first - 1)) % MODULUS
    return high << 16 | low
