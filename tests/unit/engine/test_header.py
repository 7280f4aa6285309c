from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from PIL import Image
from tessera_engine.errors import CorruptImage, UnsupportedFormat
from tessera_engine.header import ImageInfo, probe


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("png", "RGB", {}),
        ("png", "P", {}),
        ("jpeg", "RGB", {}),
        ("jpeg", "L", {"progressive": True}),
        ("jpeg", "CMYK", {"comment": b"\xff\xc0" * 40}),  # a comment that looks like a frame header
        ("webp", "RGB", {}),
        ("webp", "RGB", {"lossless": True}),
        ("webp", "RGBA", {"lossless": True}),
        ("webp", "RGBA", {}),
        ("webp", "RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),  # makes it VP8X
    ],
)
def test_format_and_size_of_what_pillow_writes(
    kind: str, mode: str, options: dict[str, object], make_file: Callable[..., bytes]
) -> None:
    image = Image.new(mode, (301, 17), 3 if mode in "LP" else None)
    assert probe(make_file(image, kind, **options)) == ImageInfo(kind, 301, 17)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"%PDF-1.7", b"II*\0", b"<svg/>", b"RIFF\0\0\0\0WAVE", b"\x89PNG", b"%!PS-Adobe"]
)
def test_anything_else_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        probe(data)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_cut_through_a_header_is_told_apart(kind: str, make_file: Callable[..., bytes]) -> None:
    whole = make_file(Image.new("RGB", (5, 4)), kind)
    for length in range(12, len(whole)):
        try:
            assert probe(whole[:length]) == probe(whole)
        except (CorruptImage, UnsupportedFormat):
            assert length < 700


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 0, 9),
        b"\x89PNG\r\n\x1a\n\0\0\0\rJUNK" + struct.pack(">II", 9, 9),
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 500,
        b"\xff\xd8\xff\xe0\0\0" + b"\0" * 50,  # a segment of length 0 does not stop the walk
        b"\xff\xd8\xff\xda\0\x08\xff\xc0\0\x11\x08\0\x05\0\x05",
        b"RIFF\0\0\0\0WEBPJUNK" + bytes(20),
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(20),
        b"RIFF\0\0\0\0WEBPVP8L" + bytes(20),
    ],
)
def test_headers_that_make_no_sense(data: bytes) -> None:
    with pytest.raises(CorruptImage):
        probe(data)
