"""Bands of rows in, a file out. JPEG and PNG hold a few bands at a time; WebP has to hold the whole picture."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image
from tessera.recipe import Encode

from tessera_engine.picture import Band, Pixels, Raster, flattened
from tessera_engine.png import Extras, PngWriter
from tessera_engine.rows import Cutter

# 4:4:4 costs a third more bytes for 0.5 dB at 49 dB: an enlargement has little colour detail below two pixels.
SUBSAMPLING = "4:2:0"
MCU = {1: 8, 3: 16}  # rows of a JPEG's smallest coded unit: grey, and colour of which every second row is kept
UNITS = 8  # rows of units between two restart markers; a whole strip, and 65,500 px still fit the 16-bit interval
WEBP_METHOD = 2  # 44 MP/s; method 0: 52 MP/s for a third more bytes; 4: 19 MP/s for 3 % fewer


class Encoder(Protocol):
    """Takes all bands from top to bottom, then `finish`; or `abandon`, when the work has failed."""

    def write(self, band: Band) -> None: ...

    def finish(self) -> None: ...

    def abandon(self) -> None: ...


def encoder(sink: BinaryIO, raster: Raster, options: Encode, exif: bytes) -> Encoder:
    """An encoder for what `raster` will give. `exif` is what shall be written, empty for nothing."""
    if options.format == "jpeg":
        return JpegEncoder(sink, raster, options.quality, exif)
    if options.format == "png":
        return PngEncoder(sink, raster, exif)
    return WebpEncoder(sink, raster, options.quality, exif)


class PngEncoder:
    def __init__(self, sink: BinaryIO, raster: Raster, exif: bytes) -> None:
        channels = raster.channels + raster.has_alpha
        self.writer = PngWriter(sink, raster.width, raster.height, channels, extras=Extras(exif=exif))

    def write(self, band: Band) -> None:
        self.writer.write(band.samples())

    def finish(self) -> None:
        self.writer.finish()

    def abandon(self) -> None:
        self.writer.abandon()


class JpegEncoder:
    """Strips that libjpeg encodes apart, joined by restart markers (ITU-T T.81, B.2.1 and E.1.4).

    A restart resets the prediction of the next coefficient, so a strip's bytes do not depend on the strips before it:
    the result decodes to the pixels of a picture that was saved whole. Transparency is laid over white.
    """

    def __init__(self, sink: BinaryIO, raster: Raster, quality: int, exif: bytes) -> None:
        self.sink, self.quality, self.exif = sink, quality, exif
        self.height, self.strips = raster.height, 0
        self.cutter = Cutter(MCU[raster.channels] * UNITS, raster.height)

    def write(self, band: Band) -> None:
        for strip in self.cutter.cut(flattened(band)):
            self._add(strip)

    def finish(self) -> None:
        if self.cutter.left:
            raise ValueError(f"{self.cutter.left} rows are missing")
        self.sink.write(b"\xff\xd9")  # EOI

    def abandon(self) -> None:
        """Nothing is held."""

    def _add(self, strip: Pixels) -> None:
        encoded = BytesIO()
        image_of(strip).save(
            encoded,
            format="JPEG",
            quality=self.quality,
            subsampling=SUBSAMPLING,
            restart_marker_rows=UNITS,
            exif=b"" if self.strips else self.exif,
        )
        whole = encoded.getvalue()
        head = bytearray(whole[: scan_start(whole)])
        if self.strips:
            self.sink.write(bytes([0xFF, 0xD0 + (self.strips - 1) % 8]))  # RST0 to RST7, in turn
        else:
            struct.pack_into(">H", head, frame_start(head) + 5, self.height)
            self.sink.write(head)
        self.sink.write(memoryview(whole)[len(head) : -2])  # without EOI
        self.strips += 1


class WebpEncoder:
    """libwebp has no way to take a picture in parts."""

    def __init__(self, sink: BinaryIO, raster: Raster, quality: int, exif: bytes) -> None:
        self.sink, self.quality, self.exif = sink, quality, exif
        self.image = Image.new("RGBA" if raster.has_alpha else "RGB", (raster.width, raster.height))
        self.rows = 0

    def write(self, band: Band) -> None:
        part = image_of(band.samples())
        self.image.paste(part if part.mode == self.image.mode else part.convert(self.image.mode), (0, self.rows))
        self.rows += band.pixels.shape[0]

    def finish(self) -> None:
        if self.rows != self.image.height:
            raise ValueError(f"{self.image.height - self.rows} rows are missing")
        self.image.save(self.sink, format="WEBP", quality=self.quality, method=WEBP_METHOD, exif=self.exif)

    def abandon(self) -> None:
        """The picture goes with the encoder."""


def image_of(samples: Pixels) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA from (h, w, 1..4)."""
    return Image.fromarray(np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples))


def segments(jpeg: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Marker, place and end of every segment up to the first scan's header, of a file that libjpeg has written."""
    place = 2
    while True:
        _, marker, length = struct.unpack_from(">BBH", jpeg, place)
        yield marker, place, place + 2 + length
        if marker == 0xDA:  # SOS
            return
        place += 2 + length


def scan_start(jpeg: bytes) -> int:
    """Where the coded pixels begin."""
    return next(end for marker, _, end in segments(jpeg) if marker == 0xDA)


def frame_start(jpeg: bytes | bytearray) -> int:
    """Where the frame header (baseline, SOF0) begins; the height is 5 bytes behind that."""
    return next(place for marker, place, _ in segments(jpeg) if marker == 0xC0)
