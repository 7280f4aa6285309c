"""The encoders beside Pillow's own: pixels per second of processor time, and sizes. Candidates take turns."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tessera.recipe import Encode
from tessera_engine import deflate, imageio, models, tiling
from tessera_engine.picture import Picture
from tessera_engine.png import as_bytes
from zlib_ng import zlib_ng

from bench.psnr import Pixels
from bench.quality import read
from bench.speed import scene

ROUNDS = 5
PHOTOGRAPH = 7  # of Kodak's 24, by name: leaves and bricks, hard to compress

Candidate = Callable[[], bytes]


@dataclass(frozen=True)
class Zlib:
    """The standard library's, beside the engine's."""

    level: int
    strategy: int

    def compress(self, data: bytes | memoryview, *, last: bool = True) -> bytes:
        stream = zlib.compressobj(self.level, zlib.DEFLATED, -zlib.MAX_WBITS, deflate.MEMORY, self.strategy)
        return stream.compress(data) + stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def pillow(pixels: Pixels, kind: str, **options: Any) -> bytes:
    target = BytesIO()
    Image.fromarray(pixels).save(target, kind, **options)
    return target.getvalue()


def ours(pixels: Pixels, options: Encode) -> bytes:
    return imageio.encode(Picture(pixels), options)[0]


def drawing(width: int, height: int) -> Pixels:
    """Lines of figures and flat shapes."""
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    for top in range(0, height, 14):
        pen.text((4, top), " ".join(str((top * 37 + word * 91) % 9973) for word in range(width // 30)), fill="black")
    for number in range(40):
        left, top = number * 397 % width, number * 211 % height
        pen.ellipse((left, top, left + 90, top + 70), fill=(number * 6, 200 - number * 4, 120))
    return np.asarray(image)


def pictures(data: Path) -> dict[str, Pixels]:
    found = {"noisy scene": scene(1536, 1024), "drawing": drawing(1536, 1024)}
    if (data / "kodak").is_dir():
        photograph = read(sorted((data / "kodak").glob("*.png"))[PHOTOGRAPH])
        (weights,) = models.DEFAULT.passes(4)
        found["photograph"] = photograph
        found["photograph x4"] = tiling.enlarge(
            models.network(weights), photograph, tile=tiling.TILE, done=lambda _: None
        )
    return found


def candidates(pixels: Pixels) -> dict[str, Candidate]:
    jpeg = {"quality": 92, "subsampling": "4:2:0"}
    return {
        "PNG, Pillow's default": partial(pillow, pixels, "PNG"),
        "PNG, Pillow, level 1": partial(pillow, pixels, "PNG", compress_level=1),
        "PNG, ours": partial(ours, pixels, Encode(format="png")),
        "JPEG, Pillow, whole": partial(pillow, pixels, "JPEG", **jpeg),
        "JPEG, ours, strips": partial(ours, pixels, Encode(format="jpeg")),
        "WebP, ours": partial(ours, pixels, Encode(format="webp")),
        "WebP, ours, lossless": partial(ours, pixels, Encode(format="webp", lossless=True)),
        "TIFF, Pillow, deflate": partial(pillow, pixels, "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}),
        "TIFF, ours": partial(ours, pixels, Encode(format="tiff")),
        "AVIF, ours": partial(ours, pixels, Encode(format="avif")),
    }


def groups(data: Path) -> dict[str, list[Pixels]]:
    """Pictures of a kind, of which a mean is taken."""
    found = {"noisy scene": [scene(1536, 1024)], "drawing": [drawing(1536, 1024)]}
    if (data / "kodak").is_dir():
        photographs = [read(path) for path in sorted((data / "kodak").glob("*.png"))]
        crops = [np.ascontiguousarray(pixels[100:356, 150:406]) for pixels in photographs[::4]]
        (weights,) = models.DEFAULT.passes(4)
        network = models.network(weights)
        found["photographs"] = photographs
        found["Lanczos x4"] = [
            np.asarray(Image.fromarray(crop).resize((1024, 1024), Image.Resampling.LANCZOS)) for crop in crops
        ]
        found["network x4"] = [tiling.enlarge(network, crop, tile=tiling.TILE, done=lambda _: None) for crop in crops]
    return found


WAYS: dict[str, deflate.Method] = {
    "ISA-L 1, 512 B": deflate.NEAR,
    "ISA-L 1, 32 KiB": deflate.FAR,
    "ISA-L 3, 32 KiB": deflate.Igzip(15, level=3),
    "zlib-ng, Huffman only": deflate.Zlib(1, zlib_ng.Z_HUFFMAN_ONLY),
    "zlib-ng, runs": deflate.RUNS,
    "zlib-ng 1": deflate.Zlib(1),
    "zlib-ng 3": deflate.FILTERED,
    "zlib-ng 6": deflate.THOROUGH,
    "zlib, runs": Zlib(1, zlib.Z_RLE),
    "zlib 3": Zlib(3, zlib.Z_FILTERED),
}


def print_ways(data: Path) -> None:
    """Every filter with every compressor: speed of the two together, and size to Pillow's default; one core."""
    print("PNG's ways: MP per CPU second of filter and deflate, and mean size to Pillow's default; the Pareto front")
    for name, pixels in groups(data).items():
        usual = [timed(partial(pillow, part, "PNG")) for part in pixels]
        megapixels = sum(part.shape[0] * part.shape[1] for part in pixels) / 1e6
        whole = [timed(partial(ours, part, Encode(format="png"))) for part in pixels]
        rows = [("Pillow's default", sum(seconds for _, seconds in usual), 1.0)]
        rows.append(("ours, chosen by strip", sum(seconds for _, seconds in whole), shares(whole, usual)))
        ways = []
        for kind, label in enumerate(("none", "Sub", "Up", "Average", "Paeth")):
            for way, method in WAYS.items():
                results = [timed(partial(packed, part, kind, method)) for part in pixels]
                ways.append((f"{label}, {way}", sum(seconds for _, seconds in results), shares(results, usual)))
        front = [way for way in ways if not any(other[1] < way[1] and other[2] < way[2] for other in ways)]
        print(f"  {name}".ljust(36) + "MP / CPU s".rjust(12) + "CPU".rjust(8) + "size".rjust(8))
        for label, seconds, size in rows + sorted(front, key=lambda way: way[1]):
            print(f"    {label:32}{megapixels / seconds:12.1f}{rows[0][1] / seconds:7.1f}x{size:8.3f}")
    print()


