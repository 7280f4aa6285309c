"""Bands of rows in, a file out. JPEG, PNG and TIFF hold a few bands at a time; the others hold the whole picture.

PNG and TIFF have the samples' own depth; for the others 16 bits are reduced to 8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO, Protocol

from PIL import Image
from tessera.recipe import Chroma, Encode, ImageFormat

from tessera_engine.metadata import Tags
from tessera_engine.picture import BYTES, Band, Depth, Pixels, Raster, eight_bits, flattened, image_of
from tessera_engine.png import Extras, PngWriter
from tessera_engine.rows import Cutter
from tessera_engine.tiff import TiffEncoder

# Pixels on a side. JPEG: libjpeg's JPEG_MAX_DIMENSION; WebP: 14 bits; AVIF: what libavif reads unless it is told
# otherwise; PNG and TIFF: 31 bits, never reached.
MAX_SIDE: dict[ImageFormat, int] = {"jpeg": 65_500, "png": 2**31 - 1, "webp": 16_383, "avif": 32_768, "tiff": 2**31 - 1}
TIFF_BYTES = 4_000_000_000  # its offsets have 32 bits; a pixel that does not shrink has four samples
DEEP_FORMATS: frozenset[ImageFormat] = frozenset({"png", "tiff"})  # which are written with 16 bits per sample

# 4:4:4 costs a third more bytes for 0.5 dB at 49 dB: an enlargement has little colour detail below two pixels.
MCU: dict[Chroma, int] = {"4:2:0": 16, "4:2:2": 8, "4:4:4": 8}  # rows of a JPEG's smallest coded unit; of grey 8
UNITS = 8  # rows of units between two restart markers; a whole strip, and 65,500 px still fit the 16-bit interval
WEBP_METHOD = 2  # 44 MP/s; method 0: 52 MP/s for a third more bytes; 4: 19 MP/s for 3 % fewer
WEBP_EFFORT = {"method": 0, "quality": 0}  # lossless, 42 MP/s; (2, 20): 9 MP/s for 1 % fewer bytes
AVIF_SPEED = 9  # 7.6 MP/s; 8: 2.2 MP/s for 6 % fewer bytes; 6: 1.0 MP/s for no fewer


class Encoder(Protocol):
    """Takes all bands from top to bottom, then `finish`; or `abandon`, when the work has failed."""

    def write(self, band: Band) -> None: ...

    def finish(self) -> None: ...

    def abandon(self) -> None: ...


def encoder(sink: BinaryIO, raster: Raster, options: Encode, tags: Tags) -> Encoder:
    """An encoder for what `raster` will give."""
    if options.format == "png":
        return PngEncoder(sink, raster, tags)
    if options.format == "tiff":
        return TiffEncoder(sink, raster, tags)
    if options.format == "jpeg" and not options.progressive:
        return JpegEncoder(sink, raster, options, tags)
    return WholeEncoder(sink, raster, options, tags)


def most_pixels(options: Encode, dtype: Depth = BYTES) -> int | None:
    """What an encoder takes that holds the picture at once: 1.5 GB in all. None for those that do not."""
    match options.format:
        case "webp":  # 11 bytes for a pixel, 18 where nothing is lost
            return 80_000_000 if options.lossless else 128_000_000
        case "avif":  # 29 bytes
            return 50_000_000
        case "jpeg" if options.progressive:  # 8 bytes, 11 at 4:4:4
            return 128_000_000
        case "tiff":
            return TIFF_BYTES // (4 * dtype.itemsize)
    return None


class PngEncoder:
    def __init__(self, sink: BinaryIO, raster: Raster, tags: Tags) -> None:
        channels = raster.channels + raster.has_alpha
        extras = Extras(exif=tags.exif, xmp=tags.xmp, dpi=tags.dpi)
        depth = 8 * raster.dtype.itemsize
        self.writer = PngWriter(sink, raster.width, raster.height, channels, depth, extras=extras)

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

    def __init__(self, sink: BinaryIO, raster: Raster, options: Encode, tags: Tags) -> None:
        self.sink, self.options, self.tags = sink, options, tags
        self.height, self.strips = raster.height, 0
        self.cutter = Cutter((8 if raster.channels == 1 else MCU[options.chroma]) * UNITS, raster.height)

    def write(self, band: Band) -> None:
        for strip in self.cutter.cut(eight_bits(flattened(band))):
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
            quality=self.options.quality,
            subsampling=self.options.chroma,
            restart_marker_rows=UNITS,
            **({} if self.strips else written(self.tags)),
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


class WholeEncoder:
    """WebP, AVIF and progressive JPEG: their encoders have no way to take a picture in parts."""

    def __init__(self, sink: BinaryIO, raster: Raster, options: Encode, tags: Tags) -> None:
        self.sink, self.options, self.tags = sink, options, tags
        grey = raster.channels == 1 and options.format != "webp"
        self.flat = options.format == "jpeg"
        mode = ("L" if grey else "RGB") if self.flat or not raster.has_alpha else "RGBA"
        self.image = Image.new(mode, (raster.width, raster.height))
        self.rows = 0

    def write(self, band: Band) -> None:
        part = image_of(eight_bits(flattened(band) if self.flat else band.samples()))
        self.image.paste(part if part.mode == self.image.mode else part.convert(self.image.mode), (0, self.rows))
        self.rows += band.pixels.shape[0]

    def finish(self) -> None:
        if self.rows != self.image.height:
            raise ValueError(f"{self.image.height - self.rows} rows are missing")
        self.image.save(self.sink, self.options.format.upper(), **self._settings(), **written(self.tags))

    def abandon(self) -> None:
        """The picture goes with the encoder."""

    def _settings(self) -> dict[str, Any]:
        quality, chroma = self.options.quality, self.options.chroma
        if self.options.format == "webp":
            if self.options.lossless:  # exact: also the colours of transparent pixels
                return {"lossless": True, "exact": True, **WEBP_EFFORT}
            return {"quality": quality, "method": WEBP_METHOD}
        if self.options.format == "avif":
            return {
                "quality": quality,
                "subsampling": "4:0:0" if self.image.mode == "L" else chroma,
                "speed": AVIF_SPEED,
            }
        return {"quality": quality, "subsampling": chroma, "progressive": True}


def written(tags: Tags) -> dict[str, Any]:
    """As Pillow's encoders take it; those without a field for the density take no notice of it."""
    given = {"exif": tags.exif, "xmp": tags.xmp, "dpi": tags.dpi}
    return {name: value for name, value in given.items() if value}


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
