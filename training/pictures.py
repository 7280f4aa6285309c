"""The pictures that the weights are made of: chosen by licence, listed with their hashes, kept in memory as uint8."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB
Wear = Callable[[Pixels, int, np.random.Generator], Pixels]  # big picture and scale -> small picture


@dataclass(frozen=True)
class Source:
    """One picture of the data manifest that is committed beside the weights."""

    file: str
    sha256: str
    licence: str
    author: str
    origin: str


@dataclass(frozen=True)
class Pair:
    """The same picture twice: `high` is exactly `scale` times the size of `low`, pixel (0, 0) on pixel (0, 0)."""

    low: Pixels
    high: Pixels


def sources(folder: Path, licence_class: str) -> list[Source]:
    """The pictures of one licence class by the folder's MANIFEST.csv, every one checked against its sha256."""
    with (folder / "MANIFEST.csv").open(newline="", encoding="utf-8") as manifest:
        rows = [row for row in csv.DictReader(manifest) if row["licence_class"] == licence_class]
    for row in rows:
        digest = hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest()
        if digest != row["sha256"]:
            raise ValueError(f"{row['file']} is not the picture that the manifest lists")
    return [
        Source(row["file"], row["sha256"], row["licence"], row["author"], origin(row))
        for row in sorted(rows, key=lambda row: row["file"])
    ]


def origin(row: dict[str, str]) -> str:
    """Where the picture was taken from; empty for pictures drawn for the collection."""
    return "/".join(part for part in (row["source_repo"], row["source_path"]) if part)


def shrink(high: Image.Image, scale: int) -> Pair:
    """Pillow's bicubic filter widens with the reduction and has a = -0.5: within one level of MATLAB's imresize."""
    width, height = high.width // scale, high.height // scale
    high = high.crop((0, 0, width * scale, height * scale))
    return Pair(np.asarray(high.resize((width, height), Image.Resampling.BICUBIC)), np.asarray(high))


def load(folder: Path, files: list[str], scale: int, reductions: Sequence[float] = (1,)) -> list[Pair]:
    """Every picture in every reduction: the smaller the picture, the more a pixel of it shows."""
    pairs = []
    for file in files:
        with Image.open(folder / file) as picture:
            full = picture.convert("RGB")
        for reduction in reductions:
            size = round(full.width / reduction), round(full.height / reduction)
            pairs.append(shrink(full.resize(size, Image.Resampling.BICUBIC), scale))
    return pairs


def worn(pairs: list[Pair], scale: int, wear: Wear, variants: int, seed: int) -> list[Pair]:
    """Every big picture `variants` times, with small ones that `wear` makes of it; the same for the same seed."""
    return [
        Pair(wear(pair.high, scale, np.random.default_rng((seed, number, variant))), pair.high)
        for number, pair in enumerate(pairs)
        for variant in range(variants)
    ]


class Batches:
    """Random aligned crops. Batch `step` depends on nothing but the seed and the step, so a run can be resumed.

    `swap` lets colours change places, which more than doubles the pictures; not for JPEGs, which know what they mean.
    """

    def __init__(self, pairs: list[Pair], scale: int, patch: int, batch: int, seed: int, *, swap: bool = True) -> None:
        self.pairs = [pair for pair in pairs if min(pair.low.shape[:2]) >= patch]
        self.scale, self.patch, self.batch, self.seed, self.swap = scale, patch, batch, seed, swap
        areas = np.array([pair.low.shape[0] * pair.low.shape[1] for pair in self.pairs], dtype=np.float64)
        self.odds = areas / areas.sum()

    def __getitem__(self, step: int) -> tuple[Pixels, Pixels]:
        """Low (batch, patch, patch, 3) and high (batch, patch * scale, patch * scale, 3)."""
        rng = np.random.default_rng((self.seed, step))
        pairs = [self._crop(rng) for _ in range(self.batch)]
        return np.stack([pair.low for pair in pairs]), np.stack([pair.high for pair in pairs])

    def _crop(self, rng: np.random.Generator) -> Pair:
        """The most detailed of three random crops (skies teach little), turned, mirrored, colours swapped in half."""
        crop = max((self._place(rng) for _ in range(3)), key=lambda crop: detail(crop.low))
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        colours = rng.permutation(3) if rng.integers(2) and self.swap else np.arange(3)
        low, high = (turn(pixels, turns, mirror)[:, :, colours] for pixels in (crop.low, crop.high))
        return Pair(low, high)

    def _place(self, rng: np.random.Generator) -> Pair:
        pair = self.pairs[rng.choice(len(self.pairs), p=self.odds)]
        top = int(rng.integers(pair.low.shape[0] - self.patch + 1))
        left = int(rng.integers(pair.low.shape[1] - self.patch + 1))
        size, scale = self.patch, self.scale
        low = pair.low[top : top + size, left : left + size]
        high = pair.high[top * scale : (top + size) * scale, left * scale : (left + size) * scale]
        return Pair(low, high)


def detail(pixels: Pixels) -> float:
    """Mean absolute difference of neighbours in the green channel, in levels."""
    green = pixels[:, :, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def turn(pixels: Pixels, turns: int, mirror: bool) -> Pixels:
    turned = np.rot90(pixels, turns)
    return turned[:, ::-1] if mirror else turned
