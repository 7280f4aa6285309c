"""Enlarge a picture piece by piece, exactly as if it had been done whole.

A network's output pixel depends on input pixels at most `halo` away. A tile is read with that much around it and the
network gives back its middle only, so seams do not exist. Beyond the picture's edge the picture is mirrored (the edge
pixel itself is not repeated), whatever the tiling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tessera_engine import guard
from tessera_engine.picture import BYTES, Pixels

TILE = 256  # px; with it 6 % of the default network's work goes to halos, and MEMORY affords them to its x4
MEMORY = 48_000_000  # bytes of a tile's activations
SMALLEST, LARGEST, STEP = 32, 512, 16  # px on a side: below, halos are most of the work; above, nothing is won
LOW = 32  # rows, below which halos would be most of the work
BAND_BYTES = 32 * 1024 * 1024  # of an enlarged row of tiles; two of them live at a time


class Network(Protocol):
    """`enlarge`: (h + 2 * halo, w + 2 * halo, 3) to (h * scale, w * scale, 3), uint8 or uint16 as the tile is.

    A network may be made for one of the two only: `models.network` gives the right one.
    """

    @property
    def scale(self) -> int: ...

    @property
    def halo(self) -> int: ...

    def enlarge(self, tile: Pixels) -> Pixels: ...


@runtime_checkable
class EdgeNetwork(Network, Protocol):
    """A network that knows what to do at a picture's edge, wants tiles to start at multiples of `align`, and knows
    how large they may be: with a wide halo small tiles would be nothing but halo.
    """

    @property
    def align(self) -> int: ...

    @property
    def side(self) -> int: ...

    def at_edge(self, outside: Padding) -> Network:
        """The network for a tile of whose halo `outside` lies beyond the picture."""


@dataclass(frozen=True)
class Padding:
    """Pixels around a region."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def all(cls, amount: int) -> Padding:
        return cls(amount, amount, amount, amount)


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels; with padding it may reach beyond the picture, so left and top may be negative."""

    left: int
    top: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def add_padding(self, padding: Padding) -> Region:
        return Region(
            self.left - padding.left,
            self.top - padding.top,
            self.width + padding.left + padding.right,
            self.height + padding.top + padding.bottom,
        )

    def beyond(self, width: int, height: int) -> Padding:
        """How far the region reaches out of a picture."""
        return Padding(
            max(0, -self.left),
            max(0, -self.top),
            max(0, self.left + self.width - width),
            max(0, self.top + self.height - height),
        )

    def scaled(self, scale: int) -> Region:
        return Region(self.left * scale, self.top * scale, self.width * scale, self.height * scale)

    def read(self, pixels: Pixels) -> Pixels:
        """The region's pixels, mirrored where it lies beyond the picture."""
        rows = mirrored(self.top, self.height, pixels.shape[0])
        columns = mirrored(self.left, self.width, pixels.shape[1])
        return pixels[rows[:, None], columns]

    def write(self, pixels: Pixels, target: Pixels) -> None:
        target[self.top : self.top + self.height, self.left : self.left + self.width] = pixels


def mirrored(start: int, length: int, size: int) -> NDArray[np.intp]:
    """Indices of 0..size-1 for start..start+length-1: ... 2 1 [0 1 2 ... n-1] n-2 ..., as often as needed."""
    if size == 1:
        return np.zeros(length, np.intp)
    period = 2 * (size - 1)
    along = np.arange(start, start + length, dtype=np.intp) % period
    return np.minimum(along, period - along)


def plan(width: int, height: int, widest: int, highest: int, align: int = 1) -> list[list[Region]]:
    """Rows of regions of one shape, at most `widest` x `highest`, that cover the picture and start at multiples of
    `align`, for which they may be larger by up to 2 * align - 2.

    Equal shapes let a backend plan its memory once. Where a side does not divide, the last regions overlap those
    before them by a few pixels, which are computed twice with the same result.
    """
    columns, wide = _cuts(width, widest, align)
    rows, high = _cuts(height, highest, align)
    return [[Region(left, top, wide, high) for left in columns] for top in rows]


def _cuts(size: int, tile: int, align: int) -> tuple[list[int], int]:
    """Starts and the common length of the fewest pieces of at most `tile`."""
    length = min(size, max(align, math.ceil(size / math.ceil(size / tile))))
    length += (size - length) % align
    step = max(align, length - length % align)
    return [*range(0, size - length, step), size - length], length


def shape(width: int, scale: int, tile: int, sample: int = 1) -> tuple[int, int]:
    """Largest width and height of a tile: `tile` on a side, but lower and wider where a band would need much memory.

    `sample`: its bytes.
    """
    rows = max(LOW, min(tile, BAND_BYTES // (width * 3 * sample * scale**2)))
    return (tile, tile) if rows >= tile else (tile * tile // rows, rows)


def side(pixel_bytes: int, halo: int, memory: int) -> int:
    """Of the largest square tile whose activations, halo included, fit into `memory` bytes; within limits."""
    largest = math.isqrt(memory // pixel_bytes) - 2 * halo
    return max(SMALLEST, min(LARGEST, largest // STEP * STEP))


def layout(network: Network, pixels: Pixels, *, tile: int) -> list[list[Region]]:
    """The rows of tiles of a picture, in the order in which they are enlarged."""
    height, width, _ = pixels.shape
    if isinstance(network, EdgeNetwork):
        return plan(width, height, network.side, network.side, network.align)
    return plan(width, height, *shape(width, network.scale, tile, pixels.dtype.itemsize))


def bands(network: Network, pixels: Pixels, *, tile: int, done: Callable[[int], None]) -> Iterator[Pixels]:
    """The enlargement of (h, w, c), c 1 or 3, from top to bottom as (rows, w * scale, c); together h * scale rows.

    `done` is told every finished tile's pixels and may raise to stop. Grey is shown to the network as three equal
    colours, of which it gives back three that are nearly equal; their mean is the grey.
    """
    height, width, channels = pixels.shape
    scale = network.scale
    halo = Padding.all(network.halo)
    edges = network if isinstance(network, EdgeNetwork) else None
    finished = 0  # input rows; the last band begins with some of the band before where the height does not divide
    for row in layout(network, pixels, tile=tile):
        top, high = row[0].top, row[0].height
        band = np.empty((high * scale, width * scale, channels), pixels.dtype)
        for region in row:
            around = region.add_padding(halo)
            source = around.read(pixels)
            tiled = edges.at_edge(around.beyond(width, height)) if edges else network
            enlarged = guard.enlarge(tiled, source if channels == 3 else source.repeat(3, axis=2))
            replace(region, top=0).scaled(scale).write(enlarged if channels == 3 else grey(enlarged), band)
            done(region.pixels)
        yield band[(finished - top) * scale :]
        finished = top + high


def grey(colours: Pixels) -> Pixels:
    """(h, w, 3) to (h, w, 1): the rounded mean, which of three equal levels is that level."""
    total = colours.sum(axis=2, keepdims=True, dtype=np.uint16 if colours.dtype == BYTES else np.uint32)
    mean: Pixels = ((total + 1) // 3).astype(colours.dtype)
    return mean


def enlarge(network: Network, pixels: Pixels, *, tile: int, done: Callable[[int], None]) -> Pixels:
    """(h, w, c) to (h * scale, w * scale, c), all bands in one array."""
    height, width, channels = pixels.shape
    enlarged = np.empty((height * network.scale, width * network.scale, channels), pixels.dtype)
    top = 0
    for band in bands(network, pixels, tile=tile, done=done):
        enlarged[top : top + band.shape[0]] = band
        top += band.shape[0]
    return enlarged
