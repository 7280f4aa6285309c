"""The engine's goals in one run: `python -m bench.engine --data FOLDER [--out FILE]` prints them and writes JSON.

All candidates of a comparison take turns; medians and their ratios are shown, which hold on a busy machine too.
G3 and OpenVINO's rows need the packages of `.venv-oracle` (the Makefile's `bench-engine`) and are left out elsewhere.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tessera.job import Limits
from tessera.recipe import Encode, Recipe, Upscale
from tessera_engine import decoding, imageio, models, tiling
from tessera_engine.backends.onnx import OnnxNetwork
from tessera_engine.cores import usable_cores
from tessera_engine.header import probe
from tessera_engine.picture import Picture
from tessera_engine.pipeline import carry_out

from bench import encoders, oracle, quality, runtimes
from bench.__main__ import machine
from bench.psnr import Pixels, psnr
from bench.speed import HEIGHT, WIDTH, Candidate, enlarge, scene, seconds

GEMM = 1024  # rows and columns
PACKAGES = ("numpy", "onnxruntime", "pillow", "openvino", "torch", "realesrgan")
UNLIMITED = Limits(max_input_pixels=10**9, max_output_pixels=10**9)

Row = dict[str, Any]


def versions() -> Row:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"processor": machine(), "cores": usable_cores(), "python": platform.python_version(), **found}


def matmul(threads: int) -> Candidate:
    from onnx import TensorProto, helper

    shape = [GEMM, GEMM]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b", "product")}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["product"])],
        "gemm",
        [values["a"], values["b"]],
        [values["product"]],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtimes.session(made.SerializeToString(), threads)
    first, second = runtimes.matrices(GEMM)
    return partial(session.run, None, {"a": first, "b": second})


def g1_network(data: Path) -> Row:
    """FLOP/s of the network by the GEMM's of the same threads; every candidate's start, memory and loss."""
    pixels = scene(runtimes.TILE + 16, runtimes.TILE + 16)
    rows: Row = {}
    for threads in dict.fromkeys((1, usable_cores())):
        ready = {name: make(4, threads) for name, make in runtimes.available().items()}
        candidates: dict[str, Candidate] = {"gemm": matmul(threads)}
        candidates |= {name: partial(candidate, pixels) for name, candidate in ready.items()}
        times = seconds(candidates)
        gemm = 2 * GEMM**3 / times.pop("gemm")
        rows[f"{threads} threads"] = {"gemm_gflops": gemm / 1e9} | {
            name: {
                "ms": 1000 * value,
                "of_gemm": runtimes.flops(4) / value / gemm,
                "quicker_than_fp32": times["onnxruntime fp32"] / value,
            }
            for name, value in times.items()
        }
    rows["process"] = {name: process(name) for name in runtimes.available()}
    rows["loss_db"] = {f"x{scale}": losses(data, scale) for scale in (2, 4)}
    return rows


def process(name: str) -> Row:
    words = [sys.executable, "-m", "bench.runtimes", name, "1"]
    found: Row = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def losses(data: Path, scale: int) -> Row:
    """Set -> PSNR of fp32 minus PSNR of each other candidate."""
    found: Row = {}
    for name in ("set5", "set14", "kodak"):
        folder = data / name
        if not folder.is_dir():
            continue
        pictures = list(quality.reduced(folder, scale) if name == "kodak" else quality.benchmark(folder, scale))
        found[name] = {}
        for label, make in runtimes.available().items():
            network = Named(make(scale, usable_cores()), scale)
            found[name][label] = quality.score(quality.tiled(network), pictures, scale)
        exact = found[name]["onnxruntime fp32"]
        found[name] = {label: exact - value for label, value in found[name].items()}
    return found


class Named:
    """A candidate as the tiling wants it."""

    halo = 8

    def __init__(self, candidate: runtimes.Candidate, scale: int) -> None:
        self.candidate, self.scale = candidate, scale

    def enlarge(self, tile: Pixels) -> Pixels:
        return self.candidate(tile)


def g2_end_to_end() -> Row:
    """JPEG in, JPEG out, beside the sum of decoding, network and encoding on their own."""
    source = Picture(scene(WIDTH, HEIGHT))
    jpeg, _ = imageio.encode(source, Encode(format="jpeg"))
    recipe = Recipe(operations=(Upscale(model=models.DEFAULT.name, scale=4), Encode(format="jpeg")))
    result = Picture(enlarge(source.pixels, 4, tiling.TILE))

    def whole() -> None:
        carry_out(recipe, jpeg, UNLIMITED, stand_in="refuse", listener=lambda _: None, sink=BytesIO())

    times = seconds(
        {
            "engine": whole,
            "decode": lambda: decoding.decode(jpeg, probe(jpeg)),
            "network": lambda: enlarge(source.pixels, 4, tiling.TILE),
            "encode": lambda: imageio.encode(result, Encode(format="jpeg")),
        }
    )
    return {"seconds": times, "ratio": times["engine"] / (times["decode"] + times["network"] + times["encode"])}


def g4_tiles() -> Row:
    """Largest difference in levels between tiled and whole, in floating point and in integers."""
    found: Row = {}
    for scale, quick in product((2, 4), (False, True)):
        data = runtimes.file(scale, quick=quick).read_bytes()
        network = OnnxNetwork(runtimes.session(data, usable_cores()), scale, 8)
        worst = 0
        for width, height in ((200, 150), (131, 97), (31, 260), (1, 5)):
            pixels = scene(width, height)
            whole = tiling.enlarge(network, pixels, tile=1000, done=lambda _: None)
            for tile in (16, 33, 64, 100, 128):
                worst = max(
                    worst, oracle.levels(whole, tiling.enlarge(network, pixels, tile=tile, done=lambda _: None))
                )
        found[f"x{scale} {'int8' if quick else 'fp32'}"] = worst
    return found


def g5_memory() -> Row:
    """Peak MiB of a process above the decoded input, by the result's megapixels."""
    found: Row = {}
    for width, height in ((1000, 1000), (2000, 2000), (2900, 2160)):
        words = [sys.executable, "-m", "bench.once", str(width), str(height), "4", "jpeg"]
        printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found[f"{width * height * 16 / 1e6:.0f} MP"] = int(printed.split()[0]) - width * height * 3 / 2**20
    return found


