"""A network's answer is looked at before it becomes part of a picture.

A backend that sees numbers that are not finite says so. Where it cannot, they have become one level when they were
turned into bytes; memory that was not written is mostly one level too. A tile with contrast whose enlargement has none
is therefore wrong. Either way it is computed again once, because a fault of the machine passes; a fault of the weights
stays, and is an error that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tessera_engine.errors import NetworkFault, NotFinite
from tessera_engine.picture import Pixels, most

if TYPE_CHECKING:
    from tessera_engine.tiling import Network

CONTRAST = 32  # levels between the darkest and the lightest sample of a tile from which its enlargement must have some
FAULT = "The network gave an empty picture for a part of this one, twice."


def enlarge(network: Network, tile: Pixels) -> Pixels:
    """`network.enlarge`, checked; NetworkFault when it fails twice."""
    for last in (False, True):
        try:
            enlarged = network.enlarge(tile)
        except NotFinite:
            if last:
                raise
            continue
        if plausible(tile[network.halo : -network.halo or None, network.halo : -network.halo or None], enlarged):
            return enlarged
    raise NetworkFault(FAULT)


def plausible(tile: Pixels, enlarged: Pixels) -> bool:
    if enlarged.min() != enlarged.max():
        return True
    return int(tile.max()) - int(tile.min()) < CONTRAST * most(tile.dtype) // 255
