"""Other sizes without a network: resampled, cropped, padded. All of them give bands while the source's go by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tessera.sizes import Box, Size

from tessera_engine.derived import Derived
from tessera_engine.picture import BYTES, STRIP, Band, Floats, Pixels, image_of, levels, most, quantised

# Pillow's own radii, in pixels of the larger of the two grids (its Resample.c).
RADIUS = {Image.Resampling.BOX: 0.5, Image.Resampling.LANCZOS: 3.0}

PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}
STRAIGHT = {"La": "LA", "RGBa": "RGBA"}


@dataclass(frozen=True)
class Resampled(Derived):
    """The source's `box` brought to `size`, as Pillow's `resize` of the whole would: no level differs by more than one.

    Lanczos with three lobes, on the samples as they are stored (sRGB's curve), alpha premultiplied. Light does not add
    up so, but what a network has enlarged was learnt from pictures that were reduced in sRGB. Each of the two
    directions rounds to bytes, across first; 16 bits are rounded once, at the end. Memory: the rows that one output row
    needs, and STRIP rows of output.
    """

    size: Size
    box: Box
    filter: Image.Resampling = Image.Resampling.LANCZOS

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    def bands(self) -> Iterator[Band]:
        window, made = Window(), 0
        first, end = self._rows(0, self.height)
        at = 0
        for band in self.source.bands():
            rows = band.samples()[max(0, first - at) : max(0, end - at)]
            start, at = max(at, first), at + band.pixels.shape[0]
            if not rows.shape[0]:
                continue
            window.add(start, self._across(image_of(rows)) if rows.dtype == BYTES else self._deep_across(rows))
            while made < self.height and (step := self._possible(made, window.end)):
                self.done(0)
                yield self._down(window, made, made + step)
                made += step
                window.drop(self._rows(made, made + 1)[0])

    def _across(self, rows: Image.Image) -> Image.Image:
        rows = rows.convert(PREMULTIPLIED.get(rows.mode, rows.mode))
        return rows.resize((self.width, rows.height), self.filter, (self.box[0], 0, self.box[2], rows.height))

    def _deep_across(self, rows: Pixels) -> Image.Image:
        """Mode F, with a pixel's samples side by side: from here on every column is for itself."""
        floats = premultiplied(levels(rows)) if self.has_alpha else levels(rows)
        planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(floats, 2, 0))
        wide = np.stack([np.asarray(self._across(plane)) for plane in planes], axis=2)
        return Image.fromarray(wide.reshape(rows.shape[0], -1))

    def _down(self, window: Window, top: int, bottom: int) -> Band:
        part = window.image()
        share = (self.box[3] - self.box[1]) / self.height
        upper, lower = (self.box[1] + row * share - window.start for row in (top, bottom))
        box = (0, max(0.0, upper), part.width, min(float(part.height), lower))
        part = part.resize((part.width, bottom - top), self.filter, box)
        shape = (bottom - top, self.width, self.channels + self.has_alpha)
        if part.mode == "F":
            floats = np.asarray(part).reshape(shape)
            samples = quantised(straight(floats) if self.has_alpha else floats, self.dtype)
        else:
            samples = np.asarray(part.convert(STRAIGHT.get(part.mode, part.mode))).reshape(shape)
        return Band(samples[:, :, : self.channels], samples[:, :, -1] if self.has_alpha else None)

    def _possible(self, top: int, have: int) -> int:
        """How many rows of output can be made from the source's rows up to `have`, at most STRIP."""
        if self._rows(top, min(top + STRIP, self.height))[1] <= have:
            return min(STRIP, self.height - top)
        share = (self.box[3] - self.box[1]) / self.height
        count = min(STRIP, max(0, math.floor((have - self.box[1]) / share) - top))
        while count and self._rows(top, top + count)[1] > have:
            count -= 1
        return count

    def _rows(self, top: int, bottom: int) -> tuple[int, int]:
        """First and end of the source's rows that rows of output are made of, a row more on either side."""
        share = (self.box[3] - self.box[1]) / self.height
        reach = RADIUS[self.filter] * max(1.0, share) + 1
        middles = (self.box[1] + (row + 0.5) * share for row in (top, bottom - 1))
        first, last = middles
        return max(0, math.floor(first - reach)), min(self.source.height, math.ceil(last + reach))


