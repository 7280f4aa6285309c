"""Bytes to Picture and back.

Whatever the source was, a Picture is upright, sRGB, 8 bits per sample, alpha apart. Grey stays grey.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms
from tessera.job import Limits
from tessera.recipe import Encode, ImageFormat, Recipe
from tessera.sizes import DoesNotFit, Size

from tessera_engine import metadata
from tessera_engine.encoders import encoder
from tessera_engine.errors import CorruptImage, EngineError, Misfit, PictureError, TooManyPixels, UnsupportedFormat
from tessera_engine.header import ImageInfo
from tessera_engine.picture import Picture, from_image

# Pixels on a side. JPEG: libjpeg's JPEG_MAX_DIMENSION; WebP: 14 bits; PNG: 31 bits, never reached.
MAX_SIDE: dict[ImageFormat, int] = {"jpeg": 65_500, "png": 2**31 - 1, "webp": 16_383}

# Pixels that a format's encoder can take where it holds them all at once. WebP: about 12 bytes each, 1.5 GB in all.
MAX_WHOLE: dict[ImageFormat, int] = {"webp": 128_000_000}

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
FRAMES["TIFF"] = NOTE_FIRST_PAGE
GREY_ALPHA = 4  # PNG's colour type
STRANGE = ("F", "LAB", "HSV")  # measurements, and colours that no screen picture has
NOTE_EIGHT_BITS = "16 bits per colour were reduced to 8."
NOTE_PROFILE = "The colour profile is damaged and was ignored."
NOTE_CMYK = "CMYK colours without a profile were converted by rule of thumb."
NOTE_METADATA = "The picture's metadata could not be carried over."


def check_limits(info: ImageInfo, recipe: Recipe, limits: Limits) -> Size:
    """The size that the upright picture may have.

    TooManyPixels when the source, or what becomes of it, is above the job's limits or the format's; Misfit when an
    operation asks for what it does not have.

    Nothing is decoded, so it is not known whether the picture lies on its side: it is refused when it would be either
    way. `check_sizes` has the last word.
    """
    if info.pixels > limits.max_input_pixels:
        raise TooManyPixels(
            f"The picture has {info.width} x {info.height} pixels; at most {limits.max_input_pixels:,} are accepted."
        )
    try:
        check_sizes(info.width, info.height, recipe, limits)
    except PictureError as error:
        with suppress(PictureError):
            check_sizes(info.height, info.width, recipe, limits)
            return info.height, info.width
        raise error
    return info.width, info.height


def check_sizes(width: int, height: int, recipe: Recipe, limits: Limits) -> None:
    """The same for an upright picture, after every step; a file's own limits count for what is written."""
    across, down = width, height
    target = recipe.encode().format
    try:
        for operation, (across, down) in recipe.sizes(width, height):
            changed = (across, down) != (width, height)
            if changed and across * down > limits.max_output_pixels:
                raise TooManyPixels(
                    f"{_becoming(recipe)}it would have {across} x {down} pixels; "
                    f"at most {limits.max_output_pixels:,} are made."
                )
            if isinstance(operation, Encode):
                _check_file(across, down, target, _becoming(recipe))
    except DoesNotFit as error:
        raise Misfit(str(error)) from error


def _becoming(recipe: Recipe) -> str:
    scale = recipe.scale() or 1
    return f"Enlarged {scale} times " if scale > 1 else "As asked for, "


def _check_file(width: int, height: int, target: ImageFormat, becoming: str) -> None:
    if max(width, height) > MAX_SIDE[target]:
        raise TooManyPixels(
            f"{becoming}it would be {width} x {height} pixels; "
            f"a {target.upper()} ends at {MAX_SIDE[target]:,} on a side."
        )
    if width * height > MAX_WHOLE.get(target, width * height):
        raise TooManyPixels(
            f"{becoming}it would have {width} x {height} pixels; a {target.upper()} is made in one piece, "
            f"of at most {MAX_WHOLE[target]:,}. JPEG and PNG have no such limit."
        )


def decode(data: bytes, info: ImageInfo) -> tuple[Picture, tuple[str, ...]]:
    """The picture, and notes for its owner. `info` is what `probe` says of `data`, its limits already checked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=[info.format]) as image:
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


def _turned(image: Image.Image, info: ImageInfo) -> bool:
    """Pillow gives a TIFF upright, and its size so too."""
    return info.format == "tiff" and image.size == (info.height, info.width)


def _read(image: Image.Image, *, deep: bool, grey: bool) -> tuple[Picture, tuple[str, ...]]:
    notes = [NOTE_EIGHT_BITS] if deep else []
    if image.format in FRAMES and getattr(image, "n_frames", 1) > 1:
        notes.append(FRAMES[image.format])
    image.load()
    if image.mode in STRANGE:
        raise UnsupportedFormat("The picture's kind of colours is not supported.")
    exif, profile = image.info.get("exif", b""), image.info.get("icc_profile")
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
    return Picture(picture.pixels, picture.alpha, exif), tuple(notes)


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
    exif = metadata.kept(picture.exif, options.metadata)
    target = BytesIO()
    writer = encoder(target, picture, options, exif or b"")
    for band in picture.bands():
        writer.write(band)
    writer.finish()
    return target.getvalue(), (NOTE_METADATA,) if exif is None else ()
