"""A TIFF writer that takes rows as they come and holds a few strips only.

Layout: TIFF 6.0, sections 2, 14 (differences between neighbours) and 18 (alpha); deflate as in Adobe's TIFF Technical
Note 2. The directory says where every strip lies and a sink cannot be written backwards, so compressed strips wait in a
temporary file.
"""

from __future__ import annotations

import shutil
import struct
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import LONG, UNDEFINED

from tessera_engine import deflate
from tessera_engine.metadata import Tags, parse
from tessera_engine.picture import Band, Pixels, Raster
from tessera_engine.png import ZLIB_HEADER
from tessera_engine.rows import Cutter

HEADER = b"II*\0\x08\0\0\0"  # little-endian; the directory follows at once
STRIP_BYTES = 256 * 1024  # readers take a strip at a time; smaller ones compress worse
IN_MEMORY = 32 * 1024 * 1024  # bytes of compressed strips; further ones go to the disk
GREY, RGB = 1, 2  # PhotometricInterpretation, black is 0
ADOBE_DEFLATE = 8
DIFFERENCES = 2  # Predictor
UNASSOCIATED = 2  # ExtraSamples: alpha that colours are not multiplied with
INCH = 2
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, ROWS, COUNTS = (
    256,
    257,
    258,
    259,
    262,
    273,
    277,
    278,
    279,
)
X_DENSITY, Y_DENSITY, UNIT, PREDICTOR, EXTRA, XMP, EXIF, GPS = 282, 283, 296, 317, 338, 700, 34_665, 34_853


class TiffEncoder:
    def __init__(self, sink: BinaryIO, raster: Raster, tags: Tags) -> None:
        self.sink, self.raster, self.tags = sink, raster, tags
        self.channels = raster.channels + raster.has_alpha
        self.rows = max(1, STRIP_BYTES // (raster.width * self.channels * raster.dtype.itemsize))
        self.cutter = Cutter(self.rows, raster.height)
        self.spool = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - `finish` and `abandon` close it
        self.sizes: list[int] = []

    def write(self, band: Band) -> None:
        for strip in self.cutter.cut(band.samples()):
            data = packed(strip.reshape(strip.shape[0], -1), self.channels)
            self.sizes.append(self.spool.write(data))

    def finish(self) -> None:
        if self.cutter.left:
            raise ValueError(f"{self.cutter.left} rows are missing")
        self.sink.write(HEADER)
        self.sink.write(self._directory().tobytes(len(HEADER)))
        self.spool.seek(0)
        shutil.copyfileobj(self.spool, self.sink)
        self.spool.close()

    def abandon(self) -> None:
        self.spool.close()

    def _directory(self) -> ImageFileDirectory_v2:
        """Offsets are from the directory's end: `tobytes` makes them offsets in the file."""
        entries = ImageFileDirectory_v2(HEADER)
        if self.tags.exif:
            source = parse(self.tags.exif)
            entries.update(dict(source))
            for pointer in (EXIF, GPS):
                if values := source.get_ifd(pointer):
                    entries.tagtype[pointer] = LONG
                    entries[pointer] = dict(values)
        entries[WIDTH], entries[HEIGHT] = self.raster.width, self.raster.height
        entries[BITS] = (8 * self.raster.dtype.itemsize,) * self.channels
        entries[COMPRESSION], entries[PREDICTOR] = ADOBE_DEFLATE, DIFFERENCES
        entries[PHOTOMETRIC] = GREY if self.raster.channels == 1 else RGB
        entries[SAMPLES], entries[ROWS] = self.channels, self.rows
        if self.raster.has_alpha:
            entries[EXTRA] = UNASSOCIATED
        if self.tags.dpi:
            entries[X_DENSITY], entries[Y_DENSITY] = self.tags.dpi
            entries[UNIT] = INCH
        if self.tags.xmp:
            entries.tagtype[XMP] = UNDEFINED
            entries[XMP] = self.tags.xmp
        entries.tagtype[OFFSETS] = entries.tagtype[COUNTS] = LONG
        entries[COUNTS] = tuple(self.sizes)
        entries[OFFSETS] = tuple(int(place) for place in np.cumsum([0, *self.sizes[:-1]]))
        return entries


def packed(rows: Pixels, step: int) -> bytes:
    """(rows, samples) to a zlib stream (RFC 1950) of the rows' differences between neighbours, `step` samples apart."""
    strip = deflate.pack_differences(rows, step)
    return ZLIB_HEADER + strip.data + struct.pack(">I", strip.checksum)
