"""The graphs that enlarge 16 bits per sample with the shipped fp32 weights: `python -m training.deep 4`.

Writes `m6c48-x<scale>-16.onnx`, two kilobytes: the layers, and where in a shipped file of floating point their kernels
begin (ONNX's external data). The files of all sets of one scale have the same layout, so one graph serves them all. The
new sha256 belongs into `tessera_engine/models.py`; run it again only when `training.export` writes another graph.

* `pixels` (1, H + 2r, W + 2r, 3) uint16 -> `enlarged` (1, H, W, 3 * scale * scale) uint16, r = 8: a pixel's places one
  after another, which `backends.onnx` puts in order (no runtime has DepthToSpace for 16 bits).
* 65,535 is 257 * 255. The network sees levels of 0..255 with their fractions; what it adds to the repeated input is
  brought back, so the input itself passes through exactly.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tessera_engine.backends.onnx import EXTERNAL
from tessera_engine.models import SHIPPED, WEIGHTS

from training.network import DEPTH, RADIUS

OPSET, IR_VERSION = 17, 8
LAYERS = ("head", *(f"body.{number}" for number in range(DEPTH)), "tail")


def external(file: bytes) -> dict[str, TensorProto]:
    """Every layer's weight and bias without its data, but with the place of that in `file`."""
    found = {tensor.name: tensor for tensor in onnx.ModelProto.FromString(file).graph.initializer}
    tensors = {}
    for name in (f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")):
        whole = found[name]
        if file.count(whole.raw_data) != 1 or whole.data_type != TensorProto.FLOAT:
            raise ValueError(f"{name} cannot be referred to")
        facts = {"location": EXTERNAL, "offset": file.index(whole.raw_data), "length": len(whole.raw_data)}
        tensors[name] = TensorProto(
            name=name,
            dims=whole.dims,
            data_type=TensorProto.FLOAT,
            data_location=TensorProto.EXTERNAL,
            external_data=[onnx.StringStringEntryProto(key=key, value=str(value)) for key, value in facts.items()],
        )
    return tensors


def graph(tensors: dict[str, TensorProto], scale: int) -> onnx.ModelProto:
    constants = {
        "crop_from": np.array([RADIUS, RADIUS], np.int64),
        "crop_to": np.array([-RADIUS, -RADIUS], np.int64),
        "crop_axes": np.array([2, 3], np.int64),
        "step": np.array(257, np.float32),
        "lowest": np.array(0, np.float32),
        "highest": np.array(65_535, np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["samples"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["samples", "step"], ["levels"]),
    ]
    features = "levels"
    for layer in LAYERS:
        nodes.append(helper.make_node("Conv", [features, f"{layer}.weight", f"{layer}.bias"], [layer]))
        features = layer
        if layer != "tail":
            nodes.append(helper.make_node("Relu", [layer], [f"{layer}.relu"]))
            features = f"{layer}.relu"
    nodes += [
        helper.make_node("Mul", ["tail", "step"], ["detail"]),
        helper.make_node("Slice", ["samples", "crop_from", "crop_to", "crop_axes"], ["middle"]),
        helper.make_node("Concat", ["middle"] * (scale * scale), ["repeated"], axis=1),
        helper.make_node("Add", ["detail", "repeated"], ["sum"]),
        helper.make_node("Round", ["sum"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "lowest", "highest"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["places"], to=TensorProto.UINT16),
        helper.make_node("Transpose", ["places"], ["enlarged"], perm=[0, 2, 3, 1]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            f"m6c48-x{scale}-16",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT16, [1, "padded_height", "padded_width", 3])],
            [helper.make_tensor_value_info("enlarged", TensorProto.UINT16, [1, "height", "width", 3 * scale**2])],
            [*tensors.values(), *(numpy_helper.from_array(value, name) for name, value in constants.items())],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the 16-bit graph of a scale beside the shipped fp32 files.")
    parser.add_argument("scale", type=int, choices=[2, 4])
    parser.add_argument("--target", type=Path, default=WEIGHTS, help="folder that has the fp32 files")
    options = parser.parse_args()
    files = [options.target / f"{model.name}-x{options.scale}.onnx" for model in SHIPPED]
    written = {graph(external(file.read_bytes()), options.scale).SerializeToString() for file in files}
    if len(written) != 1:
        raise SystemExit(f"error: {' and '.join(file.name for file in files)} differ in layout; export them anew")
    data = written.pop()
    (options.target / f"m6c48-x{options.scale}-16.onnx").write_bytes(data)
    print(hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    main()
