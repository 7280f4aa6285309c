"""Networks as ONNX files, run by onnxruntime on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tessera_engine.cores import usable_cores
from tessera_engine.errors import NOT_FINITE, NotFinite
from tessera_engine.picture import Pixels

if TYPE_CHECKING:
    import onnxruntime

ONLY_ERRORS = 3  # onnxruntime's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal
EXTERNAL = "weights"  # how a graph calls the file that has its constants


@dataclass(frozen=True)
class OnnxNetwork:
    """A graph `pixels` (1, h + 2 * halo, w + 2 * halo, 3) -> `enlarged` (1, h * scale, w * scale, 3), or the same as
    (1, h, w, scale * scale * 3): every pixel's places, row by row, still to be put in order. Both are uint8 or uint16.

    A graph may have a second output `samples`, float32 of any shape: what is rounded to `enlarged`. It shows numbers
    that are not finite, which rounding hides.
    """

    session: onnxruntime.InferenceSession
    scale: int
    halo: int
    outputs: tuple[str, ...] = ("enlarged",)

    def enlarge(self, tile: Pixels) -> Pixels:
        """NotFinite where `samples` says so."""
        enlarged, *samples = self.session.run(self.outputs, {"pixels": tile[None]})
        if not all(np.isfinite(values).all() for values in samples):
            raise NotFinite(NOT_FINITE)
        pixels: Pixels = enlarged[0]
        return pixels if pixels.shape[2] == 3 else in_order(pixels, self.scale)


def in_order(places: Pixels, scale: int) -> Pixels:
    """(h, w, scale * scale * 3) to (h * scale, w * scale, 3). A place's row is moved as one value, not in pieces."""
    height, width, _ = places.shape
    rows = places.view(np.dtype((np.void, 3 * scale * places.itemsize))).reshape(height, width, scale)
    ordered: Pixels = np.ascontiguousarray(rows.swapaxes(1, 2)).view(places.dtype)
    return ordered.reshape(height * scale, width * scale, 3)


def load(graph: bytes, scale: int, halo: int, weights: bytes = b"") -> OnnxNetwork:
    """`weights`: the file of another graph, where this one has its constants in that (`training/deep.py`)."""
    opened = session(graph, weights)
    names = {output.name for output in opened.get_outputs()}
    return OnnxNetwork(opened, scale, halo, ("enlarged", "samples") if "samples" in names else ("enlarged",))


def session(graph: bytes, weights: bytes = b"") -> onnxruntime.InferenceSession:
    import onnxruntime  # here, so that a recipe without a network does not need it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = ONLY_ERRORS
    # Threads that spin between two layers win nothing on an idle machine and lose a third on a shared one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if weights:
        options.add_external_initializers_from_files_in_memory([EXTERNAL], [weights], [len(weights)])
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