def g7_quality(data: Path) -> Row:
    """Set and scale -> method -> Y PSNR in dB."""
    return dict(quality.tables(data))


def g7_public(data: Path) -> Row:
    """The compact public networks at x4, on Set5 and Set14."""
    found: Row = {}
    for name in oracle.NETWORKS:
        for file in sorted((data / "weights").glob(f"{name}*.pth"))[:1]:
            method = oracle.ours(file)
            for folder in quality.SETS:
                if (data / folder).is_dir():
                    pictures = list(quality.benchmark(data / folder, 4))
                    found.setdefault(f"{folder} x4", {})[name] = np.mean(
                        [psnr(method(picture.low), picture.high, 4) for picture in pictures]
                    ).item()
    return found


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def show(value: Any, depth: int = 1) -> None:
    for key, inner in value.items():
        if isinstance(inner, dict) and any(isinstance(part, dict) for part in inner.values()):
            print("  " * depth + key)
            show(inner, depth + 1)
        elif isinstance(inner, dict):
            cells = ", ".join(f"{name} {cell}" for name, cell in inner.items())
            print("  " * depth + f"{key}: {cells}")
        else:
            print("  " * depth + f"{key}: {inner}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description="Measure the engine against its goals.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has set5/, set14/, kodak/, weights/")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", nargs="*", default=[], help="for example G1 G4")
    options = parser.parse_args()
    data: Path = options.data
    goals: dict[str, Callable[[], Row]] = {
        "G1 network against GEMM (0.95 or more, or quicker at 0.1 dB)": partial(g1_network, data),
        "G2 engine against decode + network + encode (1.05 or less)": g2_end_to_end,
        "G4 tiled against whole, levels (0)": g4_tiles,
        "G5 peak memory above the decoded input, MiB (300 or less)": g5_memory,
        "G7 Y PSNR, dB": partial(g7_quality, data),
    }
    if oracle.installed():
        goals["G3 RealESRGANer's time by ours (2.5 or more at 1 level)"] = partial(oracle.rows, data / "weights")
        goals["G7 Y PSNR of the public networks, dB"] = partial(g7_public, data)
    report: Row = {"machine": versions()}
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    for title, measure in sorted(goals.items()):
        if options.only and title[:2] not in options.only:
            continue
        report[title] = rounded(measure())
        print(title)
        show(report[title])
        if options.out:
            options.out.write_text(json.dumps(report, indent=2) + "\n")
    if not options.only or "G6" in options.only:
        print("G6", end=" ")
        encoders.print_table(data)


if __name__ == "__main__":
    main()
