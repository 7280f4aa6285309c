"""A finished run to shipped weights: `python -m training.export training/runs/x4 --data ../shared/data`.

Writes `tessera-<set>-x<scale>.onnx`, a card of the same name as JSON (how it was made, what it scores) and
`pictures.json`, the pictures it was made of. The new sha256 belongs into the catalogue, `tessera_engine/models.py`.

The graph is written by hand, node by node, so that bytes go in and bytes come out and nothing is done twice:

* `pixels` (1, H + 2r, W + 2r, 3) uint8 -> `enlarged` (1, H * scale, W * scale, 3) uint8, r = 8, the receptive radius.
* The convolutions have no padding: every one takes a pixel off each side, so the output is the exact middle, and the
  caller decides what lies beyond the picture's edge.
* Levels 0..255 are used throughout; the 1/255 and the 255 of the trained network are folded into the weights.
* The tail's channels are ordered for DepthToSpace's DCR mode, where repeating a pixel is to concatenate the input.
* QuantizeLinear with a scale of 1 rounds, clips and casts in one pass.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tessera_engine.backends.onnx import load
from tessera_engine.models import WEIGHTS

from bench.quality import scores
from training.network import DEPTH, RADIUS

LICENCE = "CC0-1.0"
OPSET, IR_VERSION = 17, 8  # of 2021: every onnxruntime since 1.12 reads it


def folded(state: dict[str, torch.Tensor], scale: int) -> dict[str, NDArray[np.float32]]:
    """The trained weights for levels in and out, the tail in DCR order."""
    weights = {name: value.double().numpy() for name, value in state.items()}
    weights["head.weight"] = weights["head.weight"] / 255
    order = np.arange(3 * scale * scale).reshape(3, scale * scale).T.ravel()  # colour-major to place-major
    weights["tail.weight"] = weights["tail.weight"][order] * 255
    weights["tail.bias"] = weights["tail.bias"][order] * 255
    return {name: value.astype(np.float32) for name, value in weights.items()}


def graph(state: dict[str, torch.Tensor], scale: int) -> onnx.ModelProto:
    weights = folded(state, scale)
    layers = ["head", *(f"body.{number}" for number in range(DEPTH)), "tail"]
    constants = {
        "crop_from": np.array([RADIUS, RADIUS], np.int64),
        "crop_to": np.array([-RADIUS, -RADIUS], np.int64),
        "crop_axes": np.array([2, 3], np.int64),
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
    }
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["levels"], to=TensorProto.FLOAT),
    ]
    features = "levels"
    for layer in layers:
        nodes.append(helper.make_node("Conv", [features, f"{layer}.weight", f"{layer}.bias"], [layer]))
        features = layer
        if layer != "tail":
            nodes.append(helper.make_node("Relu", [layer], [f"{layer}.relu"]))
            features = f"{layer}.relu"
    nodes += [
        helper.make_node("Slice", ["levels", "crop_from", "crop_to", "crop_axes"], ["middle"]),
        helper.make_node("Concat", ["middle"] * (scale * scale), ["repeated"], axis=1),
        helper.make_node("Add", ["tail", "repeated"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "one", "zero"], ["bytes"]),
        helper.make_node("DepthToSpace", ["bytes"], ["shuffled"], blocksize=scale, mode="DCR"),
        helper.make_node("Transpose", ["shuffled"], ["enlarged"], perm=[0, 2, 3, 1]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            f"m6c48-x{scale}",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "padded_height", "padded_width", 3])],
            [helper.make_tensor_value_info("enlarged", TensorProto.UINT8, [1, "height", "width", 3])],
            [numpy_helper.from_array(value, name) for name, value in {**weights, **constants}.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def card(state: dict[str, Any], weights: bytes, run: Path, data: Path, before: list[str]) -> dict[str, Any]:
    """How the weights were made and what they score, measured on the file that is shipped."""
    plan, scale = state["plan"], state["plan"]["scale"]
    options = [("set", "fidelity"), ("loss", "l1"), ("start_from", None)]
    said = "".join(
        f" --{name.replace('_', '-')} {plan[name]}" for name, usual in options if plan.get(name, usual) != usual
    )
    train = f"python -m training.train --scale {scale} --run {run}{said} --steps"
    name = f"tessera-{plan.get('set', 'fidelity')}"
    return {
        "file": f"{name}-x{scale}.onnx",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "licence": LICENCE,
        "architecture": f"M6C48, scale {scale}, halo {RADIUS}",
        "commands": [
            *before,
            *(f"{train} {steps}  # from step {first} on" for first, steps in state["cosines"]),
            f"python -m training.export {run}",
        ],
        "plan": plan,
        "steps_done": state["step"],
        "hours": round(state["seconds"] / 3600, 2),
        "torch": torch.__version__,
        "pictures": "pictures.json",
        "y_psnr_db": scores(data, scale, {name: load(weights, scale, RADIUS)}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a run's averaged weights as ONNX, with their card.")
    parser.add_argument("run", type=Path, help="folder of the checkpoint")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has set5/, set14/ and kodak/")
    parser.add_argument("--before", action="append", default=[], help="a command of the run that this one started from")
    parser.add_argument("--target", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    state = torch.load(options.run / "checkpoint.pt", weights_only=True)
    weights = graph(state["average"], state["plan"]["scale"]).SerializeToString()
    facts = card(state, weights, options.run, options.data, options.before)
    file = options.target / facts["file"]
    file.write_bytes(weights)
    file.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    (options.target / "pictures.json").write_bytes((options.run / "pictures.json").read_bytes())
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
