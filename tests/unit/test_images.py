"""The header probe against pictures that Pillow wrote, and against damaged ones."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tessera import images

from tests.world import encoded


def nothing_more(first: int, count: int) -> bytes:
    return b""


def probe(body: bytes, head: int = images.HEAD_BYTES) -> images.Header:
    return images.probe(body[:head], lambda first, count: body[first : first + count])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "bmp", "gif"])
@pytest.mark.parametrize("size", [(1, 1), (17, 4), (1000, 3)])
def test_format_and_size(kind: Any, size: tuple[int, int]) -> None:
    header = probe(encoded(Image.new("RGB", size), kind))
    assert (header.format, header.width, header.height) == (kind, *size)


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}, {"save_all": True}])
def test_all_three_kinds_of_webp(options: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (33, 21), (1, 2, 3, 4)).save(buffer, "webp", **options)
    header = probe(buffer.getvalue())
    assert (header.width, header.height) == (33, 21)


def test_a_jpeg_whose_size_lies_behind_its_colour_profile() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "jpeg", icc_profile=bytes(200_000), progressive=True)
    assert probe(buffer.getvalue(), head=1024).pixels == 1200


def test_a_13000_pixel_bomb_is_measured_by_its_header() -> None:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (13000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    assert images.probe(head, nothing_more).pixels == 169_000_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GIF89a" + bytes(100),
        b"%PDF-1.7" + bytes(100),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xd9" + bytes(10),
        b"\xff\xd8\xff\xe0\xff\xff",
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(20),
        b"RIFF\0\0\0\0WEBP",
        encoded(Image.new("RGB", (4, 4)), "png")[:20],
    ],
)
def test_what_is_no_picture_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(images.NotAPicture) as refused:
        probe(body)
    assert refused.value.reason


@given(
    st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"RIFF\0\0\0\0WEBPVP8X",
            b"II*\0",
            b"MM\0*",
            b"BM",
            b"GIF89a",
        ]
    ),
    st.binary(max_size=80),
)
def test_no_bytes_break_the_probe(start: bytes, rest: bytes) -> None:
    try:
        header = probe(start + rest)
    except images.NotAPicture:
        return
    assert header.pixels >= 1


def test_a_header_of_a_thousand_small_segments_costs_few_reads() -> None:
    body = b"\xff\xd8" + b"\xff\xe0\xff\xff" + bytes(0xFFFD) + b"\xff\xfe\x00\x04\x00\x00" * 998
    reads: list[int] = []

    def read(first: int, count: int) -> bytes:
        reads.append(first)
        return body[first : first + count]

    with pytest.raises(images.NotAPicture):
        images.probe(body[: images.HEAD_BYTES], read)
    assert len(reads) <= images.MAX_WINDOWS


# ---------------------------------------------------------------- results


def probe_result(body: bytes, head: int = images.HEAD_BYTES) -> images.Header:
    return images.probe_result(body[:head], lambda first, count: body[first : first + count])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_result_may_be_of_any_format(kind: Any, mode: str) -> None:
    picture = Image.new("RGB" if (kind, mode) == ("jpeg", "RGBA") else mode, (301, 77))
    header = probe_result(encoded(picture, kind))
    assert (header.format, header.width, header.height) == (kind, 301, 77)


def test_no_upload_may_be_of_a_format_that_is_for_results_only() -> None:
    with pytest.raises(images.NotAPicture, match="Allowed: JPEG, PNG, WEBP"):
        probe(encoded(Image.new("RGB", (4, 4)), "avif"))


def test_a_bmp_of_the_oldest_form_and_one_with_its_rows_from_the_top() -> None:
    old = b"BM" + bytes(12) + (12).to_bytes(4, "little") + (7).to_bytes(2, "little") + (5).to_bytes(2, "little")
    assert (probe(old + bytes(8)).width, probe(old + bytes(8)).height) == (7, 5)
    sides = (7).to_bytes(4, "little") + (-5).to_bytes(4, "little", signed=True)
    header = probe(b"BM" + bytes(12) + (40).to_bytes(4, "little") + sides)
    assert (header.width, header.height) == (7, 5)


def test_a_tiff_whose_directory_lies_at_its_end() -> None:
    body = encoded(Image.effect_noise((300, 300), 90), "tiff")
    entries, at = body[int.from_bytes(body[4:8], "little") :], int.from_bytes(body[4:8], "little")
    length = 2 + 12 * int.from_bytes(entries[:2], "little")
    moved = body[:4] + len(body).to_bytes(4, "little") + body[8:] + body[at : at + length]
    assert probe_result(moved, head=1024).pixels == 90_000


@given(st.sampled_from([b"II*\0", b"MM\0*", b"\0\0\0\x20ftypavif", b""]), st.binary(max_size=120))
def test_no_bytes_break_the_probe_of_results(start: bytes, rest: bytes) -> None:
    try:
        header = probe_result(start + rest)
    except images.NotAPicture:
        return
    assert header.width >= 1 and header.height >= 1
