"""The public networks on one NVIDIA GPU: `python -m bench.gpu --data FOLDER [--out FILE]`; nothing is downloaded.

For each network: forward passes on a tensor that lies on the device beside a matrix product (GEMM) of the same run,
the engine (uint8 in, uint8 out, both in the host's memory) beside those passes and beside RealESRGANer's usual way of
working with the same weights, and the difference that tiles make. All of them take turns; medians are shown.
Without a GPU the same code runs at a small size on the CPU, which shows that it works and says nothing about GPUs.
RealESRGANer needs the packages of `.venv-oracle` (the Makefile's `bench-gpu`) and is left out elsewhere.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from tessera_engine.archs.rrdbnet import RRDBNet
from tessera_engine.archs.srvgg import SRVGGNetCompact
from tessera_engine.backends import torch as backend
from tessera_engine.backends.torch import Architecture, TorchNetwork
from torch.utils.flop_counter import FlopCounterMode

from bench import oracle
from bench.engine import Row, rounded, versions
from bench.psnr import Pixels
from bench.speed import HEIGHT, WIDTH, Candidate, scene, seconds

THEIR_PAD = 10  # px, RealESRGANer's own default
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """What is computed. Widths and heights are pixels of the input."""

    gemm: int  # rows and columns
    picture: tuple[int, int]
    strip: tuple[int, int]  # on which tiles are compared with the whole: wider than the widest halo
    tile: int
    their_tile: int
    rrdb: tuple[int, int, int]  # features, blocks, growth


FULL = Size(8192, (WIDTH, HEIGHT), (1024, 256), 256, 400, (64, 23, 32))  # x4plus; about 10 GB of the GPU's memory
SMALL = Size(1024, (96, 64), (96, 64), 32, 40, (16, 1, 16))


@dataclass(frozen=True)
class Subject:
    """A network: its file, and how the program that it came with builds it."""

    name: str
    file: Path
    theirs: Callable[[], Any]

    def load(self, *, half: bool) -> TorchNetwork:
        return backend.load(((self.file.name, self.file.read_bytes()),), 1.0, half_safe=half, device=device())


def cuda() -> bool:
    return bool(torch.cuda.is_available())


def device() -> str:
    return "cuda" if cuda() else "cpu"


def device_name() -> str:
    return str(torch.cuda.get_device_name()) if cuda() else "CPU"


# ---------------------------------------------------------------- networks
def subjects(size: Size, weights: Path, folder: Path) -> list[Subject]:
    """An RRDB with drawn weights, and the compact networks with their own where `weights` has them, else drawn.

    Drawn weights are written to `folder`. A network's time does not depend on its weights.
    """
    features, blocks, growth = size.rrdb
    net = contrasted(seeded(lambda: RRDBNet(num_feat=features, num_block=blocks, num_grow_ch=growth)))
    name = f"RRDB of {blocks} blocks, {features} features, drawn"
    found = [Subject(name, saved(net, folder / "rrdb.pth"), partial(oracle.rrdb, *size.rrdb))]
    for name, convolutions in oracle.NETWORKS.items():
        files = sorted(weights.glob(f"{name}*.pth"))
        if not files:
            net = seeded(partial(SRVGGNetCompact, num_conv=convolutions))
            files = [saved(net, folder / f"{name}.pth")]
            name += ", drawn"
        found.append(Subject(name, files[0], partial(oracle.compact, convolutions)))
    return found


def seeded(make: Callable[[], Architecture]) -> Architecture:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make()


def contrasted(net: Architecture) -> Architecture:
    """With a last convolution that gives pictures a mean of 0.5 and a deviation of 0.2; as drawn they are even grey."""
    with torch.no_grad():
        made = net(resident(scene(32, 32), torch.device("cpu")))
        gain = 0.2 / made.std()
        net.last.bias.sub_(made.mean()).mul_(gain).add_(0.5)
        net.last.weight.mul_(gain)
    return net


def saved(net: Architecture, file: Path) -> Path:
    torch.save({"params": net.state_dict()}, file)
    return file


def flop(net: Architecture, where: torch.device) -> float:
    """Multiplications and additions of a forward pass per pixel of the input."""
    side = 16
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros((1, 3, side, side), device=where))
    return float(counter.get_total_flops()) / side**2


# ---------------------------------------------------------------- candidates
def synchronised(work: Candidate) -> Candidate:
    """Ends when the device has done its work, so that the next candidate begins on an idle one."""

    def run() -> None:
        work()
        if cuda():
            torch.cuda.synchronize()

    return run


def gemm(side: int) -> Candidate:
    """Half precision on CUDA, single on the CPU, as the networks run there."""
    kind = torch.float16 if cuda() else torch.float32
    generator = torch.Generator(device()).manual_seed(3)
    first, second = (torch.randn((side, side), generator=generator, dtype=kind, device=device()) for _ in range(2))
    product = torch.empty_like(first)
    return partial(torch.matmul, first, second, out=product)


def resident(pixels: Pixels, where: torch.device) -> Any:
    """uint8 (h, w, 3) to float32 (1, 3, h, w) on the device, in the layout in which the engine hands it over."""
    values = torch.from_numpy(pixels).to(where).permute(2, 0, 1)[None].to(torch.float32).div(255)
    return values.contiguous(memory_format=torch.channels_last)


def forward(net: Architecture, values: Any) -> None:
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        net(values)


def enhance(restorer: Any, pixels: Pixels) -> Pixels:
    """BGR to BGR; RealESRGANer prints a line for every tile."""
    with redirect_stdout(StringIO()):
        enlarged: Pixels = restorer.enhance(pixels)[0]
    return enlarged


def restorer(subject: Subject, tile: int) -> Any:
    net = subject.theirs()
    return oracle.restorer(subject.file, net, device=device(), tile=tile, tile_pad=THEIR_PAD, half=cuda())


# ---------------------------------------------------------------- figures
def figures(subject: Subject, size: Size) -> Row:
    """`..._of_...` are ratios of rates, more is better; `theirs_over_engine` is a ratio of times."""
    torch.cuda.empty_cache()  # the engine plans its tiles by what is free
    times, peaks = speeds(subject, size)
    network = subject.load(half=False)
    needed = flop(network.net, network.device) * size.picture[0] * size.picture[1]
    product = 2 * size.gemm**3 / times["gemm"]
    found: Row = {
        "gemm_tflops": product / 1e12,
        "raw_tflops": needed / times["raw"] / 1e12,
        "raw_of_gemm": needed / times["raw"] / product,
        "engine_of_raw": times["raw"] / times["engine"],
        "ms": {name: 1000 * value for name, value in times.items()},
        "tiled_levels": tiled_levels(subject, size),
    }
    if peaks:
        found["peak_mib"] = peaks
    if "theirs" in times:
        found["theirs_over_engine"] = times["theirs"] / times["engine"]
        found |= their_levels(subject, size)
    return found


def speeds(subject: Subject, size: Size) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each candidate, and on CUDA the peak MiB of its work above what lay on the device before."""
    pixels = scene(*size.picture)
    network = subject.load(half=True)
    values = resident(pixels, network.device)
    candidates: dict[str, Candidate] = {
        "gemm": gemm(size.gemm),
        "raw": partial(forward, network.half or network.net, values),
        "engine": partial(oracle.enlarge, network, pixels),
    }
    if oracle.installed():
        candidates["theirs"] = partial(enhance, restorer(subject, size.their_tile), oracle.swapped(pixels))
    candidates = {name: synchronised(candidate) for name, candidate in candidates.items()}
    times = seconds(candidates)
    return times, {name: peak(candidate) for name, candidate in candidates.items()} if cuda() else {}


