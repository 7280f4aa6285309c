"""What an enlargement is like, measured while its bands go by: a sign of nonsense, not a judgement of taste."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_engine.derived import Derived
from tessera_engine.enlargement import Enlargement
from tessera_engine.picture import BYTES, Band, Pixels, eight_bits, image_of
from tessera_engine.rows import Cutter

PEAK = 99.0  # dB, for pictures that are equal
CHUNK = 16  # rows of the source that are read at once
EVERY = 2  # the first of so many rows is compared: half the time, and no tile is missed
NEARBY = (-2, -1, 1, 2)  # source pixels from a border, where the gradients that it is compared with lie


@dataclass
class Scores:
    """None before the last band has gone by, and where there is nothing to measure.

    `fidelity`: PSNR in dB over every second row's samples (RGB, or grey; 16 bits as 8) between the source and the
    enlargement, of which squares of scale x scale pixels are averaged. `seam`: the mean absolute difference of the
    pixels on both sides of a border between tiles, divided by that of neighbours one and two source pixels from it; 1
    where nothing shows.
    """

    fidelity: float | None = None
    seam: float | None = None


@dataclass(frozen=True)
class Measured(Derived):
    """The enlargement itself. When all its bands have gone by, `scores` are those of it and of `original`, (h, w, c),
    from which it was made in one pass or more: its sides are multiples of the original's.
    """

    source: Enlargement
    original: Pixels
    scores: Scores

    def bands(self) -> Iterator[Band]:
        scale = self.source.width // self.original.shape[1]
        fidelity, seams = Fidelity(self.original, scale), Seams(self.source.borders, scale)
        for band in self.source.bands():
            fidelity.write(band.pixels)
            seams.write(band.pixels)
            yield band
        self.scores.fidelity, self.scores.seam = fidelity.decibels(), seams.ratio()


class Fidelity:
    def __init__(self, source: Pixels, scale: int) -> None:
        self.source, self.scale = source, scale
        self.cutter = Cutter(CHUNK * scale, source.shape[0] * scale)
        self.row, self.samples, self.error = 0, 0, 0.0

    def write(self, pixels: Pixels) -> None:
        for rows in self.cutter.cut(pixels):
            every = rows.reshape(-1, self.scale, *rows.shape[1:])
            looked_at = every[::EVERY].reshape(-1, *rows.shape[1:])
            source = eight_bits(self.source[self.row : self.row + every.shape[0] : EVERY])
            reduced = np.asarray(image_of(eight_bits(looked_at)).reduce(self.scale)).reshape(source.shape)
            difference = (reduced.astype(np.float32) - source).ravel()
            self.error += float(np.dot(difference, difference))
            self.samples += difference.size
            self.row += every.shape[0]

    def decibels(self) -> float:
        mean = self.error / self.samples
        return min(PEAK, 10 * math.log10(255**2 / mean)) if mean else PEAK


class Seams:
    """`borders`: the columns at which tiles begin, the first one's apart. Every portion of rows is a row of tiles.

    `scale` is that of all passes: gradients are compared with those at the same place within a pixel of the source,
    because a network makes those at other places different.
    """

    def __init__(self, borders: Sequence[int], scale: int) -> None:
        self.borders, self.scale = np.asarray(borders, np.intp), scale
        self.above: Pixels | None = None
        self.sums, self.counts = [0.0, 0.0], [0, 0]  # at borders, and nearby

    def write(self, pixels: Pixels) -> None:
        across = pixels.transpose(1, 0, 2)
        self._compare(across, self.borders)
        reach = 2 * self.scale + 1
        if self.above is not None:
            self._compare(np.concatenate((self.above, pixels[:reach])), np.array([self.above.shape[0]]))
        self.above = pixels[-reach:].copy()

    def _compare(self, lines: Pixels, borders: NDArray[np.intp]) -> None:
        nearby = (borders[:, None] + np.array(NEARBY) * self.scale).ravel()
        for kind, places in enumerate((borders, nearby[(nearby > 0) & (nearby < lines.shape[0])])):
            steps = lines[places].astype(np.int16 if lines.dtype == BYTES else np.int32) - lines[places - 1]
            self.sums[kind] += float(np.abs(steps).sum(dtype=np.int64))
            self.counts[kind] += steps.size

    def ratio(self) -> float | None:
        if not all(self.counts) or not self.sums[1]:
            return None
        return (self.sums[0] / self.counts[0]) / (self.sums[1] / self.counts[1])
