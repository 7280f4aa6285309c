"""A decoded picture: sRGB samples, alpha kept apart, and what is done to it besides enlarging.

A sample has 8 bits or 16, as the array's type says, and is full range in both: 65,535 is 257 * 255. What computes in
floats does so in levels of 0..255, which of 16 bits have fractions, so that a threshold means the same for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8 | np.uint16]  # (height, width, 3), sRGB, full range; grey: (height, width, 1), sRGB's curve
Alpha = NDArray[np.uint8 | np.uint16]  # (height, width), 0 transparent .. 255 or 65,535 opaque; as deep as the pixels
Depth = np.dtype[Any]  # np.uint8's or np.uint16's
Floats = NDArray[np.float32]

STRIP = 256  # rows that are worked on at once where an operation needs more than a byte per sample
LOBES = 4  # rows around that Lanczos looks at when it enlarges, at most
BYTES, DEEP = np.dtype(np.uint8), np.dtype(np.uint16)


@dataclass(frozen=True)
class Band:
    """Some rows of a picture over its whole width; `alpha` is None when the picture has none."""

    pixels: Pixels
    alpha: Alpha | None = None

    def samples(self) -> Pixels:
        """(rows, width, 1..4): alpha is the last channel, where there is one."""
        return self.pixels if self.alpha is None else np.dstack((self.pixels, self.alpha))


class Raster(Protocol):
    """A picture whose rows may not exist yet. `bands` gives them once, from top to bottom."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colours; alpha is not counted."""

    @property
    def has_alpha(self) -> bool: ...

    @property
    def dtype(self) -> Depth: ...

    def bands(self) -> Iterator[Band]: ...

    def whole(self) -> Picture: ...


@dataclass(frozen=True)
class Picture:
    """`alpha` is None when every pixel is opaque. `exif` is the source's as bytes; its orientation has been applied.

    `exif`, `xmp` and `dpi`, pixels per inch across and down, stay with what was decoded (`metadata.Origin`).
    `foreign`: the colours were those of another profile than sRGB, and have been converted.
    """

    pixels: Pixels
    alpha: Alpha | None = None
    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    foreign: bool = False

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def has_alpha(self) -> bool:
        return self.alpha is not None

    @property
    def dtype(self) -> Depth:
        return self.pixels.dtype

    def bands(self) -> Iterator[Band]:
        for top in range(0, self.height, STRIP):
            rows = slice(top, top + STRIP)
            alpha = None if self.alpha is None else np.ascontiguousarray(self.alpha[rows])
            yield Band(np.ascontiguousarray(self.pixels[rows]), alpha)

    def whole(self) -> Picture:
        return self


def most(dtype: Depth) -> int:
    """The sample of full brightness, and of full opacity."""
    return int(np.iinfo(dtype).max)


def levels(samples: Pixels) -> Floats:
    """The same as levels, 0..255: of 16 bits with their fractions."""
    floats = samples.astype(np.float32)
    return floats if samples.dtype == BYTES else floats / np.float32(257)


def quantised(floats: Floats, dtype: Depth) -> Pixels:
    """The nearest samples to levels of 0..255 and beyond."""
    scaled = floats if dtype == BYTES else floats * np.float32(257)
    nearest: Pixels = np.rint(scaled).clip(0, most(dtype)).astype(dtype)
    return nearest


def eight_bits(samples: Pixels) -> NDArray[np.uint8]:
    """The nearest of 0..255: samples * 255 / 65,535, rounded. What has 8 bits is given back as it is."""
    if samples.dtype == BYTES:
        return samples.astype(np.uint8, copy=False)
    reduced = np.empty(samples.shape, np.uint8)
    for top in range(0, samples.shape[0], STRIP):
        reduced[top : top + STRIP] = (samples[top : top + STRIP].astype(np.uint32) + 128) // 257
    return reduced


def gathered(raster: Raster) -> Picture:
    """All bands in one picture."""
    pixels = np.empty((raster.height, raster.width, raster.channels), raster.dtype)
    alpha = np.empty((raster.height, raster.width), raster.dtype) if raster.has_alpha else None
    top = 0
    for band in raster.bands():
        rows = slice(top, top + band.pixels.shape[0])
        pixels[rows] = band.pixels
        if alpha is not None and band.alpha is not None:
            alpha[rows] = band.alpha
        top = rows.stop
    return Picture(pixels, alpha)


