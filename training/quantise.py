"""Shipped fp32 weights to their int8 partner: `python -m training.quantise tessera-photo 4 --data ../shared/data`.

Writes `<name>-x<scale>-int8.onnx` beside the fp32 file, and its card as JSON. The new sha256 belongs into
`tessera_engine/models.py`. Run it again whenever the fp32 file has changed: the card says which one it was made from.

Post-training quantisation with fixed scales, so a pixel's enlargement depends on nothing but its neighbourhood:

* Features are bytes. ReLU lets a channel be scaled before it and scaled back after it (cross-layer equalisation, Nagel
  et al., "Data-Free Quantization", ICCV 2019). Channels that stay low are stretched half the way, by the square root:
  less rounds coarser features, more rounds coarser kernels (of six ways tried this is the closest to fp32). The layer's
  largest value on pictures like those of the training, and headroom, becomes 255, so the scale of all features is 1.
* Kernels are -127..127 with one scale per output channel, biases 32 bits.
* The input's bytes go beside the last features into the last convolution, which adds them to the levels that it makes
  (kernels of one tap). The sum is rounded once, and saturates where a level does: nothing else can overflow, and flat
  areas get no error from the sum.
* What leaves the graph is a pixel's scale x scale places one after another: integer convolutions give it in this order,
  and the backend puts rows of places in order quicker than DepthToSpace does.
* QuantizeLinear and DequantizeLinear around every Conv is the form from which a runtime makes integer convolutions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tessera_engine.backends.onnx import load as session_of
from tessera_engine.models import WEIGHTS

from bench.quality import scores
from training.export import LICENCE
from training.network import DEPTH, RADIUS
from training.pictures import Batches, Pixels, load, sources

OPSET, IR_VERSION = 17, 8
LAYERS = ("head", *(f"body.{number}" for number in range(DEPTH)), "tail")
KERNEL_LEVELS = 127
# How often the input's bytes are beside the last features: a quarter is less than the largest weight of any channel of
# the tail, and 48 + 4 * 3 channels are a multiple of 4; else onnxruntime takes three times as long for that layer.
COPIES = 4
HEADROOM = 1.5  # above what calibration saw: lettering goes beyond photographs, and what is clipped there is seen
LOWEST = 0.2  # of a layer's largest value: what a channel is taken to reach that is almost always 0
PATCH, BATCH, BATCHES, SEED = 64, 16, 24, 2026  # of calibration: 384 crops

Kernels = dict[str, NDArray[np.float64]]  # "head.weight", "head.bias", ... for levels in and out


@dataclass(frozen=True)
class Layer:
    """What an integer convolution needs: (o, i, 3, 3) int8, (o,) int32, and (o,) the value of one step."""

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    steps: NDArray[np.float32]


def kernels(model: onnx.ModelProto) -> Kernels:
    found = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in model.graph.initializer}
    return {f"{layer}.{part}": found[f"{layer}.{part}"] for layer in LAYERS for part in ("weight", "bias")}


def patches(data: Path, scale: int) -> Iterator[Pixels]:
    """(1, PATCH, PATCH, 3) each: crops as the training draws them, of the pictures that the weights are made of."""
    files = [source.file for source in sources(data / "train", "A")]
    batches = Batches(load(data / "train", files, scale, (2,)), scale, PATCH, BATCH, SEED)
    for number in range(BATCHES):
        low, _ = batches[number]
        yield from low[:, None]


def largest(model: onnx.ModelProto, pictures: Iterable[Pixels]) -> dict[str, NDArray[np.float64]]:
    """Layer -> the largest value of each channel after its ReLU, and HEADROOM."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = [f"{layer}.relu" for layer in LAYERS[:-1]]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    highest: dict[str, NDArray[np.float64]] = {}
    for pixels in pictures:
        for layer, features in zip(LAYERS, session.run(names, {"pixels": pixels}), strict=False):
            tops = features.max(axis=(0, 2, 3)).astype(np.float64)
            highest[layer] = np.maximum(highest.get(layer, tops), tops)
    return {layer: HEADROOM * tops for layer, tops in highest.items()}


def equalised(original: Kernels, highest: dict[str, NDArray[np.float64]]) -> Kernels:
    """The same function; a layer's largest value is 255, a channel with the part p of it gets sqrt(p)."""
    result = {name: value.copy() for name, value in original.items()}
    for layer, following in pairwise(LAYERS):
        top = highest[layer].max()
        gain = 255 / np.sqrt(top * np.maximum(highest[layer], LOWEST * top))
        result[f"{layer}.weight"] *= gain[:, None, None, None]
        result[f"{layer}.bias"] *= gain
        result[f"{following}.weight"] /= gain[:, None, None]
    return result


def quantised(weight: NDArray[np.float64], bias: NDArray[np.float64], steps: NDArray[np.float64]) -> Layer:
    levels = np.rint(weight / steps[:, None, None, None]).clip(-KERNEL_LEVELS, KERNEL_LEVELS)
    return Layer(levels.astype(np.int8), np.rint(bias / steps).astype(np.int32), steps.astype(np.float32))


