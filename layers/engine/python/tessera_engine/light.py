"""More light for dark pictures: brightness times a gain that follows the illumination of the scene.

The illumination of a pixel is estimated from the largest of its colours (X. Guo, Y. Li, H. Ling, "LIME: Low-Light Image
Enhancement via Illumination Map Estimation", IEEE Trans. Image Processing 26(2), 2017), smoothed by a guided filter
whose coefficients come from a small picture (K. He, J. Sun, "Fast Guided Filter", arXiv:1505.00996), so it keeps to the
edges of objects and draws no halos. Illumination T becomes T to the power gamma; the gain is the same for all three
colours, which keeps hue and saturation, and nearly the same within an object, which keeps its texture's contrast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tessera_engine.derived import Filtered
from tessera_engine.picture import Floats, Picture, Pixels, Raster, levels, most, quantised
from tessera_engine.preview import Preview

SAMPLE = 512  # pixels on the longer side of the small picture
REACH = 0.02  # of the longer side: the guided filter's radius
EDGE = 0.05  # of full brightness: a step above that is an edge, and is kept
BRIGHT = 0.34  # mean illumination of a picture that has light enough; on a logarithmic scale, as eyes see it
GAMMA = 0.4  # the least: what is at 5 % comes to 30 %
DARKEST = 0.03  # illumination; below that a gain would show nothing but noise


@dataclass(frozen=True)
class Illumination:
    """T = a * V + b, with V the largest colour: the guided filter's coefficients, as small images of mode F."""

    slope: Image.Image
    shift: Image.Image

    @classmethod
    def of(cls, small: Picture) -> Illumination:
        value = largest(small.pixels)
        radius = max(1, round(REACH * max(value.shape)))
        mean, square = box_mean(value, radius), box_mean(np.square(value), radius)
        variance: Floats = np.maximum(square - mean * mean, 0).astype(np.float32)
        slope: Floats = variance / (variance + np.float32(EDGE**2))
        shift: Floats = mean - slope * mean
        return cls(*(Image.fromarray(box_mean(plane, radius)) for plane in (slope, shift)))

    def read(self, value: Floats, top: int, height: int) -> Floats:
        """T of (rows, w) from row `top` on of a picture of `height` rows, 0..1, nowhere below `value`."""
        slope, shift = (self._rows(plane, value.shape, top, height) for plane in (self.slope, self.shift))
        light: Floats = np.maximum(slope * value + shift, value)
        return light

    def _rows(self, plane: Image.Image, shape: tuple[int, ...], top: int, height: int) -> Floats:
        share = plane.height / height
        box = (0, top * share, plane.width, min(plane.height, (top + shape[0]) * share))
        return np.asarray(plane.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box))


def lit(source: Raster, intensity: float, done: Callable[[int], None]) -> Raster:
    """The source itself where it has light enough. Its bands go by twice: first the light is measured."""
    small = sample(source, done)
    gamma = exponent(small, intensity)
    if gamma == 1:
        return source
    illumination = Illumination.of(small)

    def change(pixels: Pixels, top: int) -> Pixels:
        light = np.maximum(illumination.read(largest(pixels), top, source.height), np.float32(DARKEST))
        gain = light ** np.float32(gamma - 1)
        return quantised(levels(pixels) * gain[:, :, None], pixels.dtype)

    return Filtered(source, done, change)


def sample(source: Raster, done: Callable[[int], None]) -> Picture:
    """The source at SAMPLE pixels on its longer side, not enlarged, in 8 bits."""
    preview = Preview(source, SAMPLE)
    for band in source.bands():
        done(0)
        preview.write(band)
    return preview.finish()


def exponent(small: Picture, intensity: float) -> float:
    """Gamma, 1 for nothing: that which brings the mean illumination to BRIGHT.

    Transparent pixels do not count.
    """
    value = largest(small.pixels)
    weight = np.ones_like(value) if small.alpha is None else small.alpha.astype(np.float32)
    if not weight.any():
        return 1.0
    mean = float(np.exp(np.average(np.log(np.maximum(value, DARKEST)), weights=weight)))
    if mean >= BRIGHT:
        return 1.0
    wanted = max(GAMMA, float(np.log(BRIGHT) / np.log(mean)))
    return 1 - (1 - wanted) * intensity


def largest(pixels: Pixels) -> Floats:
    """(h, w, c) to (h, w), 0..1."""
    value: Floats = pixels.max(axis=2).astype(np.float32) / np.float32(most(pixels.dtype))
    return value


def box_mean(plane: Floats, radius: int) -> Floats:
    """The mean of a square of 2 * radius + 1 pixels, of as many as there are at the edges."""
    total = np.pad(plane, ((1, 0), (1, 0))).cumsum(0, np.float64).cumsum(1)
    rows, columns = (_span(size, radius) for size in plane.shape)
    sums = total[rows[1][:, None], columns[1]] - total[rows[0][:, None], columns[1]]
    sums += total[rows[0][:, None], columns[0]] - total[rows[1][:, None], columns[0]]
    count = (rows[1] - rows[0])[:, None] * (columns[1] - columns[0])
    mean: Floats = (sums / count).astype(np.float32)
    return mean


def _span(size: int, radius: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    place = np.arange(size)
    return np.maximum(place - radius, 0), np.minimum(place + radius + 1, size)
