"""A picture brought to another size while its bands go by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image

from tessera_engine.encoders import image_of
from tessera_engine.picture import Band, Picture, Raster, gathered

LOBES = 3  # of Pillow's Lanczos kernel: it reads so many pixels of the larger picture's grid to each side
SMALL = 16  # rows that may be waited for

WEIGHED = {"LA": "La", "RGBA": "RGBa"}  # with colours multiplied by alpha: transparent pixels weigh nothing
PLAIN = {weighed: mode for mode, weighed in WEIGHED.items()}


@dataclass(frozen=True)
class Resampled:
    """`source` at `width` x `height` with Pillow's Lanczos; only the rows that the kernel reads are held.

    The levels are those of Pillow's `resize` of the whole picture, across first (where both sides change by one
    factor Pillow does so too, unless the picture is over 100 times as tall as wide; each pass rounds to bytes). Where
    the sides' ratio has a small denominator they are equal; else float32 cannot hold the place of a row, and a level,
    of colours multiplied by alpha, may differ by one. Sizes are the caller's to check: above 0.
    """

    source: Raster
    width: int
    height: int

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def has_alpha(self) -> bool:
        return self.source.has_alpha

    @property
    def exif(self) -> bytes:
        return self.source.exif

    def bands(self) -> Iterator[Band]:
        step = self.source.height / self.height  # rows of the source to one row here
        unit = Fraction(self.source.height, self.height).denominator  # rows after which one lies on a whole row again
        unit = unit if unit <= SMALL else 1
        reach = math.ceil(LOBES * max(step, 1.0))
        window: Image.Image | None = None  # rows of the source from `first` on, at this width
        first = seen = made = 0
        for band in self.source.bands():
            narrow = self._across(band)
            window = narrow if window is None else below(window, narrow)
            seen += narrow.height
            whole = seen == self.source.height
            ready = self.height if whole else max(made, math.floor((seen - reach) / step) // unit * unit)
            if ready > made:
                box = (0, made * step - first, self.width, ready * step - first)
                rows = window.resize((self.width, ready - made), Image.Resampling.LANCZOS, box)
                made = ready
                yield to_band(rows)
            begin = max(first, math.floor(made * step) - reach)
            window = window.crop((0, begin - first, self.width, window.height))
            first = begin

    def whole(self) -> Picture:
        return gathered(self)

    def _across(self, band: Band) -> Image.Image:
        """The band's rows at this width, colours multiplied by alpha where there is one."""
        image = image_of(band.samples())
        image = image.convert(WEIGHED.get(image.mode, image.mode))
        return image.resize((self.width, image.height), Image.Resampling.LANCZOS)


def below(upper: Image.Image, lower: Image.Image) -> Image.Image:
    """One above the other; both have the same width and mode."""
    joined = Image.new(upper.mode, (upper.width, upper.height + lower.height))
    joined.paste(upper, (0, 0))
    joined.paste(lower, (0, upper.height))
    return joined


def to_band(rows: Image.Image) -> Band:
    mode = PLAIN.get(rows.mode, rows.mode)
    samples = np.asarray(rows.convert(mode)).reshape(rows.height, rows.width, -1)
    return Band(samples[:, :, :-1], samples[:, :, -1]) if rows.mode in PLAIN else Band(samples)