def peak(candidate: Candidate) -> float:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    candidate()
    return float(torch.cuda.max_memory_allocated() - before) / MIB


def tiled_levels(subject: Subject, size: Size) -> dict[str, int]:
    """Precision -> largest difference between the engine's tiles and its whole picture."""
    pixels = scene(*size.strip)
    found = {}
    for name, half in {"fp32": False, **({"fp16": True} if cuda() else {})}.items():
        network = subject.load(half=half)
        whole, tiled = (at_side(network, side, pixels) for side in (max(size.strip), size.tile))
        found[name] = oracle.levels(whole, tiled)
    return found


def at_side(network: TorchNetwork, side: int, pixels: Pixels) -> Pixels:
    network.side = side
    enlarged = oracle.enlarge(network, pixels)
    if network.side != side:
        raise MemoryError(f"the device's memory does not suffice for tiles of {side} x {side}")
    return enlarged


def their_levels(subject: Subject, size: Size) -> dict[str, int]:
    """RealESRGANer's tiles beside its own whole picture, and the engine beside that one."""
    pixels = scene(*size.strip)
    whole, tiled = (enhance(restorer(subject, tile), oracle.swapped(pixels)) for tile in (0, size.their_tile))
    ours = oracle.enlarge(subject.load(half=True), pixels)
    return {
        "theirs_tiled_levels": oracle.levels(whole, tiled),
        "engine_to_theirs_levels": oracle.levels(oracle.swapped(whole), ours),
    }


# ---------------------------------------------------------------- report
def measure(size: Size, weights: Path) -> Row:
    machine = {**versions(), "device": device_name(), "cuda": str(torch.version.cuda), "gpu_figures": cuda()}
    with tempfile.TemporaryDirectory() as folder:
        networks = {subject.name: figures(subject, size) for subject in subjects(size, weights, Path(folder))}
    return {"machine": machine, "size": asdict(size), "networks": rounded(networks)}


def print_report(report: Row) -> None:
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    if not report["machine"]["gpu_figures"]:
        print("No NVIDIA GPU: CPU FIGURES of a small size follow, in single precision. They say nothing about a GPU.")
    (width, height), side = report["size"]["picture"], report["size"]["gemm"]
    print(f"{width} x {height} px, GEMM {side} x {side}, medians; more is better, but for levels and MiB")
    titles = ("GEMM TFLOP/s", "raw/GEMM", "engine/raw", "engine/theirs", "tiled, levels", "theirs tiled", "peak MiB")
    print("  " + "".ljust(44) + "".join(title.rjust(15) for title in titles))
    for name, row in report["networks"].items():
        cells = (
            f"{row['gemm_tflops']:.2f}",
            f"{row['raw_of_gemm']:.2f}",
            f"{row['engine_of_raw']:.2f}",
            f"{row['theirs_over_engine']:.2f}" if "theirs_over_engine" in row else "-",
            ", ".join(f"{levels} {kind}" for kind, levels in row["tiled_levels"].items()),
            str(row.get("theirs_tiled_levels", "-")),
            f"{row['peak_mib']['engine']:.0f}" if "peak_mib" in row else "-",
        )
        print("  " + name.ljust(44) + "".join(cell.rjust(15) for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description="Measure the public networks on a GPU.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has weights/")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    report = measure(FULL if cuda() else SMALL, options.data / "weights")
    print_report(report)
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