def steps_of(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest step per output channel with which its largest weight can be written."""
    peaks = np.abs(weight).max(axis=(1, 2, 3))
    return np.where(peaks > 0, peaks, 1) / KERNEL_LEVELS


def with_base(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Layer:
    """The last convolution with the input's bytes beside its features, COPIES times.

    The step is made a whole part of 1 / COPIES: then the bytes pass through exactly.
    """
    parts = np.minimum(np.floor(1 / (COPIES * steps_of(weight))), KERNEL_LEVELS)
    layer = quantised(weight, bias, 1 / (COPIES * parts))
    base = np.zeros((len(bias), 3 * COPIES, 3, 3), np.int8)
    for channel in range(len(bias)):
        base[channel, channel % 3 :: 3, 1, 1] = parts[channel]
    return Layer(np.concatenate([layer.weight, base], axis=1), layer.bias, layer.steps)


def graph(original: Kernels, highest: dict[str, NDArray[np.float64]], scale: int) -> onnx.ModelProto:
    ready = equalised(original, highest)
    layers = {
        name: quantised(ready[f"{name}.weight"], ready[f"{name}.bias"], steps_of(ready[f"{name}.weight"]))
        for name in LAYERS[:-1]
    }
    layers["tail"] = with_base(ready["tail.weight"], ready["tail.bias"])
    constants: dict[str, NDArray[Any]] = {
        "crop_from": np.array([RADIUS - 1, RADIUS - 1], np.int64),
        "crop_to": np.array([1 - RADIUS, 1 - RADIUS], np.int64),
        "crop_axes": np.array([2, 3], np.int64),
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
    }
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Slice", ["planes", "crop_from", "crop_to", "crop_axes"], ["middle"]),
    ]
    features = "planes"
    for name, layer in layers.items():
        constants |= {
            f"{name}.weight": layer.weight,
            f"{name}.bias": layer.bias,
            f"{name}.steps": layer.steps,
            f"{name}.zeros": np.zeros(len(layer.steps), np.int8),
            f"{name}.bias.zeros": np.zeros(len(layer.steps), np.int32),
        }
        if name == "tail":
            nodes.append(helper.make_node("Concat", [features, *["middle"] * COPIES], ["features_and_base"], axis=1))
            features = "features_and_base"
        nodes += [
            helper.make_node("DequantizeLinear", [features, "one", "zero"], [f"{name}.in"]),
            helper.make_node(
                "DequantizeLinear", [f"{name}.weight", f"{name}.steps", f"{name}.zeros"], [f"{name}.kernel"], axis=0
            ),
            helper.make_node(
                "DequantizeLinear", [f"{name}.bias", f"{name}.steps", f"{name}.bias.zeros"], [f"{name}.offset"], axis=0
            ),
            helper.make_node("Conv", [f"{name}.in", f"{name}.kernel", f"{name}.offset"], [f"{name}.out"]),
            helper.make_node("QuantizeLinear", [f"{name}.out", "one", "zero"], [f"{name}.bytes"]),  # clips: ReLU
        ]
        features = f"{name}.bytes"
    nodes.append(helper.make_node("Transpose", [features], ["enlarged"], perm=[0, 2, 3, 1]))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            f"m6c48-x{scale}-int8",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "padded_height", "padded_width", 3])],
            [helper.make_tensor_value_info("enlarged", TensorProto.UINT8, [1, "height", "width", 3 * scale**2])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def card(weights: bytes, origin: Path, name: str, scale: int, data: Path) -> dict[str, Any]:
    """What the int8 file was made from and what it scores beside it."""
    both = {"fp32": session_of(origin.read_bytes(), scale, RADIUS), "int8": session_of(weights, scale, RADIUS)}
    found = scores(data, scale, both)
    return {
        "file": f"{origin.stem}-int8.onnx",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "licence": LICENCE,
        "architecture": f"M6C48 in 8-bit integers, scale {scale}, halo {RADIUS}",
        "commands": [f"python -m training.quantise {name} {scale}"],
        "made_from": {"file": origin.name, "sha256": hashlib.sha256(origin.read_bytes()).hexdigest()},
        "calibration": {"crops": BATCH * BATCHES, "patch": PATCH, "seed": SEED, "pictures": "pictures.json"},
        "y_psnr_db": {kind: {which: row[which] for which in both} for kind, row in found.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the int8 partner of a shipped fp32 file, with its card.")
    parser.add_argument("name", choices=["tessera-fidelity", "tessera-photo"])
    parser.add_argument("scale", type=int, choices=[2, 4])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has train/, set5/, set14/, kodak/")
    parser.add_argument("--target", type=Path, default=WEIGHTS, help="folder that has the fp32 file")
    options = parser.parse_args()
    origin: Path = options.target / f"{options.name}-x{options.scale}.onnx"
    model = onnx.load(origin)
    made = graph(kernels(model), largest(model, patches(options.data, options.scale)), options.scale)
    weights = made.SerializeToString()
    facts = card(weights, origin, options.name, options.scale, options.data)
    file = options.target / facts["file"]
    file.write_bytes(weights)
    file.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
