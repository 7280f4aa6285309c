"""Bytes to sRGB, 8 or 16 bits per sample, alpha apart, some rows at a time. Grey stays grey.

JPEG is decoded by libjpeg-turbo straight into the picture's own memory, PNG in strips (`pngrows`); every other file,
and every JPEG of which libjpeg-turbo has something to remark, is decoded whole by Pillow, at four bytes a pixel, and
then copied. All three give Pillow's pixels.

16 bits, of PNG and TIFF, are read twice with half of the bits each (`deep`). They are reduced to 8 where a profile has
to be applied that is not sRGB's: Pillow's colour management has no 16 bits, and colours go before fine steps.

This runs on bytes of strangers. `sandbox` runs it in a process that has nothing to lose.
"""

from __future__ import annotations

import importlib
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from mmap import mmap

import numpy as np
import simplejpeg
from PIL import Image, ImageCms

from tessera_engine import deep, metadata, pngrows
from tessera_engine.errors import CorruptImage, EngineError, TooManyPixels, UnsupportedFormat
from tessera_engine.header import HEIF_READER, ImageInfo, SourceFormat
from tessera_engine.picture import BYTES, DEEP, STRIP, Alpha, Depth, Picture, Pixels, eight_bits, image_of, most

Empty = Callable[[tuple[int, ...], Depth], Pixels]  # shape -> memory to write a picture into

# What the decoders raise on damaged files, beside MemoryError, which is not the picture's fault.
FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)

NOTE_FIRST_FRAME = "Only the first frame of the animation was enlarged."
NOTE_FIRST_PAGE = "Only the first page was enlarged."
FRAMES = {"PNG": NOTE_FIRST_FRAME, "WEBP": NOTE_FIRST_FRAME, "GIF": NOTE_FIRST_FRAME, "AVIF": NOTE_FIRST_FRAME}
FRAMES |= {"TIFF": NOTE_FIRST_PAGE, "HEIF": NOTE_FIRST_PAGE}
STRANGE = ("F", "LAB", "HSV")  # measurements, and colours that no screen picture has
GREYS = ("1", "L", "LA")  # and those that begin with I
NOTE_EIGHT_BITS = "16 bits per colour were reduced to 8."
NOTE_PROFILE = "The colour profile is damaged and was ignored."
SAME = 1  # level by which a profile's colours may differ from sRGB's and still be taken for them
NOTE_CMYK = "CMYK colours without a profile were converted by rule of thumb."


@dataclass(frozen=True)
class Stored:
    """The pixels as they lie in the file, not yet turned upright. `orientation` is EXIF's, 1 to 8. `foreign`: as
    `Picture` has it."""

    pixels: Pixels
    alpha: Alpha | None
    exif: bytes
    xmp: bytes
    dpi: metadata.Density | None
    orientation: int
    notes: tuple[str, ...]
    foreign: bool = False

    def picture(self) -> Picture:
        """Upright. Shares the memory: a huge picture is turned by the order in which it is read."""
        alpha = None if self.alpha is None else upright(self.alpha, self.orientation)
        dpi = self.dpi[::-1] if self.dpi and self.orientation >= 5 else self.dpi
        return Picture(upright(self.pixels, self.orientation), alpha, self.exif, self.xmp, dpi, self.foreign)


def upright(samples: Pixels, orientation: int) -> Pixels:
    """A view of (h, w, ...) that is turned as EXIF 2.32, tag 0x0112, says."""
    turned = samples.swapaxes(0, 1) if orientation >= 5 else samples
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned


def decode(data: bytes, info: ImageInfo) -> tuple[Picture, tuple[str, ...]]:
    """The picture, and notes for its owner. `info` is what `probe` says of `data`, its limits already checked.

    Raises a PictureError. In this process: see `sandbox.decode`.
    """
    stored = read(data, info, lambda shape, dtype: np.empty(shape, dtype))
    return stored.picture(), stored.notes