def packed(pixels: Pixels, kind: int, method: deflate.Method) -> bytes:
    rows = as_bytes(pixels)
    return method.compress(deflate.filtered(rows, np.zeros_like(rows[0]), pixels.shape[2], kind).data)


def timed(candidate: Candidate) -> tuple[int, float]:
    """Size, and the median of the processor's seconds."""
    spent, size = [], 0
    for _ in range(ROUNDS):
        started = time.process_time()
        size = len(candidate())
        spent.append(time.process_time() - started)
    return size, median(spent)


def shares(sizes: list[tuple[int, float]], usual: list[tuple[int, float]]) -> float:
    return fmean(size / other for (size, _), (other, _) in zip(sizes, usual, strict=True))


def print_table(data: Path) -> None:
    print(f"Encoders: median of {ROUNDS}; wall is the real time beside that of the format's first row")
    for name, pixels in pictures(data).items():
        rows = candidates(pixels)
        spent: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
        sizes: dict[str, int] = {}
        for _ in range(ROUNDS):
            for row, candidate in rows.items():
                wall, processor = time.perf_counter(), time.process_time()
                sizes[row] = len(candidate())
                spent[row].append((time.perf_counter() - wall, time.process_time() - processor))
        megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
        print(
            f"  {name}, {megapixels:.1f} MP".ljust(28) + "MP / CPU s".rjust(12) + "CPU".rjust(8) + "wall".rjust(8),
            end="",
        )
        print("size".rjust(8))
        for row in rows:
            first = next(other for other in rows if other[:4] == row[:4])
            walls, processors = (median(column) for column in zip(*spent[row], strict=True))
            first_wall, first_processor = (median(column) for column in zip(*spent[first], strict=True))
            print(f"    {row:24}{megapixels / processors:12.1f}{first_processor / processors:7.1f}x", end="")
            print(f"{first_wall / walls:7.1f}x{sizes[row] / sizes[first]:8.3f}")
    print()
