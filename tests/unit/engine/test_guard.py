from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine import guard, tiling
from tessera_engine.backends import onnx
from tessera_engine.errors import NetworkFault, NotFinite
from tessera_engine.picture import Pixels

from tests.unit.engine.graphs import root_of_what_is_above

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


@pytest.mark.parametrize("shown", [True, False])
def test_a_graph_whose_numbers_are_not_finite(shown: bool) -> None:
    """With `samples` every such number is seen; without, only a tile that became one level by it."""
    network = onnx.load(root_of_what_is_above(100, shown=shown), 1, 0)
    bright = np.full((6, 5, 3), 181, np.uint8)
    assert (guard.enlarge(network, bright) == 9).all()
    bright[3, 2, 1] = 99
    if shown:
        with pytest.raises(NotFinite, match="not finite"):
            guard.enlarge(network, bright)
    else:
        guard.enlarge(network, bright)
    dark = bright // 2
    with pytest.raises(NetworkFault):
        guard.enlarge(network, dark)


def test_numbers_that_are_finite_the_second_time_are_taken(make_scene: Scene) -> None:
    class Moody(Flaky):
        def enlarge(self, tile: Pixels) -> Pixels:
            if not self.calls:
                self.calls.append(0)
                raise NotFinite("once")
            return super().enlarge(tile)

    network, pixels = Moody(set()), make_scene(20, 20)
    assert np.array_equal(guard.enlarge(network, pixels), pixels[1:-1, 1:-1].repeat(2, axis=0).repeat(2, axis=1))
    assert len(network.calls) == 2


def test_flat_pictures_may_be_flat() -> None:
    flat = np.full((9, 9, 3), 200, np.uint8)
    assert guard.enlarge(Flaky(set()), flat).min() == 200
    nearly = flat.copy()
    nearly[4, 4] = 200 - guard.CONTRAST + 1
    assert guard.plausible(nearly, flat)
    nearly[4, 4] -= 1
    assert not guard.plausible(nearly, flat)
