"""The encoders beside Pillow's own: pixels per second of processor time, and sizes. Candidates take turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tessera.recipe import Encode
from tessera_engine import imageio, models, tiling
from tessera_engine.picture import Picture

from bench.psnr import Pixels
from bench.quality import read
from bench.speed import scene

ROUNDS = 5
PHOTOGRAPH = 7  # of Kodak's 24, by name: leaves and bricks, hard to compress

Candidate = Callable[[], bytes]


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
    }


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
