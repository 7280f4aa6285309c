"""What may be enlarged into which file, and Picture to bytes. `decoding` is the way in."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from tessera.job import Limits
from tessera.recipe import Encode, Recipe
from tessera.sizes import DoesNotFit, Size

from tessera_engine import metadata
from tessera_engine.encoders import MAX_SIDE, encoder, most_pixels
from tessera_engine.errors import Misfit, PictureError, TooManyPixels
from tessera_engine.header import ImageInfo
from tessera_engine.metadata import Origin
from tessera_engine.picture import BYTES, Depth, Picture

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
        check_sizes(info.width, info.height, recipe, limits, info.dtype)
    except PictureError as error:
        with suppress(PictureError):
            check_sizes(info.height, info.width, recipe, limits, info.dtype)
            return info.height, info.width
        raise error
    return info.width, info.height


def check_sizes(width: int, height: int, recipe: Recipe, limits: Limits, dtype: Depth = BYTES) -> None:
    """The same for an upright picture, after every step; a file's own limits count for what is written."""
    across, down = width, height
    target = recipe.encode()
    try:
        for operation, (across, down) in recipe.sizes(width, height):
            changed = (across, down) != (width, height)
            if changed and across * down > limits.max_output_pixels:
                raise TooManyPixels(
                    f"{_becoming(recipe)}it would have {across} x {down} pixels; "
                    f"at most {limits.max_output_pixels:,} are made."
                )
            if isinstance(operation, Encode):
                _check_file(across, down, target, _becoming(recipe), dtype)
    except DoesNotFit as error:
        raise Misfit(str(error)) from error


def _becoming(recipe: Recipe) -> str:
    scale = recipe.scale() or 1
    return f"Enlarged {scale} times " if scale > 1 else "As asked for, "


def _check_file(width: int, height: int, target: Encode, becoming: str, dtype: Depth) -> None:
    kind, most = target.format.upper(), most_pixels(target, dtype)
    if max(width, height) > MAX_SIDE[target.format]:
        raise TooManyPixels(
            f"{becoming}it would be {width} x {height} pixels; a {kind} ends at {MAX_SIDE[target.format]:,} on a side."
        )
    if most is not None and width * height > most:
        raise TooManyPixels(
            f"{becoming}it would have {width} x {height} pixels; a {kind} with these options is made of at most "
            f"{most:,}. PNG and JPEG that is not progressive have no such limit."
        )


def encode(picture: Picture, options: Encode) -> tuple[bytes, tuple[str, ...]]:
    """The file, and notes for the picture's owner."""
    tags, lost = metadata.tags(Origin.of(picture), options)
    target = BytesIO()
    writer = encoder(target, picture, options, tags)
    for band in picture.bands():
        writer.write(band)
    writer.finish()
    return target.getvalue(), (NOTE_METADATA,) if lost else ()
