"""Noise, measured and removed without a network: thresholded cosine transforms of overlapping blocks.

Removal: G. Yu, G. Sapiro, "DCT Image Denoising: a Simple and Effective Image Denoising Algorithm", Image Processing On
Line 1 (2011): colours are decorrelated by an orthonormal transform, every 8 x 8 block loses the coefficients below a
multiple of the noise's sigma, and what the overlapping blocks say of a pixel is averaged. A block that needs fewer
coefficients is believed more (O. Guleryuz, IEEE Trans. Image Processing 16(12), 2007). White Gaussian noise is assumed.

Measurement: the fine coefficients of the flattest blocks (N. Ponomarenko et al., "An Automatic Approach to Lossy
Compression of AVIRIS Images", IGARSS 2007), so that texture is not taken for noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tessera_engine.derived import Filtered
from tessera_engine.picture import Floats, Pixels, Raster, levels, most, quantised
from tessera_engine.tiling import mirrored

SIDE = 8  # pixels of a block; also the halo: no block that covers a pixel reaches further; divides STRIP, COLUMNS
# Eight of the 64 places of the grid, no two in a row or column: 0.05 dB below 16 on a square grid, in half the time.
SHIFTS = tuple((down, 5 * down % SIDE) for down in range(SIDE))
THRESHOLD, COLOUR_THRESHOLD = 2.7, 3.2  # sigmas; eyes see lost detail in brightness, and blotches in colours
COLUMNS = 512  # that are worked on at once: about 30 MB of floats

FINE = 9  # sum of a coefficient's two frequencies (0 to 7 each) from which on pictures have little
FLATTEST = 0.03  # of the blocks: the noise is read off there ...
BIAS = 0.86  # ... where it is below its average: measured on white noise over 8 photographs, sigma 5 to 25
GRAIN = 1.0  # level: less is no noise; good photographs have it
MOST = 60.0  # levels; more is a picture of noise
# Measured on 6 pictures of Kodak: the best sigmas are 3 at quality 90, 4 at 85, 6 at 75, 8 at 60, 9 at 40, 12 at 25.
CODED, LOSSY = 8.0, 92  # levels, where the tables are the standard's; the quality above which nothing is won
UNCLIPPED = (3, 252)  # levels; noise that black or white has cut off says nothing


def _cosines() -> Floats:
    """The orthonormal DCT-II of 8 x 8 pixels as one matrix: (64 coefficients, 64 pixels)."""
    place = np.arange(SIDE)
    line = np.sqrt(2 / SIDE) * np.cos((2 * place[None] + 1) * place[:, None] * np.pi / (2 * SIDE))
    line[0] /= np.sqrt(2)
    matrix: Floats = np.kron(line, line).astype(np.float32)
    return matrix


COSINES = _cosines()
FREQUENCY = (np.arange(SIDE)[:, None] + np.arange(SIDE)[None]).ravel()
# Orthonormal, so white noise stays white: brightness, red against blue, green against both.
DECORRELATED: Floats = np.array(
    [np.full(3, 3**-0.5), np.array([1, 0, -1]) * 2**-0.5, np.array([1, -2, 1]) * 6**-0.5], np.float32
)


def denoised(
    source: Raster, strength: int, done: Callable[[int], None], *, artifacts: float = 0.0, quality: int | None = None
) -> Raster:
    """`strength` per cent of the way to the denoised picture; the source itself where no noise is found.

    `artifacts`, 0 to 1, of the way to a picture without those of a JPEG of that quality, where they are more than the
    noise. The source's bands go by twice: first the noise is measured.
    """
    sigma, share = noise(source, done) if strength else 0.0, np.float32(strength / 100)
    if artifacts and (coded := quantisation(quality)) > sigma:
        sigma, share = coded, np.float32(artifacts)
    if not sigma:
        return source

    def change(window: Pixels, top: int) -> Pixels:
        inner = levels(window[SIDE:-SIDE])
        clean = inner + (removed(window, sigma) - inner) * share
        return quantised(clean, window.dtype)

    return Filtered(source, done, change, SIDE)


def quantisation(quality: int | None) -> float:
    """Sigma that suits what a JPEG of that quality has lost, 0 where that is not worth it, or it is no JPEG."""
    if quality is None or quality > LOSSY:
        return 0.0
    return CODED * float(np.sqrt(50 / quality if quality < 50 else 2 - quality / 50))  # libjpeg's factor of its tables


def noise(source: Raster, done: Callable[[int], None]) -> float:
    """Standard deviation of the noise above GRAIN in levels, 0 to MOST; 0 where all blocks are black, white or few."""
    found: list[Floats] = []
    for band in source.bands():
        done(0)
        found.append(deviations(band.pixels))
    blocks = np.concatenate(found)
    if not blocks.size:
        return 0.0
    sigma = float(np.quantile(blocks, FLATTEST)) / BIAS
    return min(MOST, float(np.sqrt(max(0.0, sigma**2 - GRAIN**2))))


def deviations(pixels: Pixels) -> Floats:
    """Root mean square of the fine coefficients of every whole block that is neither black nor white anywhere."""
    rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    inner = pixels[: rows * SIDE, : columns * SIDE]
    if not inner.size:
        return np.empty(0, np.float32)
    whole = inner.reshape(rows, SIDE, columns, SIDE, -1).transpose(0, 2, 4, 1, 3).reshape(rows * columns, -1, SIDE**2)
    lowest, highest = whole.min(axis=(1, 2)), whole.max(axis=(1, 2))
    step = most(pixels.dtype) // 255
    blocks = levels(whole[(lowest >= UNCLIPPED[0] * step) & (highest <= UNCLIPPED[1] * step)])
    if blocks.shape[1] == 3:
        blocks = DECORRELATED @ blocks
    fine: Floats = blocks @ COSINES[FREQUENCY >= FINE].T
    found: Floats = np.sqrt(np.square(fine).mean(axis=(1, 2)))
    return found


def removed(window: Pixels, sigma: float) -> Floats:
    """(rows + 16, w, c) to (rows, w, c): the picture without noise of standard deviation `sigma`, not rounded."""
    rows, width, channels = window.shape[0] - 2 * SIDE, window.shape[1], window.shape[2]
    clean = np.empty((rows, width, channels), np.float32)
    for left in range(0, width, COLUMNS):
        wide = min(COLUMNS, width - left)
        part = levels(window[:, mirrored(left - SIDE, wide + 2 * SIDE, width)])
        planes = np.moveaxis(part @ DECORRELATED.T if channels == 3 else part, 2, 0)
        inner = np.moveaxis(_planes(planes, sigma), 0, 2)[SIDE : SIDE + rows, SIDE : SIDE + wide]
        clean[:, left : left + wide] = inner @ DECORRELATED if channels == 3 else inner
    return clean


def _planes(planes: Floats, sigma: float) -> Floats:
    """(c, h, w) to the same; right where 8 pixels lie on all sides."""
    count, height, width = planes.shape
    thresholds = np.full((count, 1, 1), COLOUR_THRESHOLD * sigma, np.float32)
    thresholds[0] = THRESHOLD * sigma
    total, weights = np.zeros(planes.shape, np.float32), np.zeros(planes.shape, np.float32)
    for top, left in SHIFTS:
        down, across = (height - top) // SIDE, (width - left) // SIDE
        place = (slice(None), slice(top, top + down * SIDE), slice(left, left + across * SIDE))
        grid = (count, down, SIDE, across, SIDE)
        blocks = planes[place].reshape(grid).transpose(0, 1, 3, 2, 4).reshape(count, -1, SIDE**2)
        blocks, weight = _thresholded(blocks, thresholds)
        back = blocks.reshape(count, down, across, SIDE, SIDE).transpose(0, 1, 3, 2, 4)
        total[place] += back.reshape(count, down * SIDE, across * SIDE)
        weights[place] += weight.reshape(count, down, across).repeat(SIDE, axis=1).repeat(SIDE, axis=2)
    return np.divide(total, weights, out=total, where=weights > 0)


def _thresholded(blocks: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """(c, n, 64) pixels to (c, n, 64) pixels times their weight, and the (c, n, 1) weights. The mean is kept."""
    coefficients = blocks @ COSINES.T
    keep = np.abs(coefficients) > thresholds
    keep[:, :, 0] = True
    coefficients *= keep
    weight: Any = np.float32(1) / keep.sum(axis=2, keepdims=True, dtype=np.float32)
    return (coefficients @ COSINES) * weight, weight