def read(data: bytes | mmap, info: ImageInfo, empty: Empty) -> Stored:
    """As `decode`; the arrays come from `empty`, which is asked at most twice, for info.pixels * 4 samples in all, no
    larger than those of info.dtype.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = data if isinstance(data, mmap) and info.format != "heic" else BytesIO(data)
            again = partial(Image.open, file, formats=[opener(info.format)])  # type: ignore[arg-type]  # a map reads like a file
            with again() as image:
                if image.size != (info.width, info.height) and not _turned(image, info):
                    raise CorruptImage("The picture's headers contradict each other.")
                return _read(image, data, info, empty, again)
    except EngineError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TooManyPixels("The picture has more pixels than can be decoded safely.") from error
    except FAULTS as error:
        raise CorruptImage("The picture is damaged or incomplete.") from error


def opener(kind: SourceFormat) -> str:
    """What Pillow calls the format; UnsupportedFormat for HEIC where nothing is installed that reads it."""
    if kind != "heic":
        return kind
    if HEIF_READER is None:
        raise UnsupportedFormat("HEIC pictures are not read here: neither pillow-heif nor pi-heif is installed.")
    importlib.import_module(HEIF_READER).register_heif_opener()
    return "HEIF"


def _turned(image: Image.Image, info: ImageInfo) -> bool:
    """Pillow gives a TIFF upright, and its size so too. A HEIC comes upright and cropped: no larger than its header."""
    if info.format == "heic":
        return sorted(image.size) <= sorted((info.width, info.height)) and image.width * image.height <= info.pixels
    return info.format == "tiff" and image.size == (info.height, info.width)


def _read(image: Image.Image, data: bytes | mmap, info: ImageInfo, empty: Empty, again: Again) -> Stored:
    layout = deep.layout(image) if info.dtype == DEEP else None
    if layout:
        pixels, alpha, foreign, notes = _deep(image, data, layout, empty, again)
    else:
        pixels, alpha, foreign, notes = _shallow(image, data, info, empty)
    opaque = alpha is None or alpha.min() == most(alpha.dtype)
    exif, packet = _exif(image, data), _packet(image)
    return Stored(
        pixels,
        None if opaque else alpha,
        exif,
        packet,
        _density(image, exif),
        metadata.orientation(exif),
        notes,
        foreign,
    )


def _shallow(image: Image.Image, data: bytes | mmap, info: ImageInfo, empty: Empty) -> Decoded:
    pixels = None
    if info.format == "jpeg" and image.mode in ("RGB", "L"):
        pixels = empty((image.height, image.width, len(image.mode)), BYTES)
    decoded = pixels is not None and _libjpeg(data, image.mode, pixels)
    if decoded and pixels is not None:
        strips = _slices(pixels)
    elif pngrows.readable(image, data):
        strips = pngrows.strips(image, data, STRIP)
    else:
        image.load()
        strips = _crops(image)
    colours, notes = _colours(image)
    if pixels is None:
        pixels = empty((image.height, image.width, 1 if colours.grey else 3), BYTES)
    alpha = empty((image.height, image.width), BYTES) if image.has_transparency_data else None
    if not decoded or colours.transform:
        _fill(pixels, alpha, colours, strips)
    return pixels, alpha, colours.foreign, (NOTE_EIGHT_BITS, *notes) if info.dtype == DEEP else notes


def _deep(image: Image.Image, data: bytes | mmap, layout: deep.Layout, empty: Empty, again: Again) -> Decoded:
    if pngrows.in_rows(image, data):
        strips = pngrows.deep_strips(image, data, layout, STRIP)
    else:
        strips = deep.strips(image, layout, again, STRIP)
    strips = _with_alpha(strips, image.info.get("transparency"))
    colours, notes = _colours(image, grey=layout.channels <= 2)
    reduced = colours.transform is not None and not colours.srgb
    dtype = BYTES if reduced else DEEP
    pixels = empty((image.height, image.width, 1 if colours.grey else 3), dtype)
    alpha = empty((image.height, image.width), dtype) if image.has_transparency_data else None
    if reduced:
        _fill(pixels, alpha, colours, (image_of(eight_bits(strip)) for strip in strips))
        return pixels, alpha, colours.foreign, (NOTE_EIGHT_BITS, *notes)
    top = 0
    for strip in strips:
        rows = slice(top, top + strip.shape[0])
        pixels[rows] = strip[:, :, : pixels.shape[2]]
        if alpha is not None:
            alpha[rows] = strip[:, :, -1]
        top = rows.stop
    return pixels, alpha, False, notes


def _with_alpha(strips: Iterator[deep.Samples], key: object) -> Iterator[deep.Samples]:
    """`key`: a PNG's colour or level that is transparent (W3C PNG, 11.3.1.1), where it has one."""
    for strip in strips:
        if not isinstance(key, int | tuple):
            yield strip
            continue
        hidden = (strip == np.array(key)).all(axis=2, keepdims=True)
        yield np.concatenate((strip, np.where(hidden, 0, most(DEEP)).astype(np.uint16)), axis=2)


def _exif(image: Image.Image, data: bytes | mmap) -> bytes:
    if image.format == "TIFF":
        return metadata.of_tiff(image)
    return image.info.get("exif") or (pngrows.late_exif(data) if image.format == "PNG" else b"")


def _packet(image: Image.Image) -> bytes:
    """The XMP; Pillow gives a PNG's as text where it was not compressed as it should be."""
    packet = image.info.get("xmp", b"")
    return packet.encode() if isinstance(packet, str) else packet if isinstance(packet, bytes) else b""


