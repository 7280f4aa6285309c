"""Sharpening: an unsharp mask in brightness that draws no halos.

What a Gaussian blur takes away is added again, `amount` times, to the brightness (BT.601 luma); all three colours get
the same, so no hue appears at edges. A pixel does not leave the range of its 3 x 3 neighbours by more than OVERSHOOT of
that range, so an edge becomes steeper but gets no bright and dark line along it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tessera_engine.derived import Filtered
from tessera_engine.picture import Floats, Pixels, Raster, levels, quantised
from tessera_engine.tiling import mirrored

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
OVERSHOOT = np.float32(0.1)


def sharpened(source: Raster, radius: float, amount: float, threshold: float, done: Callable[[int], None]) -> Raster:
    """`radius` is the blur's sigma in pixels, `threshold` in levels: smaller differences are left."""
    kernel = gaussian(radius)
    halo = kernel.size // 2

    def change(window: Pixels, top: int) -> Pixels:
        colours = levels(window)
        luma = brightness(colours)
        inner = luma[halo:-halo]
        detail = inner - blurred(luma, kernel)
        detail = np.sign(detail) * np.maximum(np.abs(detail) - np.float32(threshold), 0)
        lowest, highest = extremes(luma[halo - 1 : luma.shape[0] - halo + 1])
        margin = (highest - lowest) * OVERSHOOT
        wanted = (inner + detail * np.float32(amount)).clip(lowest - margin, highest + margin)
        return quantised(colours[halo:-halo] + (wanted - inner)[:, :, None], window.dtype)

    return Filtered(source, done, change, halo) if amount else source


def brightness(colours: Floats) -> Floats:
    """(h, w, c) to (h, w), 0..255."""
    luma: Floats = colours[:, :, 0] if colours.shape[2] == 1 else colours @ LUMA
    return luma


def gaussian(sigma: float) -> Floats:
    """Weights that sum up to 1, to three sigmas on either side."""
    reach = max(1, int(np.ceil(3 * sigma)))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel: Floats = (weights / weights.sum()).astype(np.float32)
    return kernel


def blurred(plane: Floats, kernel: Floats) -> Floats:
    """(rows + 2 * halo, w) to (rows, w), mirrored at left and right; halo is half the kernel."""
    halo = kernel.size // 2
    rows, width = plane.shape[0] - 2 * halo, plane.shape[1]
    down = np.zeros((rows, width), np.float32)
    for step, weight in enumerate(kernel):
        down += plane[step : step + rows] * weight
    wide = down[:, mirrored(-halo, width + 2 * halo, width)]
    across = np.zeros((rows, width), np.float32)
    for step, weight in enumerate(kernel):
        across += wide[:, step : step + width] * weight
    return across


def extremes(plane: Floats) -> tuple[Floats, Floats]:
    """(rows + 2, w) to lowest and highest of 3 x 3, (rows, w) each."""
    wide = plane[:, mirrored(-1, plane.shape[1] + 2, plane.shape[1])]
    lowest, highest = wide[1:-1, 1:-1], wide[1:-1, 1:-1]
    for down in (slice(None, -2), slice(1, -1), slice(2, None)):
        for across in (slice(None, -2), slice(1, -1), slice(2, None)):
            lowest = np.minimum(lowest, wide[down, across])
            highest = np.maximum(highest, wide[down, across])
    return lowest, highest
