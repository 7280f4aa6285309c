"""One enlargement in a process of its own, for its peak memory: `python -m bench.once WIDTH HEIGHT SCALE FORMAT`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tessera.job import Limits
from tessera.recipe import Encode, Recipe, Thumbnail, Upscale
from tessera_engine import imageio, models
from tessera_engine.picture import Picture
from tessera_engine.pipeline import carry_out

from bench.speed import scene


def forget_peak() -> None:
    """Begin to measure from what is resident now (Linux: proc(5), clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> str:
    """This process' largest resident memory. Not from getrusage, which counts the parent's before exec."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return "Linux only"
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return f"{int(line.split()[1]) / 1024:.0f} MiB"


def resident() -> int:
    """This process' resident memory now, in MiB; 0 where it is not known."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:")), 0)


def main() -> None:
    width, height = (int(word) for word in sys.argv[1:3])
    scale: Any = int(sys.argv[3])
    kind: Any = sys.argv[4]
    source, _ = imageio.encode(Picture(scene(width, height)), Encode(format="jpeg"))
    recipe = Recipe(operations=(Upscale(model=models.DEFAULT.name, scale=scale), Encode(format=kind), Thumbnail()))
    limits = Limits(max_input_pixels=10**9, max_output_pixels=10**9)
    forget_peak()
    with TemporaryFile() as sink:
        carry_out(recipe, source, limits, stand_in="refuse", listener=lambda _: None, sink=sink)
    print(peak())


if __name__ == "__main__":
    main()
