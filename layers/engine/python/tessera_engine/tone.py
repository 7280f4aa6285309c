"""Tones and colours: one curve per colour, then saturation. What is automatic is measured on a small picture.

Levels: brightness is stretched so that CLIPPED of the pixels become black and as many white, within limits: fog may be
meant. Balance: the colour of the light is that of the picture's nearly grey pixels by the shades-of-grey norm
(G. Finlayson, E. Trezzi, "Shades of Gray and Colour Constancy", Color Imaging Conference 2004), so that a meadow is not
taken for green light; it is divided out in linear light (von Kries). Exposure and temperature are gains in linear
light as well (IEC 61966-2-1); contrast turns the sRGB curve around its middle without clipping.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from tessera.recipe import Tone

from tessera_engine.derived import Filtered
from tessera_engine.light import sample
from tessera_engine.picture import Picture, Pixels, Raster, most, quantised
from tessera_engine.sharpen import LUMA

CLIPPED = 0.002  # of the pixels at either end
BLACKEST, WHITEST = 0.2, 0.65  # the most that is taken for black, the least for white, of full brightness
NORM = 6  # Finlayson and Trezzi's best
NEARLY_GREY = 0.25  # chroma over the largest colour
ENOUGH = 0.05  # of the pixels: fewer nearly grey ones say nothing of the light
CAST = 1.35  # the largest gain that balance gives a colour against green
WARMTH = 0.35  # of a temperature of 1: red and blue by 2 to the power of it, in opposite directions

Curve = NDArray[np.float64]  # 0..1 for every sample from 0 to the largest


def toned(source: Raster, options: Tone, done: Callable[[int], None]) -> Raster:
    """The source itself where nothing changes. Its bands go by twice where something has to be measured."""
    largest = most(source.dtype)
    curves = np.stack([np.linspace(0, 1, largest + 1)] * source.channels)
    if options.levels or options.balance:
        small = sample(source, done)
        curves = stretched(balanced(curves, small, options.balance), small, options.levels)
    curves = asked_for(curves, options)
    saturation = options.saturation if source.channels == 3 else 0.0
    table = np.rint(curves * largest).astype(source.dtype)
    if not saturation and (table == np.arange(largest + 1)).all():
        return source

    def change(pixels: Pixels, top: int) -> Pixels:
        if not saturation:
            return np.stack([table[channel][pixels[:, :, channel]] for channel in range(pixels.shape[2])], axis=2)
        fine = (curves * 255).astype(np.float32)
        colours = np.stack([fine[channel][pixels[:, :, channel]] for channel in range(3)], axis=2)
        luma = (colours @ LUMA)[:, :, None]
        return quantised(luma + (colours - luma) * np.float32(1 + saturation), pixels.dtype)

    return Filtered(source, done, change)


def balanced(curves: Curve, small: Picture, share: float) -> Curve:
    """Without the cast of the light; `share` of it on a logarithmic scale."""
    gains = np.ones(1) if small.channels == 1 else cast(small) ** -share
    return encoded(decoded(curves) * gains[:, None])


def cast(small: Picture) -> NDArray[np.float64]:
    """The light's red, green and blue over their luma; ones where the picture does not say."""
    colours = visible(small).astype(np.float64) / 255
    top, low = colours.max(axis=1), colours.min(axis=1)
    grey = (top - low <= NEARLY_GREY * top) & (low > 0.05) & (top < 0.98)  # neither noise nor clipped
    if grey.sum() < ENOUGH * max(1, len(colours)):
        return np.ones(3)
    light = (decoded(colours[grey]) ** NORM).mean(axis=0) ** (1 / NORM)
    light = (light / light[1]).clip(1 / CAST, CAST)
    found: NDArray[np.float64] = light / (light @ LUMA)
    return found


def stretched(curves: Curve, small: Picture, share: float) -> Curve:
    """Contrast up to black and white: `share` of what is missing. All colours alike, so hues stay."""
    seen = visible(small).astype(np.intp) * (curves.shape[1] // 255)  # 8 bits: by 1 or 257, for curves of 256 or 65,536
    if not share or not len(seen):
        return curves
    colours = np.stack([curve[seen[:, channel]] for channel, curve in enumerate(curves)], axis=1)
    luma = colours @ LUMA if len(curves) == 3 else colours[:, 0]
    black = share * min(BLACKEST, float(np.quantile(luma, CLIPPED)))
    white = 1 - share * (1 - max(WHITEST, float(np.quantile(luma, 1 - CLIPPED))))
    return ((curves - black) / (white - black)).clip(0, 1)


def asked_for(curves: Curve, options: Tone) -> Curve:
    """Exposure and temperature in linear light, then contrast."""
    if options.exposure or options.temperature:
        warmth = 2.0 ** (WARMTH * options.temperature * np.array([1, 0, -1]))
        warmth /= warmth @ LUMA
        gains = 2.0**options.exposure * (warmth if len(curves) == 3 else np.ones(1))
        curves = encoded(decoded(curves) * gains[:, None])
    if options.contrast:
        power = 2.0**options.contrast  # of x : 1 - x; the slope in the middle
        up, down = curves**power, (1 - curves) ** power
        curves = up / (up + down)
    return curves


def visible(small: Picture) -> Pixels:
    """(n, c): the pixels that are not transparent."""
    return small.pixels.reshape(-1, small.channels) if small.alpha is None else small.pixels[small.alpha > 0]


def decoded(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's curve to linear light, 0..1."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def encoded(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light to sRGB's curve, 0..1; more is clipped."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
