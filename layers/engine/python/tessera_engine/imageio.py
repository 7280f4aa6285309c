"""Bytes to Picture and back.

Whatever the source was, a Picture is upright, sRGB, 8 bits per sample, alpha apart. Grey stays grey.
"""

from __future__ import annotations

import importlib
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms
from tessera.job import Limits
from tessera.recipe import Encode

from tessera_engine import metadata
from tessera_engine.encoders import MAX_SIDE, encoder, most_pixels
from tessera_engine.errors import CorruptImage, EngineError, TooManyPixels, UnsupportedFormat
from tessera_engine.header import HEIF_READER, ImageInfo, SourceFormat
from tessera_engine.metadata import Origin
from tessera_engine.picture import Picture, from_image

UPRIGHT = {  # EXIF orientation -> how the stored pixels have to be turned
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow's decoders raise on damaged files, beside MemoryError, which is not the picture's fault.
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
GREY_ALPHA = 4  # PNG's colour type
STRANGE = ("F", "LAB", "HSV")  # measurements, and colours that no screen picture has
NOTE_EIGHT_BITS = "16 bits per colour were reduced to 8."
NOTE_PROFILE = "The colour profile is damaged and was ignored."
NOTE_CMYK = "CMYK colours without a profile were converted by rule of thumb."
NOTE_METADATA = "The picture's metadata could not be carried over."


def check_limits(info: ImageInfo, scale: int, target: Encode, limits: Limits) -> None:
    """TooManyPixels when the source, or its enlargement, is above the job's limits or the format's."""
    if info.pixels > limits.max_input_pixels:
        raise TooManyPixels(
            f"The picture has {info.width} x {info.height} pixels; at most {limits.max_input_pixels:,} are accepted."
        )
    width, height = info.width * scale, info.height * scale
    if width * height > limits.max_output_pixels:
        raise TooManyPixels(
            f"Enlarged {scale} times it would have {width} x {height} pixels; "
            f"at most {limits.max_output_pixels:,} are made."
        )
    kind = target.format.upper()
    if max(width, height) > MAX_SIDE[target.format]:
        raise TooManyPixels(
            f"Enlarged {scale} times it would be {width} x {height} pixels; "
            f"a {kind} ends at {MAX_SIDE[target.format]:,} on a side."
        )
    most = most_pixels(target)
    if most is not None and width * height > most:
        raise TooManyPixels(
            f"Enlarged {scale} times it would have {width} x {height} pixels; a {kind} with these options is made of "
            f"at most {most:,}. PNG and JPEG that is not progressive have no such limit."
        )


def decode(data: bytes, info: ImageInfo) -> tuple[Picture, tuple[str, ...]]:
    """The picture, and notes for its owner. `info` is what `probe` says of `data`, its limits already checked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=[opener(info.format)]) as image:
                if image.size != (info.width, info.height) and not _turned(image, info):
                    raise CorruptImage("The picture's headers contradict each other.")
                deep = info.format == "png" and data[24] == 16  # IHDR's bit depth
                return _read(image, deep=deep, grey=deep and data[25] == GREY_ALPHA)
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


def _read(image: Image.Image, *, deep: bool, grey: bool) -> tuple[Picture, tuple[str, ...]]:
    notes = [NOTE_EIGHT_BITS] if deep else []
    if image.format in FRAMES and getattr(image, "n_frames", 1) > 1:
        notes.append(FRAMES[image.format])
    image.load()
    if image.mode in STRANGE:
        raise UnsupportedFormat("The picture's kind of colours is not supported.")
    exif = metadata.of_tiff(image) if image.format == "TIFF" else image.info.get("exif", b"")
    profile = image.info.get("icc_profile")
    packet, dpi = _packet(image), _density(image, exif)
    colours, alpha = _split(image)
    if grey:  # which Pillow has read as three equal colours
        colours = colours.convert("L")
    if colours.mode == "CMYK" and not profile:
        notes.append(NOTE_CMYK)
    upright = UPRIGHT.get(metadata.orientation(exif))
    try:
        colours = _srgb(colours, profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append(NOTE_PROFILE)
        colours = colours if colours.mode == "L" else rgb(colours)
    if alpha is not None:
        colours.putalpha(alpha)
    if upright is not None:
        colours = colours.transpose(upright)
    picture = from_image(colours)
    return Picture(picture.pixels, picture.alpha, exif, packet, dpi), tuple(notes)


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


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours of mode L, RGB or CMYK, and alpha of mode L where the source has any."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip instead of shift
        samples = np.asarray(image).astype(np.int32)
        grey = Image.fromarray((samples >> 8).clip(0, 255).astype(np.uint8))
        clear = image.info.get("transparency")
        return grey, None if clear is None else Image.fromarray(np.where(samples == clear, 0, 255).astype(np.uint8))
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode in ("1", "L", "LA"):
        return image.convert("L"), alpha
    if image.mode == "CMYK":
        return image, alpha
    return image.convert("RGBA").convert("RGB") if alpha else rgb(image), alpha


def rgb(image: Image.Image) -> Image.Image:
    """The image itself when it is RGB: Pillow's `convert` would copy it."""
    return image if image.mode == "RGB" else image.convert("RGB")


def _srgb(colours: Image.Image, profile: bytes | None) -> Image.Image:
    """Mode RGB, or L if it was, converted from the embedded profile; PyCMSError when that does not fit."""
    if not profile:
        return colours if colours.mode == "L" else rgb(colours)
    converted = ImageCms.profileToProfile(
        colours,
        ImageCms.ImageCmsProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # it is only when the image is changed in place
    return converted.getchannel("G") if colours.mode == "L" else converted  # a grey has three equal levels in sRGB


def encode(picture: Picture, options: Encode) -> tuple[bytes, tuple[str, ...]]:
    """The file, and notes for the picture's owner."""
    tags, lost = metadata.tags(Origin.of(picture), options)
    target = BytesIO()
    writer = encoder(target, picture, options, tags)
    for band in picture.bands():
        writer.write(band)
    writer.finish()
    return target.getvalue(), (NOTE_METADATA,) if lost else ()
