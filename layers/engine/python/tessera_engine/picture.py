"""A decoded picture: sRGB bytes, alpha kept apart, and what is done to it besides enlarging."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB, 0..255
Alpha = NDArray[np.uint8]  # (height, width), 0 transparent .. 255 opaque

STRIP = 256  # rows that are worked on at once where an operation needs more than a byte per sample


@dataclass(frozen=True)
class Picture:
    """`alpha` is None when every pixel is opaque. `exif` is the source's as bytes; its orientation has been applied."""

    pixels: Pixels
    alpha: Alpha | None = None
    exif: bytes = b""

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def to_image(self) -> Image.Image:
        """A Pillow image of mode RGB or RGBA, without metadata."""
        image = Image.fromarray(self.pixels)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        return image

    def flattened(self) -> Picture:
        """Laid over white, for formats without alpha."""
        if self.alpha is None:
            return self
        flat = np.empty_like(self.pixels)
        for top in range(0, self.height, STRIP):
            rows = slice(top, top + STRIP)
            share = self.alpha[rows, :, None].astype(np.uint16)
            flat[rows] = (self.pixels[rows] * share + 255 * (255 - share) + 127) // 255
        return replace(self, pixels=flat, alpha=None)

    def fitted(self, side: int) -> Picture:
        """Shrunk to fit into a square of `side` pixels; never enlarged, no side below one pixel."""
        if max(self.width, self.height) <= side:
            return self
        share = side / max(self.width, self.height)
        size = (max(1, round(self.width * share)), max(1, round(self.height * share)))
        small = self.to_image().resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        return from_image(small)


def from_image(image: Image.Image) -> Picture:
    """From a Pillow image of mode RGB or RGBA, without metadata."""
    samples = np.asarray(image)
    if image.mode == "RGB":
        return Picture(samples)
    alpha = np.ascontiguousarray(samples[:, :, 3])
    return Picture(np.ascontiguousarray(samples[:, :, :3]), None if alpha.min() == 255 else alpha)


def enlarge_alpha(alpha: Alpha, scale: int) -> Alpha:
    """(h, w) to (h * scale, w * scale) with Lanczos.

    The network has learnt photographs, not masks, and would double the time; what Lanczos overshoots at a mask's edge
    is clipped away by 0 and 255.
    """
    height, width = alpha.shape
    enlarged = Image.fromarray(alpha).resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    return np.asarray(enlarged)


def bleed(pixels: Pixels, alpha: Alpha) -> Pixels:
    """The same colours, with those of wholly transparent pixels replaced by what lies near them.

    Editors store anything there, mostly black; an enlarged edge would mix it in and show a dark seam. Push and pull:
    halve the picture until nothing is transparent, then fill from the coarser level, at every level only what is empty.
    """
    weight = alpha.astype(np.float32) / np.float32(255)
    if weight.all() or not weight.any():
        return pixels
    filled = _filled(pixels * weight[:, :, None], weight)
    return np.where(alpha[:, :, None] > 0, pixels, np.rint(filled).astype(np.uint8))


def _filled(colour: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colour (h, w, 3) weighted by weight (h, w) in 0..1, to colours with no empty pixel."""
    if weight.all():
        return colour / weight[:, :, None]
    coarse = _filled(_halved(colour), _halved(weight[:, :, None])[:, :, 0])
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[: weight.shape[0], : weight.shape[1]]
    known = weight[:, :, None]
    return np.divide(colour, known, out=spread.copy(), where=known > 0)


def _halved(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of 2 x 2 pixels over four; an odd side is completed with zeros."""
    height, width, _ = samples.shape
    even = np.pad(samples, ((0, height % 2), (0, width % 2), (0, 0)))
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / np.float32(4)