def from_image(image: Image.Image) -> Picture:
    """From a Pillow image of mode L, LA, RGB or RGBA, without metadata."""
    channels = len(image.getbands())
    has_alpha = image.mode in ("LA", "RGBA")
    pixels = np.empty((image.height, image.width, channels - has_alpha), np.uint8)
    alpha = np.empty((image.height, image.width), np.uint8) if has_alpha else None
    for top in range(0, image.height, STRIP):  # Pillow would make two copies of the whole on the way
        bottom = min(top + STRIP, image.height)
        samples = np.asarray(image.crop((0, top, image.width, bottom))).reshape(bottom - top, image.width, channels)
        pixels[top:bottom] = samples[:, :, :-1] if has_alpha else samples
        if alpha is not None:
            alpha[top:bottom] = samples[:, :, -1]
    return Picture(pixels, None if alpha is None or alpha.min() == 255 else alpha)


def image_of(samples: Pixels) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA from (h, w, 1..4), uint8."""
    return Image.fromarray(np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples))


def flattened(band: Band) -> Pixels:
    """Laid over white, for formats without alpha."""
    if band.alpha is None:
        return band.pixels
    flat = np.empty_like(band.pixels)
    white = most(flat.dtype)
    for top in range(0, flat.shape[0], STRIP):
        rows = slice(top, top + STRIP)
        share: NDArray[Any] = band.alpha[rows, :, None].astype(np.uint16 if white == 255 else np.uint32)  # white ** 2
        flat[rows] = (band.pixels[rows] * share + white * (white - share) + white // 2) // white
    return flat


class AlphaRows:
    """(h, w) enlarged to (h * scale, w * scale) with Lanczos, some rows at a time.

    The network has learnt photographs, not masks, and would double the time; what Lanczos overshoots at a mask's edge
    is clipped away by 0 and full opacity.
    """

    def __init__(self, alpha: Alpha, scale: int) -> None:
        self.alpha, self.scale, self.width = alpha, scale, int(alpha.shape[1]) * scale
        # Across first, for all rows: Pillow orders the two passes by size, and each of them rounds to bytes.
        self.wide = None
        if alpha.dtype == BYTES:
            self.wide = Image.fromarray(alpha).resize((self.width, alpha.shape[0]), Image.Resampling.LANCZOS)

    def read(self, top: int, rows: int) -> Alpha:
        """(rows, w * scale). Pillow reads around the box, so the rows are those of the whole enlargement."""
        if self.wide is not None:
            return self._resized(self.wide, top, rows)
        # Floats are not rounded between the two passes: only the rows that are read have to be there.
        first = max(0, top // self.scale - LOBES)
        near = Image.fromarray(levels(self.alpha[first : -(-(top + rows) // self.scale) + LOBES]))
        return quantised(self._resized(near, top - first * self.scale, rows), self.alpha.dtype)

    def _resized(self, source: Image.Image, top: int, rows: int) -> NDArray[Any]:
        box = (0, top / self.scale, source.width, (top + rows) / self.scale)
        return np.asarray(source.resize((self.width, rows), Image.Resampling.LANCZOS, box))


def bleed(pixels: Pixels, alpha: Alpha) -> Pixels:
    """The same colours, with those of wholly transparent pixels replaced by what lies near them.

    Editors store anything there, mostly black; an enlarged edge would mix it in and show a dark seam. Push and pull:
    halve the picture until nothing is transparent, then fill from the coarser level, at every level only what is empty.
    """
    if alpha.all() or not alpha.any():
        return pixels
    colours, weights = [], []
    for top in range(0, alpha.shape[0], STRIP):  # an even number of rows, and no floats at full size
        weight = alpha[top : top + STRIP, :, None].astype(np.float32) / np.float32(most(alpha.dtype))
        colours.append(_halved(pixels[top : top + STRIP] * weight))
        weights.append(_halved(weight)[:, :, 0])
    coarse = np.rint(_filled(np.concatenate(colours), np.concatenate(weights))).astype(pixels.dtype)
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[: alpha.shape[0], : alpha.shape[1]]
    return np.where(alpha[:, :, None] > 0, pixels, spread)


def _filled(colour: Floats, weight: Floats) -> Floats:
    """Colour (h, w, 3) weighted by weight (h, w) in 0..1, to colours with no empty pixel."""
    if weight.all():
        return colour / weight[:, :, None]
    coarse = _filled(_halved(colour), _halved(weight[:, :, None])[:, :, 0])
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[: weight.shape[0], : weight.shape[1]]
    known = weight[:, :, None]
    return np.divide(colour, known, out=spread.copy(), where=known > 0)


def _halved(samples: Floats) -> Floats:
    """Sums of 2 x 2 pixels over four; an odd side is completed with zeros."""
    height, width, _ = samples.shape
    even = np.pad(samples, ((0, height % 2), (0, width % 2), (0, 0)))
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / np.float32(4)
