"""Y PSNR of the shipped weights beside what every picture program does, on sets of pictures with a known truth.

A set is a folder with `LR_x<scale>/` (MATLAB bicubic) and `HR/`; `HR_x<scale>/NAME` replaces `HR/NAME` where the truth
of that scale has another size. Kodak is a plain folder: its small pictures are made here, with Pillow's bicubic, and
once more as the web leaves them: `kodak worn` has blur, other filters, noise and JPEG, always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image
from tessera_engine import models, tiling
from tessera_engine.picture import eight_bits

from bench.psnr import Pixels, psnr
from training.wear import photo

SETS = ("set5", "set14")
SEED = 2026

Method = Callable[[Pixels, int], Pixels]


@dataclass(frozen=True)
class Truth:
    low: Pixels
    high: Pixels


def read(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def benchmark(folder: Path, scale: int) -> Iterator[Truth]:
    for file in sorted((folder / f"LR_x{scale}").iterdir()):
        own = folder / f"HR_x{scale}" / file.name
        low, high = read(file), read(own if own.is_file() else folder / "HR" / file.name)
        yield Truth(low, high[: low.shape[0] * scale, : low.shape[1] * scale])


def reduced(folder: Path, scale: int) -> Iterator[Truth]:
    for file in sorted(folder.glob("*.png")):
        high = read(file)
        height, width = high.shape[0] // scale, high.shape[1] // scale
        high = high[: height * scale, : width * scale]
        low = Image.fromarray(high).resize((width, height), Image.Resampling.BICUBIC)
        yield Truth(np.asarray(low), high)


def worn(pictures: list[Truth], scale: int) -> list[Truth]:
    return [
        Truth(photo(eight_bits(picture.high), scale, np.random.default_rng((SEED, number))), picture.high)
        for number, picture in enumerate(pictures)
    ]


def resize(kind: Image.Resampling) -> Method:
    def enlarge(low: Pixels, scale: int) -> Pixels:
        size = (low.shape[1] * scale, low.shape[0] * scale)
        return np.asarray(Image.fromarray(low).resize(size, kind))

    return enlarge


def tiled(network: tiling.Network) -> Method:
    def enlarge(low: Pixels, scale: int) -> Pixels:
        return tiling.enlarge(network, low, tile=tiling.TILE, done=lambda _: None)

    return enlarge


def methods(networks: Mapping[str, tiling.Network]) -> dict[str, Method]:
    return {
        "bicubic": resize(Image.Resampling.BICUBIC),
        "Lanczos": resize(Image.Resampling.LANCZOS),
        **{name: tiled(network) for name, network in networks.items()},
    }


def score(method: Method, pictures: list[Truth], scale: int) -> float:
    """Mean Y PSNR in dB, a border of `scale` pixels left out."""
    return mean(psnr(method(picture.low, scale), picture.high, scale) for picture in pictures)


def scores(data: Path, scale: int, networks: Mapping[str, tiling.Network]) -> dict[str, dict[str, float]]:
    """Set -> method -> dB, for the sets that are there and networks of that scale, by name."""
    found = {name: list(benchmark(data / name, scale)) for name in SETS if (data / name).is_dir()}
    if (data / "kodak").is_dir():
        found["kodak"] = list(reduced(data / "kodak", scale))
        found["kodak worn"] = worn(found["kodak"], scale)
    return {
        name: {label: round(score(method, pictures, scale), 3) for label, method in methods(networks).items()}
        for name, pictures in found.items()
    }


def shipped(scale: int) -> dict[str, tiling.Network]:
    """The networks that come with the engine, as they run on this processor."""
    return {model.name: models.network(model.passes(scale)[0]) for model in models.SHIPPED}


def tables(data: Path) -> dict[str, dict[str, float]]:
    """ "<set> x<scale>" -> method -> dB."""
    return {f"{name} x{scale}": row for scale in (2, 4) for name, row in scores(data, scale, shipped(scale)).items()}


def print_table(data: Path) -> None:
    print("Quality: Y PSNR in dB, border = scale")
    found = tables(data)
    if not found:
        print(f"  no pictures in {data}: give the folder with set5/, set14/, kodak/ as --data\n")
        return
    print("  " + "set".ljust(16) + "".join(name.rjust(18) for name in next(iter(found.values()))))
    for name, row in found.items():
        print("  " + name.ljust(16) + "".join(f"{value:18.2f}" for value in row.values()))
    print()
