"""The default network's candidates: precisions and runtimes, each as a function from a tile with its halo to pixels.

`python -m bench.runtimes NAME THREADS` runs one in a process of its own, for its start and its memory.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tessera_engine import models
from tessera_engine.backends.onnx import OnnxNetwork, in_order

from bench.psnr import Pixels

TILE = 256  # px a side, without the halo
CHANNELS = (3, *[48] * 7)  # what each of the eight convolutions reads

Candidate = Callable[[Pixels], Pixels]


def flops(scale: int, tile: int = TILE) -> int:
    """Multiplications and additions for one tile, those for its halo with it: eight 3x3 convolutions, none padded."""
    made = (*CHANNELS[1:], 3 * scale**2)
    sides = range(tile + 14, tile - 1, -2)
    return sum(2 * 9 * read * out * side**2 for read, out, side in zip(CHANNELS, made, sides, strict=True))


def file(scale: int, *, quick: bool) -> Path:
    weights = next(weights for weights in models.DEFAULT.weights if weights.scale == scale)
    assert isinstance(weights, models.Weights) and weights.quick is not None
    return models.WEIGHTS / (weights.quick.file if quick else weights.file)


def session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def with_onnxruntime(scale: int, threads: int, *, quick: bool) -> Candidate:
    return OnnxNetwork(session(file(scale, quick=quick).read_bytes(), threads), scale, 8).enlarge


def with_openvino(scale: int, threads: int, *, quick: bool) -> Candidate:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    core: Any = openvino.Core()
    compiled: Any = core.compile_model(str(file(scale, quick=quick)), "CPU", settings)

    def enlarge(tile: Pixels) -> Pixels:
        pixels: Pixels = compiled([np.ascontiguousarray(tile[None])])[0][0]
        return pixels if pixels.shape[2] == 3 else in_order(pixels, scale)

    return enlarge


Make = Callable[[int, int], Candidate]  # of scale and threads

# Without OpenVINO's bf16: on this graph 2026.4.1 gives an empty picture or cannot set up the last convolution.
ALL: dict[str, Make] = {
    "onnxruntime fp32": partial(with_onnxruntime, quick=False),
    "onnxruntime int8": partial(with_onnxruntime, quick=True),
    "OpenVINO fp32": partial(with_openvino, quick=False),
    "OpenVINO int8": partial(with_openvino, quick=True),
}


def available() -> dict[str, Make]:
    has_openvino = importlib.util.find_spec("openvino") is not None
    return {name: make for name, make in ALL.items() if has_openvino or not name.startswith("OpenVINO")}


def matrices(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    first, second = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    return first, second


def main() -> None:
    """Prints seconds from here to the first tile, and resident memory after three, as JSON."""
    from bench.once import own_resident

    name, threads = sys.argv[1], int(sys.argv[2])
    tile = np.zeros((TILE + 16, TILE + 16, 3), np.uint8)
    began = time.perf_counter()
    enlarge = ALL[name](4, threads)
    enlarge(tile)
    first = time.perf_counter() - began
    for _ in range(2):
        enlarge(tile)
    print(json.dumps({"first_tile_s": round(first, 3), "resident_mib": own_resident()}))


if __name__ == "__main__":
    main()