def _density(image: Image.Image, exif: bytes) -> metadata.Density | None:
    """What the file itself states, else its EXIF. What Pillow makes up for a JPEG or TIFF is not asked."""
    stated = None if image.format == "TIFF" else image.info.get("dpi")
    if image.format == "JPEG":
        unit = {1: 1.0, 2: metadata.INCHES}.get(image.info.get("jfif_unit", 0))
        stated = unit and tuple(side * unit for side in image.info["jfif_density"])
    found = metadata.sensible(*map(float, stated)) if stated else None
    return found or metadata.density(exif)


def _libjpeg(data: bytes | mmap, mode: str, pixels: Pixels) -> bool:
    """False when there is anything to remark: Pillow decides then what becomes of the file."""
    try:
        simplejpeg.decode_jpeg(data, "RGB" if mode == "RGB" else "GRAY", buffer=pixels)
    except ValueError:
        return False
    return True


Strips = Iterator[Image.Image]  # from top to bottom, over the whole width
Decoded = tuple[Pixels, Alpha | None, bool, tuple[str, ...]]  # the bool is `Stored.foreign`
Again = Callable[[], Image.Image]


def _slices(pixels: Pixels) -> Strips:
    for top in range(0, pixels.shape[0], STRIP):
        rows = pixels[top : top + STRIP]
        yield Image.fromarray(rows if rows.shape[2] == 3 else rows[:, :, 0])


def _crops(image: Image.Image) -> Strips:
    for top in range(0, image.height, STRIP):
        yield image.crop((0, top, image.width, min(top + STRIP, image.height)))


@dataclass(frozen=True)
class Colours:
    """How the source's colours become sRGB."""

    grey: bool
    transform: ImageCms.ImageCmsTransform | None

    @property
    def srgb(self) -> bool:
        """Whether the transform leaves all colours as they are, give or take SAME levels."""
        level = np.arange(0, 256, 15, dtype=np.uint8)  # 18 of them
        tried = level[None, :, None] if self.grey else np.stack(np.meshgrid(level, level, level), -1).reshape(18, -1, 3)
        converted = self.convert(image_of(tried))
        return int(np.abs(converted.astype(np.int16) - tried).max()) <= SAME

    @property
    def foreign(self) -> bool:
        """Whether red, green and blue are those of another profile."""
        return self.transform is not None and self.transform.input_mode == "RGB" and not self.srgb

    def convert(self, strip: Image.Image) -> Pixels:
        """(h, w, 1 or 3), from mode L, RGB or CMYK."""
        if self.transform:
            strip = self.transform.apply(strip)
        if self.grey:
            strip = strip.getchannel("G") if self.transform else strip  # a grey has three equal levels in sRGB
            return np.asarray(strip)[:, :, None]
        return np.asarray(rgb(strip))


def _colours(image: Image.Image, *, grey: bool = False) -> tuple[Colours, tuple[str, ...]]:
    """From the image's mode, which in some formats is known only when it has been loaded."""
    if image.mode in STRANGE:
        raise UnsupportedFormat("The picture's kind of colours is not supported.")
    notes = []
    if image.format in FRAMES and getattr(image, "n_frames", 1) > 1:
        notes.append(FRAMES[image.format])
    grey = grey or image.mode in GREYS or image.mode.startswith("I")
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK" and not profile:
        notes.append(NOTE_CMYK)
    transform = None
    if profile:
        try:
            transform = _to_srgb(profile, "L" if grey else "CMYK" if image.mode == "CMYK" else "RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notes.append(NOTE_PROFILE)
    return Colours(grey, transform), tuple(notes)


def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """PyCMSError when the profile is damaged, or one for other colours."""
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        inMode=mode,
        outMode="RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _fill(pixels: Pixels, alpha: Alpha | None, colours: Colours, strips: Strips) -> None:
    top = 0
    for strip in strips:
        rows = slice(top, top + strip.height)
        opaque, clear = _split(strip)
        pixels[rows] = colours.convert(opaque)
        if alpha is not None and clear is not None:
            alpha[rows] = np.asarray(clear)
        top = rows.stop


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours of mode L, RGB or CMYK, and alpha of mode L where the source has any."""
    if image.mode.startswith("I"):  # grey of 32 bits, or with a sign, which Pillow's own conversion would clip
        samples = np.asarray(image).astype(np.int32)
        return Image.fromarray((samples >> 8).clip(0, 255).astype(np.uint8)), None
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode in GREYS:
        return image.convert("L"), alpha
    if image.mode == "CMYK":
        return image, alpha
    return image.convert("RGBA").convert("RGB") if alpha else rgb(image), alpha


def rgb(image: Image.Image) -> Image.Image:
    """The image itself when it is RGB: Pillow's `convert` would copy it."""
    return image if image.mode == "RGB" else image.convert("RGB")
