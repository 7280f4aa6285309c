"""Both bytes of 16-bit samples, out of decoders that keep one of them.

Pillow has no colours of 16 bits, but raw modes for either order of a sample's bytes: of the bytes AB "RGB;16B" keeps A
and "RGB;16L" keeps B. Decoded by the one and by the other, a file gives all. Grey it has, and grey with alpha is what
four samples of a byte would be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[np.uint16]  # (rows, width, 1..4); the last of two or four is alpha

OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # order of bytes to the opposite one


@dataclass(frozen=True)
class Layout:
    """`raw` are the raw modes by which an image of `mode` gives all bytes, those of the high ones first."""

    mode: str
    raw: tuple[str, ...]
    channels: int

    def combined(self, parts: list[Image.Image]) -> Samples:
        """From one image for each of `raw`."""
        arrays = [np.asarray(part) for part in parts]
        if len(arrays) == 2:
            high, low = arrays
            both: Samples = high.astype(np.uint16) << 8 | low
            return both
        (array,) = arrays
        if self.channels == 2:
            array = np.ascontiguousarray(array).view(">u2")
        return array.astype(np.uint16).reshape(*array.shape[:2], self.channels)


def layout(image: Image.Image) -> Layout | None:
    """Of an image that is open and not loaded; None where it has no 16 bits, or has them in another way."""
    raws = {_raw(tile) for tile in getattr(image, "tile", ())}
    if len(raws) != 1:
        return None
    raw = raws.pop()
    colours, _, depth = raw.partition(";")
    if image.mode in ("I;16", "I;16B") and colours == "I" and depth[:2] == "16":
        return Layout(image.mode, (raw,), 1)
    if (image.mode, raw) == ("RGBA", "LA;16B"):
        return Layout(image.mode, ("RGBA",), 2)
    if image.mode == colours and colours in ("RGB", "RGBA") and depth[:2] == "16" and depth[2:] in OTHER:
        return Layout(image.mode, (raw, f"{colours};16{OTHER[depth[2:]]}"), len(colours))
    return None


def strips(image: Image.Image, layout: Layout, again: Callable[[], Image.Image], height: int) -> Iterator[Samples]:
    """Of the image, which is loaded at once, so that it is upright, and closed by the caller. `again` opens it anew."""
    parts = [_loaded(image, layout.raw[0]), *(_loaded(again(), raw) for raw in layout.raw[1:])]

    def cut() -> Iterator[Samples]:
        for top in range(0, image.height, height):
            box = (0, top, image.width, min(top + height, image.height))
            yield layout.combined([part.crop(box) for part in parts])

    return cut()


def _raw(tile: tuple[object, ...]) -> str:
    """Of an entry of Pillow's `tile`: decoder, box, offset, and the decoder's arguments, of which it is the first."""
    arguments = tile[3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _loaded(image: Image.Image, raw: str) -> Image.Image:
    tiles = []
    for tile in image.tile:  # type: ignore[attr-defined]  # every file's image has it
        arguments = (raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw
        tiles.append(tile._replace(args=arguments))
    image.tile = tiles  # type: ignore[attr-defined]
    image.load()
    return image
