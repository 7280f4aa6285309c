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


@dataclass(frozen=True)
class OnnxNetwork:
    """A graph `pixels` uint8 (1, h + 2 * halo, w + 2 * halo, 3) -> `enlarged` uint8 (1, h * scale, w * scale, 3), or
    the same as (1, h, w, scale * scale * 3): every pixel's places, row by row, still to be put in order.

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
    """(h, w, scale * scale * 3) to (h * scale, w * scale, 3). A place's row is moved as one value, not byte by byte."""
    height, width, _ = places.shape
    rows = places.view(np.dtype((np.void, 3 * scale))).reshape(height, width, scale)
    ordered: Pixels = np.ascontiguousarray(rows.swapaxes(1, 2)).view(np.uint8)
    return ordered.reshape(height * scale, width * scale, 3)


def load(weights: bytes, scale: int, halo: int) -> OnnxNetwork:
    import onnxruntime  # here, so that a recipe without a network does not need it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = ONLY_ERRORS
    # Threads that spin between two layers win nothing on an idle machine and lose a third on a shared one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    names = {output.name for output in session.get_outputs()}
    return OnnxNetwork(session, scale, halo, ("enlarged", "samples") if "samples" in names else ("enlarged",))
