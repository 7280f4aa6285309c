from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine import models, tiling
from tessera_engine.errors import TooLate
from tessera_engine.tiling import Padding, Region, mirrored, plan

Scene = Callable[..., NDArray[np.uint8]]


def ignore(_: int) -> None:
    pass


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (64, 64), (65, 63), (127, 200), (513, 9)])
@pytest.mark.parametrize("tile", [1, 7, 64, 256])
def test_a_plan_covers_the_picture_with_equal_regions(width: int, height: int, tile: int) -> None:
    seen = np.zeros((height, width), bool)
    regions = [region for row in plan(width, height, tile, tile) for region in row]
    for region in regions:
        assert region.left >= 0 and region.top >= 0
        assert region.left + region.width <= width and region.top + region.height <= height
        region.write(np.ones((region.height, region.width), bool), seen)  # type: ignore[arg-type]
    assert seen.all()
    assert len({(region.width, region.height) for region in regions}) == 1
    assert max(regions[0].width, regions[0].height) <= tile
    assert sum(region.pixels for region in regions) < width * height + len(regions) * (width + height)


@pytest.mark.parametrize("size", [1, 2, 3, 9, 40])
def test_mirroring_is_numpys_reflect(size: int) -> None:
    line = np.arange(size)
    assert (mirrored(-8, size + 16, size) == np.pad(line, 8, mode="reflect")).all()


def test_a_region_reads_around_itself() -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(4, 3, 3)
    region = Region(1, 1, 1, 2).add_padding(Padding(1, 2, 1, 1))
    assert region == Region(0, -1, 3, 5)
    assert (region.read(pixels) == pixels[[1, 0, 1, 2, 3]]).all()
    assert Region(1, 2, 3, 4).scaled(4) == Region(4, 8, 12, 16)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3), (2, 2), (33, 5), (97, 61), (150, 131)])
@pytest.mark.parametrize("tile", [13, 48, 64, 97])
def test_tiled_equals_whole_to_the_last_bit(scale: int, width: int, height: int, tile: int, make_scene: Scene) -> None:
    (weights,) = models.DEFAULT.passes(scale)
    network, pixels = models.network(weights), make_scene(width, height)
    whole = tiling.enlarge(network, pixels, tile=10_000, done=ignore)
    assert whole.shape == (height * scale, width * scale, 3)
    assert np.array_equal(tiling.enlarge(network, pixels, tile=tile, done=ignore), whole)


def test_a_tile_fits_into_the_memory() -> None:
    for weights in models.DEFAULT.weights:
        for memory in (1_000_000, 10_000_000, tiling.MEMORY, 300_000_000):
            side = tiling.side(weights.pixel_bytes, weights.halo, memory)
            inside = (side + 2 * weights.halo) ** 2 * weights.pixel_bytes <= memory
            assert inside or side == tiling.SMALLEST
    x4 = models.DEFAULT.weights[1]
    assert tiling.side(x4.pixel_bytes, x4.halo, tiling.MEMORY) == tiling.TILE
    assert tiling.side(x4.pixel_bytes, x4.halo, 10**12) == tiling.LARGEST
    assert tiling.side(x4.pixel_bytes, x4.halo, 0) == tiling.SMALLEST


def test_progress_counts_pixels_and_may_stop_the_work(make_scene: Scene) -> None:
    network, pixels = models.network(models.DEFAULT.passes(2)[0]), make_scene(64, 48)
    told: list[int] = []
    tiling.enlarge(network, pixels, tile=16, done=told.append)
    assert told == [256] * 12

    def stop(_: int) -> None:
        raise TooLate("enough")

    with pytest.raises(TooLate):
        tiling.enlarge(network, pixels, tile=16, done=stop)
