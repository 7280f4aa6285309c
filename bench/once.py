"""One enlargement in a process of its own, for its peak memory: `python -m bench.once WIDTH HEIGHT SCALE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tessera.job import Limits
from tessera.recipe import Encode, Recipe, Thumbnail, Upscale
from tessera_engine import imageio, models
from tessera_engine.picture import Picture
from tessera_engine.pipeline import carry_out

from bench.speed import scene


def peak() -> str:
    """This process' largest resident memory. Not from getrusage, which counts the parent's before exec."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return "Linux only"
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return f"{int(line.split()[1]) / 1024:.0f} MiB"


def main() -> None:
    width, height = (int(word) for word in sys.argv[1:3])
    scale: Any = int(sys.argv[3])
    source, _ = imageio.encode(Picture(scene(width, height)), Encode(format="jpeg"))
    recipe = Recipe(operations=(Upscale(model=models.DEFAULT.name, scale=scale), Encode(format="jpeg"), Thumbnail()))
    limits = Limits(max_input_pixels=10**9, max_output_pixels=10**9)
    carry_out(recipe, source, limits, stand_in="refuse", listener=lambda _: None)
    print(peak())


if __name__ == "__main__":
    main()
