"""Where the faces of a picture are: YuNet (Wu et al., Machine Intelligence Research 20, 2023), run by onnxruntime.

The network takes 640 x 640 pixels, blue first, 0 to 255, and says for every cell of three grids (strides 8, 16 and 32)
how likely a face's middle is there, with its box and five points. The decoding is that of OpenCV's FaceDetectorYN. It
knows faces of about 10 to 300 pixels, so a picture is shown whole and, where it is larger, once more at twice that
size in parts that overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Shown = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]
"""(1, 3, SIDE, SIDE) -> the twelve outputs by their names."""

SIDE = 640  # pixels that the network takes on a side
STRIDES = (8, 16, 32)
LARGEST = 2 * SIDE  # on the longer side, at which parts are looked at
SEEN = 160  # pixels that two parts share: a smaller face is whole in one of them
LIKELY = 0.85  # of 1; OpenCV has 0.9. Of 140 photographs one shows something else at 0.8, none at 0.85
SAME, INSIDE = 0.3, 0.6  # of the union, and of the smaller box: two finds of one face


@dataclass(frozen=True)
class Face:
    """The box's first and last corner, (x, y), and (5, 2) points, in pixels: the eye at the left, the one at the right,
    tip of the nose, corner of the mouth at the left, and at the right. `score` is 0 to 1.
    """

    start: Reals
    end: Reals
    points: Reals
    score: float

    @property
    def area(self) -> float:
        return area(self.end - self.start)

    def moved(self, scale: float, left: float, top: float) -> Face:
        """In the picture of which `scale` times the size was looked at, from that corner on."""
        corner = np.array((left, top), np.float64)
        return Face(
            (self.start + corner) / scale, (self.end + corner) / scale, (self.points + corner) / scale, self.score
        )


def sizes(width: int, height: int) -> list[float]:
    """The scales at which a picture is looked at: never enlarged."""
    longer = max(width, height)
    return sorted({min(1.0, SIDE / longer), min(1.0, LARGEST / longer)})


def find(run: Shown, pixels: NDArray[np.uint8]) -> list[Face]:
    """The faces of (h, w, 3), red first, in its own pixels; those that two parts have found come twice."""
    height, width, _ = pixels.shape
    return [
        face.moved(1.0, left, top)
        for top in starts(height)
        for left in starts(width)
        for face in decoded(run(given(pixels[top : top + SIDE, left : left + SIDE])))
    ]


def starts(length: int) -> Iterator[int]:
    """Where parts begin that cover a side, each SEEN pixels into the one before, the last one at the end."""
    yield from range(0, max(1, length - SIDE), SIDE - SEEN)
    if length > SIDE:
        yield length - SIDE


def given(part: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As the network takes it: what is missing to SIDE is black."""
    square = np.zeros((1, 3, SIDE, SIDE), np.float32)
    square[0, :, : part.shape[0], : part.shape[1]] = part[:, :, ::-1].transpose(2, 0, 1)
    return square


def decoded(outputs: Mapping[str, NDArray[np.float32]]) -> Iterator[Face]:
    for stride in STRIDES:
        sure, there, boxes, points = (
            outputs[f"{name}_{stride}"][0].astype(np.float64) for name in ("cls", "obj", "bbox", "kps")
        )
        scores = np.sqrt(sure.clip(0, 1) * there.clip(0, 1))[:, 0]
        for place in np.flatnonzero(scores >= LIKELY):
            down, across = divmod(int(place), SIDE // stride)
            cell = np.array((across, down), np.float64)
            middle, half = (boxes[place, :2] + cell) * stride, np.exp(boxes[place, 2:]) * stride / 2
            corners = (points[place].reshape(5, 2) + cell) * stride
            yield Face(middle - half, middle + half, corners, float(scores[place]))


def distinct(faces: list[Face]) -> list[Face]:
    """Each face once, as the likeliest find says it is, those first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(same(face, other) for other in kept):
            kept.append(face)
    return kept


def same(face: Face, other: Face) -> bool:
    shared = area(np.minimum(face.end, other.end) - np.maximum(face.start, other.start))
    smaller, union = min(face.area, other.area), face.area + other.area - shared
    return shared > SAME * union or shared > INSIDE * smaller


def area(sides: Reals) -> float:
    across, down = sides.clip(0).tolist()
    return float(across * down)


def load(data: bytes) -> Shown:
    """From the file's bytes, which have been checked."""
    from tessera_engine.backends import onnx  # here, so that a recipe without faces does not need it

    session: Any = onnx.session(data)
    names = [output.name for output in session.get_outputs()]

    def run(pixels: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {"input": pixels}), strict=True))

    return run