def premultiplied(floats: Floats) -> Floats:
    """(h, w, c) levels, of which the last channel is alpha: colours times their opacity."""
    return np.concatenate((floats[:, :, :-1] * (floats[:, :, -1:] / np.float32(255)), floats[:, :, -1:]), axis=2)


def straight(floats: Floats) -> Floats:
    """The colours again; where alpha becomes 0 they are 0."""
    alpha = floats[:, :, -1:]
    visible = alpha >= np.float32(0.5 / 257)
    colours = np.divide(floats[:, :, :-1] * np.float32(255), alpha, out=np.zeros_like(floats[:, :, :-1]), where=visible)
    return np.concatenate((colours, alpha), axis=2)


class Window:
    """Some consecutive rows of an image, from `start` on."""

    def __init__(self) -> None:
        self.start = self.end = 0
        self.parts: list[Image.Image] = []

    def add(self, start: int, rows: Image.Image) -> None:
        if not self.parts:
            self.start = start
        self.parts.append(rows)
        self.end = start + rows.height

    def drop(self, first: int) -> None:
        """Forget what is above row `first`."""
        while self.parts and self.start + self.parts[0].height <= first:
            self.start += self.parts.pop(0).height
        if self.parts and first > self.start:
            head = self.parts[0]
            self.parts[0] = head.crop((0, first - self.start, head.width, head.height))
            self.start = first

    def image(self) -> Image.Image:
        if len(self.parts) > 1:
            joined = Image.new(self.parts[0].mode, (self.parts[0].width, self.end - self.start))
            top = 0
            for part in self.parts:
                joined.paste(part, (0, top))
                top += part.height
            self.parts = [joined]
        return self.parts[0]


@dataclass(frozen=True)
class Cropped(Derived):
    """The pixels from `left` and `top` on, up to `right` and `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def bands(self) -> Iterator[Band]:
        at = 0
        for band in self.source.bands():
            rows = slice(max(0, self.top - at), max(0, self.bottom - at))
            at += band.pixels.shape[0]
            columns = slice(self.left, self.right)
            pixels = band.pixels[rows, columns]
            if pixels.shape[0]:
                self.done(0)
                yield Band(pixels, None if band.alpha is None else band.alpha[rows, columns])
            if at >= self.bottom:
                return


@dataclass(frozen=True)
class Padded(Derived):
    """The source at `left`, `top` of a canvas of `size` and `colour` (red, green, blue, alpha)."""

    size: Size
    left: int
    top: int
    colour: tuple[int, int, int, int]

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    @property
    def channels(self) -> int:
        """Grey stays grey on a grey canvas."""
        return self.source.channels if len(set(self.colour[:3])) == 1 else 3

    @property
    def has_alpha(self) -> bool:
        return self.source.has_alpha or self.colour[3] < 255

    def bands(self) -> Iterator[Band]:
        yield from self._empty(self.top)
        for band in self.source.bands():
            self.done(0)
            canvas = self._canvas(band.pixels.shape[0])
            columns = slice(self.left, self.left + band.pixels.shape[1])
            canvas.pixels[:, columns] = band.pixels  # one grey level is broadcast to three
            if canvas.alpha is not None:
                canvas.alpha[:, columns] = most(self.dtype) if band.alpha is None else band.alpha
            yield canvas
        yield from self._empty(self.height - self.top - self.source.height)

    def _empty(self, rows: int) -> Iterator[Band]:
        for top in range(0, rows, STRIP):
            yield self._canvas(min(STRIP, rows - top))

    def _canvas(self, rows: int) -> Band:
        *colour, opacity = (level * (most(self.dtype) // 255) for level in self.colour)
        pixels = np.empty((rows, self.width, self.channels), self.dtype)
        pixels[...] = colour[: self.channels]
        alpha = np.full((rows, self.width), opacity, self.dtype) if self.has_alpha else None
        return Band(pixels, alpha)
