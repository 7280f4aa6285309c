"""What an answer says of a file: read from the file itself, by the worker."""

from __future__ import annotations

from typing import Any

from tessera.job import Picture


def to_picture(picture: Picture | None, name: str) -> dict[str, Any]:
    """Every name of the vendor's page, null where the worker told nothing."""
    return {
        "name": name,
        "format": picture and picture.format,
        "width": picture and picture.width,
        "height": picture and picture.height,
        "colorspace": picture and picture.colorspace,
        "interlaced": picture and picture.interlaced,
        "sampling": picture and picture.sampling,
        "depth": picture and picture.depth,
        "quality": picture and picture.quality,
        "bytes": picture and picture.bytes,
        "sha1": picture and picture.sha1,
    }
