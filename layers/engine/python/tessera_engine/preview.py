"""A small picture of a large one, in 8 bits, made while the large one's bands go by."""

from __future__ import annotations

from PIL import Image

from tessera_engine.picture import Band, Picture, Raster, eight_bits, from_image, image_of
from tessera_engine.rows import Cutter

GAP = 3.0  # the picture is first averaged down to GAP times its final size, then resampled; Pillow's `reducing_gap`


class Preview:
    """The result is that of Pillow's `resize` with `reducing_gap`, to the last bit, but holds only averaged rows."""

    def __init__(self, raster: Raster, side: int) -> None:
        """To fit into a square of `side` pixels; never enlarged, no side below one pixel."""
        share = min(1.0, side / max(raster.width, raster.height))
        self.full = (raster.width, raster.height)
        self.size = (max(1, round(raster.width * share)), max(1, round(raster.height * share)))
        across, down = (int(full / small / GAP) or 1 for full, small in zip(self.full, self.size, strict=True))
        self.factor = (across, down)
        self.cutter = Cutter(max(1, 256 // self.factor[1]) * self.factor[1], raster.height)
        self.parts: list[Image.Image] = []

    def write(self, band: Band) -> None:
        for rows in self.cutter.cut(band.samples()):
            part = image_of(eight_bits(rows))
            if part.mode in ("LA", "RGBA") and self.size != self.full:  # transparent pixels weigh nothing
                part = part.convert("La" if part.mode == "LA" else "RGBa")
            self.parts.append(part.reduce(self.factor) if max(self.factor) > 1 else part)

    def finish(self) -> Picture:
        width, height = self.parts[0].width, sum(part.height for part in self.parts)
        reduced = Image.new(self.parts[0].mode, (width, height))
        top = 0
        for part in self.parts:
            reduced.paste(part, (0, top))
            top += part.height
        if self.size != self.full:
            box = (0.0, 0.0, self.full[0] / self.factor[0], self.full[1] / self.factor[1])
            reduced = reduced.resize(self.size, Image.Resampling.LANCZOS, box)
        return from_image(reduced.convert({"La": "LA", "RGBa": "RGBA"}.get(reduced.mode, reduced.mode)))
