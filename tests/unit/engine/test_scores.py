from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine import models, tiling
from tessera_engine.enlargement import Enlargement
from tessera_engine.picture import Pixels
from tessera_engine.scores import PEAK, Measured, Scores

Scene = Callable[..., NDArray[np.uint8]]


@dataclass
class Repeating:
    """Repeats every pixel; adds `wrong` to the levels of every second tile."""

    scale: int = 2
    halo: int = 0
    wrong: int = 0
    calls: int = 0

    def enlarge(self, tile: Pixels) -> Pixels:
        self.calls += 1
        changed = tile.astype(int) + (self.wrong if self.calls % 2 else 0)
        return changed.clip(0, 255).astype(np.uint8).repeat(self.scale, axis=0).repeat(self.scale, axis=1)


def quiet(_: int) -> None:
    pass


def scored(network: tiling.Network, pixels: Pixels, tile: int, source: Pixels | None = None) -> Scores:
    scores = Scores()
    enlarged = Enlargement(network, pixels, None, tile, quiet)
    measured = Measured(enlarged, quiet, pixels if source is None else source, scores)
    bands = list(measured.bands())
    assert np.array_equal(np.concatenate([band.pixels for band in bands]), enlarged.whole().pixels)
    return scores


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_comes_back_exactly_has_the_highest_fidelity(channels: int, scale: int, make_scene: Scene) -> None:
    assert scored(Repeating(scale), make_scene(70, 150, channels), 32).fidelity == PEAK


def test_fidelity_is_the_psnr_of_the_averaged_enlargement(make_scene: Scene) -> None:
    network, pixels = models.network(models.DEFAULT.passes(4)[0]), make_scene(90, 170)
    large = tiling.enlarge(network, pixels, tile=256, done=lambda _: None)
    small = np.rint(large.reshape(170, 4, 90, 4, 3).mean(axis=(1, 3)))
    wanted = 10 * np.log10(255**2 / np.mean((small - pixels)[::2] ** 2))
    got = scored(network, pixels, 48).fidelity
    assert got == pytest.approx(wanted, abs=0.05)  # halves are rounded in other ways
    assert 30 < wanted < PEAK


def test_fidelity_is_told_from_the_first_source_of_several_passes(make_scene: Scene) -> None:
    pixels = make_scene(40, 50)
    twice = pixels.repeat(2, axis=0).repeat(2, axis=1)
    assert scored(Repeating(4), twice, 32, source=pixels).fidelity == PEAK


def test_nonsense_is_far_from_the_source(make_scene: Scene) -> None:
    @dataclass
    class Upside(Repeating):
        def enlarge(self, tile: Pixels) -> Pixels:
            return 255 - super().enlarge(tile)

    fidelity = scored(Upside(), make_scene(60, 60), 60).fidelity
    assert fidelity is not None and fidelity < 12


def test_exact_tiles_have_no_seam(make_scene: Scene) -> None:
    for scale in (2, 4):
        seam = scored(models.network(models.DEFAULT.passes(scale)[0]), make_scene(200, 180), 32).seam
        assert seam == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("size", "tile"), [((200, 40), 50), ((40, 200), 50), ((170, 130), 48)])
def test_tiles_that_differ_are_seen_both_ways(size: tuple[int, int], tile: int, make_scene: Scene) -> None:
    """Columns of tiles, rows of tiles, and tiles that overlap because the side does not divide."""
    pixels = make_scene(*size)
    right, wrong = (scored(Repeating(wrong=wrong), pixels, tile).seam for wrong in (0, 30))
    assert right is not None and wrong is not None
    assert right == pytest.approx(1, abs=0.12)
    assert wrong > 1.3


def test_without_borders_or_contrast_there_is_no_seam_to_tell(make_scene: Scene) -> None:
    assert scored(Repeating(), make_scene(30, 20), 64).seam is None
    assert scored(Repeating(), np.full((80, 80, 3), 9, np.uint8), 32).seam is None
