"""How fast the engine is beside Pillow's Lanczos on the same machine in the same minute, and where its time goes.

All candidates of a table take turns, so that a machine that is busy for a while is busy for all; medians are printed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from itertools import product
from statistics import median

import numpy as np
from PIL import Image
from tessera.recipe import Encode
from tessera_engine import decoding, imageio, models, tiling
from tessera_engine.encoders import encoder
from tessera_engine.enlargement import Enlargement
from tessera_engine.header import probe
from tessera_engine.metadata import Tags
from tessera_engine.picture import Picture
from tessera_engine.preview import Preview

from bench.psnr import Pixels

WIDTH, HEIGHT = 1024, 768  # pixels of the picture that is enlarged
ROUNDS = 5

Candidate = Callable[[], object]


def scene(width: int, height: int) -> Pixels:
    """Soft shapes, edges and a little noise: it compresses about like a photograph."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (height // 32 + 2, width // 32 + 2, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    down, across = np.mgrid[:height, :width]
    edges = np.where((across // 48 + down // 64) % 3 == 0, 24, 0)[:, :, None]
    noise = rng.integers(-3, 4, (height, width, 3))
    return (soft + edges + noise).clip(0, 255).astype(np.uint8)


def seconds(candidates: dict[str, Candidate]) -> dict[str, float]:
    """Median wall time of each; the first round, which warms up, is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(ROUNDS + 1):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in times.items()}


def enlarge(pixels: Pixels, scale: int, tile: int) -> Pixels:
    for weights in models.DEFAULT.passes(scale):
        pixels = tiling.enlarge(models.network(weights), pixels, tile=tile, done=lambda _: None)
    return pixels


def lanczos(pixels: Pixels, scale: int) -> Pixels:
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def print_enlarging() -> None:
    pixels = scene(WIDTH, HEIGHT)
    quarter = pixels[: HEIGHT // 2, : WIDTH // 2]
    tiled, whole = tiling.TILE, max(WIDTH, HEIGHT)
    candidates: dict[str, tuple[int, int, Candidate]] = {
        "Lanczos x4": (4, pixels.size, partial(lanczos, pixels, 4)),
        f"engine x4, tiles of {tiled}": (4, pixels.size, partial(enlarge, pixels, 4, tiled)),
        "engine x4, tiles of 512": (4, pixels.size, partial(enlarge, pixels, 4, 512)),
        "engine x4, not tiled": (4, pixels.size, partial(enlarge, pixels, 4, whole)),
        "Lanczos x2": (2, pixels.size, partial(lanczos, pixels, 2)),
        f"engine x2, tiles of {tiled}": (2, pixels.size, partial(enlarge, pixels, 2, tiled)),
        "Lanczos x8": (8, quarter.size, partial(lanczos, quarter, 8)),
        f"engine x8, tiles of {tiled}": (8, quarter.size, partial(enlarge, quarter, 8, tiled)),
    }
    times = seconds({name: candidate for name, (_, _, candidate) in candidates.items()})
    print(f"Enlarging: {WIDTH} x {HEIGHT} (x8: a quarter of it), median of {ROUNDS}")
    print("  " + "".ljust(28) + "MP/s in".rjust(10) + "MP/s out".rjust(10) + "time / Lanczos".rjust(16))
    for name, (scale, samples, _) in candidates.items():
        rate = samples / 3e6 / times[name]
        ratio = times[name] / times[f"Lanczos x{scale}"]
        print("  " + name.ljust(28) + f"{rate:10.2f}{rate * scale**2:10.1f}{ratio:16.1f}")
    print()


def preview(picture: Picture) -> Picture:
    small = Preview(picture, 320)
    for band in picture.bands():
        small.write(band)
    return small.finish()


def print_shares() -> None:
    source = Picture(scene(WIDTH, HEIGHT))
    jpeg, _ = imageio.encode(source, Encode(format="jpeg"))
    result = Picture(enlarge(source.pixels, 4, tiling.TILE))
    times = seconds(
        {
            "decode JPEG": lambda: decoding.decode(jpeg, probe(jpeg)),
            "enlarge x4": lambda: enlarge(source.pixels, 4, tiling.TILE),
            "encode JPEG": lambda: imageio.encode(result, Encode(format="jpeg")),
            "encode WebP": lambda: imageio.encode(result, Encode(format="webp")),
            "encode PNG": lambda: imageio.encode(result, Encode(format="png")),
            "thumbnail": lambda: preview(result),
        }
    )
    print(f"Steps: {WIDTH} x {HEIGHT} to {WIDTH * 4} x {HEIGHT * 4}, median of {ROUNDS}")
    for name, value in times.items():
        print(f"  {name:28}{value * 1000:8.0f} ms{value / times['enlarge x4']:10.1%} of enlarging")
    print()


def print_memory() -> None:
    print("Peak memory of a process with everything in it: JPEG in, enlarged picture to a file")
    print("  " + "".ljust(36) + "peak".rjust(10) + "above decoded input".rjust(22))
    sizes = ((1024, 1024, 4), (2048, 2048, 4), (2900, 2160, 4), (1450, 1080, 8))  # 17, 67, 100, 100 MP
    for (width, height, scale), kind in product(sizes, ("jpeg", "png")):
        words = [str(width), str(height), str(scale), kind]
        ran = subprocess.run([sys.executable, "-m", "bench.once", *words], check=True, capture_output=True, text=True)
        peak = int(ran.stdout.split()[0]) if ran.stdout[0].isdigit() else 0
        name = f"{width} x {height} x{scale} to {kind.upper()}, {width * height * scale**2 / 1e6:.0f} MP"
        print(f"  {name:36}{peak:6} MiB{peak - width * height * 3 / 2**20:18.0f} MiB")
    print()


def print_bands() -> None:
    source = scene(WIDTH, HEIGHT)
    (weights,) = models.DEFAULT.passes(4)
    made = Enlargement(models.network(weights), source, None, tiling.TILE, lambda _: None)
    for kind in ("jpeg", "png"):
        options = Encode.model_validate({"format": kind})
        times = seconds(
            {
                "in bands": partial(in_bands, made, options),
                "whole": lambda options=options: imageio.encode(made.whole(), options),  # type: ignore[misc]
            }
        )
        print(f"Enlarged x4 and written as {kind.upper()}: bands / whole {times['in bands'] / times['whole']:.2f}")
    print()


def in_bands(made: Enlargement, options: Encode) -> None:
    writer = encoder(BytesIO(), made, options, Tags())
    for band in made.bands():
        writer.write(band)
    writer.finish()
