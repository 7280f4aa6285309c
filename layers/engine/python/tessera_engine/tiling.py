"""Enlarge a picture piece by piece, exactly as if it had been done whole.

A network's output pixel depends on input pixels at most `halo` away. A tile is read with that much around it and the
network gives back its middle only, so seams do not exist. Beyond the picture's edge the picture is mirrored (the edge
pixel itself is not repeated), whatever the tiling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tessera_engine.picture import Pixels

TILE = 256  # px; about 60 MB of activations for the default network, and 6 % of the work goes to halos


class Network(Protocol):
    """`enlarge`: (1) uint8 (h + 2 * halo, w + 2 * halo, 3) to uint8 (h * scale, w * scale, 3)."""

    @property
    def scale(self) -> int: ...

    @property
    def halo(self) -> int: ...

    def enlarge(self, tile: Pixels) -> Pixels: ...


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


def plan(width: int, height: int, tile: int) -> list[Region]:
    """Regions of one shape, at most `tile` on a side, that cover the picture, row by row.

    Equal shapes let a backend plan its memory once. Where a side does not divide, the last regions overlap those
    before them by a few pixels, which are computed twice with the same result.
    """
    columns, wide = _cuts(width, tile)
    rows, high = _cuts(height, tile)
    return [Region(left, top, wide, high) for top in rows for left in columns]


def _cuts(size: int, tile: int) -> tuple[list[int], int]:
    """Starts and the common length of the fewest pieces of at most `tile`."""
    pieces = math.ceil(size / tile)
    length = math.ceil(size / pieces)
    return [min(number * length, size - length) for number in range(pieces)], length


def enlarge(network: Network, pixels: Pixels, *, tile: int, done: Callable[[int], None]) -> Pixels:
    """(h, w, 3) to (h * scale, w * scale, 3). `done` is told every finished tile's pixels and may raise to stop."""
    height, width, _ = pixels.shape
    scale = network.scale
    enlarged = np.empty((height * scale, width * scale, 3), np.uint8)
    halo = Padding.all(network.halo)
    for region in plan(width, height, tile):
        region.scaled(scale).write(network.enlarge(region.add_padding(halo).read(pixels)), enlarged)
        done(region.pixels)
    return enlarged
