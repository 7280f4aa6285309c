"""Pictures that are made of another picture's bands while these go by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tessera_engine.picture import STRIP, Alpha, Band, Depth, Picture, Pixels, Raster, gathered
from tessera_engine.tiling import mirrored


@dataclass(frozen=True)
class Derived(ABC):
    """The source's own facts, where a subclass does not say otherwise.

    `done` is told 0 at every band: no network has read anything, but a listener can see that it is late, and raise.
    """

    source: Raster
    done: Callable[[int], None]

    @property
    def width(self) -> int:
        return self.source.width

    @property
    def height(self) -> int:
        return self.source.height

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def has_alpha(self) -> bool:
        return self.source.has_alpha

    @property
    def dtype(self) -> Depth:
        return self.source.dtype

    @abstractmethod
    def bands(self) -> Iterator[Band]: ...

    def whole(self) -> Picture:
        return gathered(self)


Change = Callable[[Pixels, int], Pixels]
"""(rows + 2 * halo, w, c) and the number of the first row inside the halo -> (rows, w, c)."""


@dataclass(frozen=True)
class Filtered(Derived):
    """Every strip of at most STRIP rows is changed with `halo` rows around it, mirrored at the picture's edges.

    Alpha is carried. What `change` gives for a row must not depend on where a strip begins.
    """

    change: Change
    halo: int = 0

    def bands(self) -> Iterator[Band]:
        for top, window, alpha in windows(self.source, self.halo):
            self.done(0)
            yield Band(self.change(window, top), alpha)


def windows(source: Raster, halo: int) -> Iterator[tuple[int, Pixels, Alpha | None]]:
    """First row, (rows + 2 * halo, w, c) pixels, and the (rows, w) alpha of strip after strip."""
    kept = np.empty((0, source.width, source.channels + source.has_alpha), source.dtype)
    first = top = 0  # the numbers of the first kept row, and of the next strip's
    for band in source.bands():
        kept = np.concatenate((kept, band.samples()))
        have = first + kept.shape[0]
        while top < have and (have == source.height or top + STRIP + halo <= have):
            bottom = min(top + STRIP, source.height)
            rows = kept[mirrored(top - halo, bottom - top + 2 * halo, source.height) - first]
            inner = rows[halo : halo + bottom - top]
            yield top, rows[:, :, : source.channels], inner[:, :, -1] if source.has_alpha else None
            top = bottom
        gone = max(0, top - halo) - first
        kept, first = kept[gone:], first + gone
