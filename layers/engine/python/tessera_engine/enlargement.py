"""A picture that will be larger: its bands are computed when they are asked for, and then forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tessera_engine import tiling
from tessera_engine.picture import Alpha, AlphaRows, Band, Depth, Picture, Pixels, gathered


@dataclass(frozen=True)
class Enlargement:
    """`pixels` are enlarged by the network. `alpha` may be smaller than they are, where other networks ran before."""

    network: tiling.Network
    pixels: Pixels
    alpha: Alpha | None
    tile: int
    done: Callable[[int], None]

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1]) * self.network.scale

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0]) * self.network.scale

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def has_alpha(self) -> bool:
        return self.alpha is not None

    @property
    def dtype(self) -> Depth:
        return self.pixels.dtype

    @property
    def borders(self) -> tuple[int, ...]:
        """Columns of the enlargement at which a tile begins, the first one's apart."""
        first_row = tiling.layout(self.network, self.pixels, tile=self.tile)[0]
        return tuple(region.left * self.network.scale for region in first_row[1:])

    def bands(self) -> Iterator[Band]:
        rows = None if self.alpha is None else AlphaRows(self.alpha, self.height // self.alpha.shape[0])
        top = 0
        for pixels in tiling.bands(self.network, self.pixels, tile=self.tile, done=self.done):
            yield Band(pixels, rows.read(top, pixels.shape[0]) if rows else None)
            top += pixels.shape[0]

    def whole(self) -> Picture:
        return gathered(self)
