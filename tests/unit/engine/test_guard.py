from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine import guard, tiling
from tessera_engine.errors import NetworkFault
from tessera_engine.picture import Pixels

Scene = Callable[..., NDArray[np.uint8]]


@dataclass
class Flaky:
    """Doubles every pixel, but gives nothing at the calls that are numbered in `empty`."""

    empty: set[int]
    scale: int = 2
    halo: int = 1
    calls: list[int] = field(default_factory=list)

    def enlarge(self, tile: Pixels) -> Pixels:
        self.calls.append(len(self.calls))
        inner = tile[1:-1, 1:-1].repeat(2, axis=0).repeat(2, axis=1)
        return np.zeros_like(inner) if self.calls[-1] in self.empty else inner


def test_an_empty_tile_is_computed_again(make_scene: Scene) -> None:
    network, pixels = Flaky({1, 4}), make_scene(64, 48)
    enlarged = tiling.enlarge(network, pixels, tile=24, done=lambda _: None)
    assert np.array_equal(enlarged, pixels.repeat(2, axis=0).repeat(2, axis=1))
    assert len(network.calls) == 6 + 2


def test_a_tile_that_stays_empty_is_a_failure_that_says_so(make_scene: Scene) -> None:
    with pytest.raises(NetworkFault, match="empty") as caught:
        tiling.enlarge(Flaky({2, 3}), make_scene(64, 48), tile=24, done=lambda _: None)
    assert caught.value.to_job_error().code == "internal" and caught.value.retryable


def test_flat_pictures_may_be_flat() -> None:
    flat = np.full((9, 9, 3), 200, np.uint8)
    assert guard.enlarge(Flaky(set()), flat).min() == 200
    nearly = flat.copy()
    nearly[4, 4] = 200 - guard.CONTRAST + 1
    assert guard.plausible(nearly, flat)
    nearly[4, 4] -= 1
    assert not guard.plausible(nearly, flat)
