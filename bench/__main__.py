"""Quality, speed and memory of the engine in one run: `python -m bench [--data FOLDER]`."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy
import onnxruntime
import PIL
from tessera_engine.cores import usable_cores

from bench import encoders, quality, speed


def machine() -> str:
    """The processor's name as Linux gives it, else as Python does."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the engine on this machine.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has set5/, set14/ and kodak/")
    options = parser.parse_args()
    print(f"{machine()}, {usable_cores()} cores, Python {platform.python_version()}, ", end="")
    print(f"onnxruntime {onnxruntime.__version__}, numpy {numpy.__version__}, Pillow {PIL.__version__}\n")
    quality.print_table(options.data)
    speed.print_enlarging()
    speed.print_shares()
    speed.print_bands()
    encoders.print_table(options.data)
    encoders.print_ways(options.data)
    speed.print_memory()


if __name__ == "__main__":
    main()
