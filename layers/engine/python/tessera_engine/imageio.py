"""What may be enlarged into which file, and Picture to bytes. `decoding` is the way in."""

from __future__ import annotations

from io import BytesIO

from tessera.job import Limits
from tessera.recipe import Encode, ImageFormat

from tessera_engine import metadata
from tessera_engine.encoders import encoder
from tessera_engine.errors import TooManyPixels
from tessera_engine.header import ImageInfo
from tessera_engine.picture import Picture

# Pixels on a side. JPEG: libjpeg's JPEG_MAX_DIMENSION; WebP: 14 bits; PNG: 31 bits, never reached.
MAX_SIDE: dict[ImageFormat, int] = {"jpeg": 65_500, "png": 2**31 - 1, "webp": 16_383}

# Pixels that a format's encoder can take where it holds them all at once. WebP: about 12 bytes each, 1.5 GB in all.
MAX_WHOLE: dict[ImageFormat, int] = {"webp": 128_000_000}

NOTE_METADATA = "The picture's metadata could not be carried over."


def check_limits(info: ImageInfo, scale: int, target: ImageFormat, limits: Limits) -> None:
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
    if max(width, height) > MAX_SIDE[target]:
        raise TooManyPixels(
            f"Enlarged {scale} times it would be {width} x {height} pixels; "
            f"a {target.upper()} ends at {MAX_SIDE[target]:,} on a side."
        )
    if width * height > MAX_WHOLE.get(target, width * height):
        raise TooManyPixels(
            f"Enlarged {scale} times it would have {width} x {height} pixels; a {target.upper()} is made in one piece, "
            f"of at most {MAX_WHOLE[target]:,}. JPEG and PNG have no such limit."
        )


def encode(picture: Picture, options: Encode) -> tuple[bytes, tuple[str, ...]]:
    """The file, and notes for the picture's owner."""
    exif = metadata.kept(picture.exif, options.metadata)
    target = BytesIO()
    writer = encoder(target, picture, options, exif or b"")
    for band in picture.bands():
        writer.write(band)
    writer.finish()
    return target.getvalue(), (NOTE_METADATA,) if exif is None else ()
