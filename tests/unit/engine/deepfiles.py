"""PNG and TIFF files of 16 bits per sample, written and read by the specifications: Pillow keeps 8 of the bits."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint16]  # (h, w, 1..4)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def gradient(width: int, height: int, channels: int = 1) -> Samples:
    """Smooth, and finer than 8 bits: a step of about 200 of 65,535 from pixel to pixel, each channel its own."""
    down, across = np.mgrid[:height, :width]
    planes = [9_000 + 7_000 * c + across * (201 + c) + down * (187 - 3 * c) for c in range(channels)]
    return np.stack(planes, axis=-1).astype(np.uint16)


def png(samples: Samples, *chunks: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """Every row by another of the five filters (W3C PNG, 9.2); interlaced in seven pictures (8.2)."""
    height, width, channels = samples.shape
    stream = b"".join(
        filtered(samples[top::down, left::across])
        for left, top, across, down in (ADAM7 if interlaced else WHOLE)
        if left < width and top < height
    )
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, interlaced)
    body = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(stream)), (b"IEND", b"")]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in body
    )


def filtered(samples: Samples) -> bytes:
    rows = samples.astype(">u2").reshape(samples.shape[0], -1).view(np.uint8).astype(int)
    step = 2 * samples.shape[2]
    lines = []
    for number, row in enumerate(rows):
        above = rows[number - 1] if number else np.zeros_like(row)
        left, corner = (np.concatenate((np.zeros(step, int), line[:-step])) for line in (row, above))
        lines.append(bytes([number % 5]) + (row - guess(number % 5, left, above, corner)).astype(np.uint8).tobytes())
    return b"".join(lines)


def guess(kind: int, left: Any, above: Any, corner: Any) -> Any:
    if kind < 4:
        return (0 * left, left, above, (left + above) // 2)[kind]
    a, b, c = (np.abs(left + above - corner - near) for near in (left, above, corner))
    return np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))


def read_png(data: bytes) -> Samples:
    """Not interlaced."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    assert (depth, interlaced) == (16, 0)
    channels = {kind: count for count, kind in COLOUR_TYPES.items()}[colour]
    stream, place = b"", 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        stream += data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    step = 2 * channels
    lines = np.frombuffer(zlib.decompress(stream), np.uint8).reshape(height, 1 + step * width).astype(int)
    rows = np.zeros((height + 1, step + step * width), int)  # a row above and a pixel before
    for number, line in enumerate(lines):
        row, above = rows[number + 1], rows[number]
        for place in range(step, step + step * width, step):
            here, before = slice(place, place + step), slice(place - step, place)
            row[here] = (line[1:][before] + guess(line[0], row[before], above[here], above[before])) % 256
    return rows[1:, step:].astype(np.uint8).view(">u2").astype(np.uint16).reshape(height, width, channels)


def tiff(samples: Samples, order: str = "<", *, deflated: bool = False, orientation: int = 1) -> bytes:
    """One strip, `order` as struct has it (TIFF 6.0, sections 2 to 6; Adobe's technical note 2 for deflate)."""
    height, width, channels = samples.shape
    pixels = samples.astype(f"{order}u2").tobytes()
    strip = zlib.compress(pixels) if deflated else pixels
    entries = [
        (256, 3, (width,)),
        (257, 3, (height,)),
        (258, 3, (16,) * channels),
        (259, 3, (8 if deflated else 1,)),
        (262, 3, (1 if channels < 3 else 2,)),
        (273, 4, (8,)),
        (274, 3, (orientation,)),
        (277, 3, (channels,)),
        (278, 3, (height,)),
        (279, 4, (len(strip),)),
        *([(338, 3, (2,))] if channels in (2, 4) else []),
    ]
    body = strip + bytes(len(strip) % 2)
    extra, table = b"", struct.pack(f"{order}H", len(entries))
    start = 8 + len(body) + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack(f"{order}I", start + len(extra)), extra + packed
        table += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, 8 + len(body)) + body + table + bytes(4) + extra


def read_tiff(data: bytes, tags: dict[int, tuple[int, ...]]) -> Samples:
    """Little-endian strips of deflate with predictor 2 (TIFF 6.0, section 14); `tags` are those of the directory."""
    (width,), (height,), (channels,) = tags[256], tags[257], tags[277]
    assert set(tags[258]) == {16} and (tags[259], tags[317]) == ((8,), (2,))
    strips = (zlib.decompress(data[at : at + size]) for at, size in zip(tags[273], tags[279], strict=True))
    differences = np.frombuffer(b"".join(strips), "<u2").reshape(height, width, channels)
    return np.cumsum(differences, axis=1, dtype=np.uint16)
