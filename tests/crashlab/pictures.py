"""What callers send and workers write, made once."""

from __future__ import annotations

from PIL import Image

from tests.world import encoded, png


def long_header() -> bytes:
    """A JPEG whose size stands behind 130 KB of other segments, as colour profiles and previews make them."""
    whole = encoded(Image.new("RGB", (8, 6)), "jpeg")
    return whole[:2] + 2 * (b"\xff\xe2\xff\xff" + bytes(65_533)) + whole[2:]


PHOTO = png(6, 4)
OTHER = png(5, 5)
NO_PICTURE = b"these bytes are no picture"
LONG = long_header()
LONG_SOURCE = PHOTO + bytes(8 * 1024 * 1024)  # more than one part of what is fetched
PICTURES = {"result": png(24, 16), "jpeg": LONG, "garbage": NO_PICTURE}
