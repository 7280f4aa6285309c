"""One enlargement in processes of its own, for their peak memory: `python -m bench.once WIDTH HEIGHT SCALE FORMAT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any

from tessera.job import Limits
from tessera.recipe import Encode, Recipe, Thumbnail, Upscale
from tessera_engine import imageio, models
from tessera_engine.picture import Picture
from tessera_engine.pipeline import carry_out

from bench.speed import scene


class Peak(Thread):
    """The most memory that this process and its children hold together: what they share is counted once (PSS)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over, self.most = Event(), 0

    def run(self) -> None:
        while not self.over.wait(0.25):
            held = sum(map(resident, [os.getpid(), *children()]))
            self.most = max(self.most, held)

    def stop(self) -> str:
        self.over.set()
        self.join()
        return f"{self.most / 1024:.0f} MiB" if self.most else "Linux only"


def children() -> list[int]:
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(word) for path in lists for word in path.read_text().split()]


def resident(process: int) -> int:
    """kB; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def own_resident() -> int:
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
    peak = Peak()
    peak.start()
    with TemporaryFile() as sink:
        carry_out(recipe, source, limits, stand_in="refuse", listener=lambda _: None, sink=sink)
    print(peak.stop())


if __name__ == "__main__":
    main()
