"""Faces, restored one by one: found, turned upright, given to a network that knows faces, laid back.

A face is brought to SIDE x SIDE pixels by the similarity (turn, scale, move) that takes its five points nearest to
where they are in the pictures that the restorer has learnt from (FFHQ's, as facexlib aligns them). What comes back is
laid over the picture through a mask that fades out towards the square's edges and is nothing at them: beyond the masks
no sample changes. Positions count from the corner of the first pixel, as Pillow's do.

Both networks are looked at from above: `Kit` has them as functions. Neither is shipped; where one is missing nothing is
restored, and a note says so. Memory: the picture in which faces are looked for, as bytes, which is the one that an
enlargement is made of where faces are restored right after it; each face as SIDE x SIDE pixels; a band of the result.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tessera_engine import catalogue, picture, yunet
from tessera_engine.derived import Derived
from tessera_engine.picture import Band, Floats, Picture, Pixels, Raster, eight_bits, levels, quantised
from tessera_engine.resize import Resampled
from tessera_engine.sharpen import brightness
from tessera_engine.yunet import Face, Reals, Shown

Square = NDArray[np.uint8]  # (SIDE, SIDE, 3)
Restore = Callable[[Square], Square]
Affine = Reals
"""(2, 3): a point (x, y) goes to affine @ (x, y, 1)."""

SIDE = 512
# facexlib's template of a face in 512 x 512 pixels (MIT, Xintao Wang): eyes, nose, corners of the mouth.
TEMPLATE = np.array(
    [
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ]
)
AROUND = (135, 133, 132)  # the colour beyond a picture's edge, as the restorer has learnt it
BEYOND = 4  # pixels of the square's grid

MOST_FACES = 64  # of a picture, the largest ones
SMALLEST = 20.0  # pixels of a face's box on its shorter side: below it there is nothing to go by
LARGEST = 2.0  # times SIDE, that a face has of its own: to restore it would take detail away
EDGE, FADE = 0.92, 0.25  # of half the square: where the mask ends, and over how much of that it fades
ROUNDNESS = 4  # of the mask: 2 is a circle

NOTE_MISSING = "No face model is installed: faces were enlarged like the rest."
NOTE_NONE = "No face was found that could be restored."
NOTE_MANY = f"Only the {MOST_FACES} largest faces were restored."


@dataclass(frozen=True)
class Kit:
    """What finds faces, and what restores one; `name` and `hashes` say which network that is."""

    detect: Shown
    restore: Restore
    name: str
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Patch:
    """A restored face, and where the result's points lie in its square."""

    square: Square
    place: Affine


def obstacle() -> str:
    """Why faces cannot be restored here; empty when they can."""
    directory = catalogue.cache_directory()
    if missing := [file.name for file in catalogue.FACES.values() if not (directory / file.name).is_file()]:
        return f"{' and '.join(missing)} must be fetched: python -m tessera_engine models pull faces"
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("spandrel") is None:
        return "it runs on PyTorch by way of spandrel, which are not installed: pip install torch spandrel"
    return ""


def installed() -> bool:
    return not obstacle()


@cache
def kit() -> Kit:
    """Loaded once per process. ValueError when a file's bytes are not the listed ones."""
    from tessera_engine.backends import spandrel  # here, so that nothing else needs torch

    restorer = catalogue.GFPGAN
    return Kit(
        detect=yunet.load(catalogue.read(catalogue.YUNET)),
        restore=spandrel.face_restorer(restorer.name, catalogue.read(restorer)),
        name="gfpgan-1.4",
        hashes=(catalogue.YUNET.sha256, restorer.sha256),
    )


def find(detect: Shown, source: Picture, done: Callable[[int], None]) -> list[Face]:
    """Each face once, the largest first, in the picture's own pixels."""
    found: list[Face] = []
    for scale in yunet.sizes(source.width, source.height):
        size = max(1, round(source.width * scale)), max(1, round(source.height * scale))
        whole = (0.0, 0.0, float(source.width), float(source.height))
        small = source if scale == 1 else Resampled(source, done, size, whole, Image.Resampling.BOX).whole()
        found += [face.moved(scale, 0, 0) for face in yunet.find(detect, colours(small.pixels))]
        done(0)
    return sorted(yunet.distinct(found), key=lambda face: -face.area)


def patches(
    kit: Kit, source: Picture, size: tuple[int, int], done: Callable[[int], None]
) -> tuple[list[Patch], tuple[str, ...]]:
    """The faces of `source`, restored, for a picture of `size` that shows the same; and notes for its owner."""
    faces = [face for face in find(kit.detect, source, done) if restorable(face)]
    patches = []
    reduced = np.diag((source.width / size[0], source.height / size[1], 1.0))
    for face in faces[:MOST_FACES]:
        aligned = similarity(face.points, TEMPLATE)
        patches.append(Patch(kit.restore(square(source, aligned)), aligned @ reduced))
        done(0)
    if not faces:
        return [], (NOTE_NONE,)
    return patches, (NOTE_MANY,) if len(faces) > MOST_FACES else ()


def restorable(face: Face) -> bool:
    """Whether there is enough of it, and not more than the restorer gives."""
    shorter = float((face.end - face.start).min())
    return shorter >= SMALLEST and 1 / scale_of(similarity(face.points, TEMPLATE)) <= LARGEST


def similarity(points: Reals, targets: Reals) -> Affine:
    """The turn, scale and move that take the points nearest to their targets, by least squares."""
    middle, goal = points.mean(axis=0), targets.mean(axis=0)
    (x, y), (u, v) = (points - middle).T, (targets - goal).T
    spread = max(float((x * x + y * y).sum()), 1e-9)
    along, across = float((x * u + y * v).sum()) / spread, float((x * v - y * u).sum()) / spread
    turn = np.array([(along, -across), (across, along)])
    return np.column_stack((turn, goal - turn @ middle))


def inverse(affine: Affine) -> Affine:
    back = np.linalg.inv(affine[:, :2])
    return np.column_stack((back, -back @ affine[:, 2]))


def scale_of(affine: Affine) -> float:
    return float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))


def at(affine: Affine, points: Reals) -> Reals:
    """(n, 2) points where the affine takes them."""
    there: Reals = points @ affine[:, :2].T + affine[:, 2]
    return there


def corners(affine: Affine, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that the square covers, within a picture of that size."""
    ends = at(inverse(affine), np.array([(0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE)], np.float64))
    left, top = np.floor(ends.min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(ends.max(axis=0)).astype(int).tolist()
    return max(0, left), max(0, top), min(width, right), min(height, bottom)


def square(source: Picture, aligned: Affine) -> Square:
    """The face upright. A larger one is averaged down first, by a whole number, so that nothing flickers.

    At the picture's edge its outermost pixels go on for a little: the colour beyond must not bleed into it.
    """
    step = max(1, int(1 / scale_of(aligned)))
    left, top, right, bottom = corners(aligned, source.width, source.height)
    beyond = BEYOND * step
    rows = np.arange(top - beyond, bottom + beyond).clip(0, source.height - 1)
    columns = np.arange(left - beyond, right + beyond).clip(0, source.width - 1)
    part = Image.fromarray(colours(source.pixels[rows[:, None], columns])).reduce(step)
    to_part = inverse(aligned)
    to_part[:, 2] -= (left - beyond, top - beyond)
    values = (to_part / step).ravel().tolist()
    return np.asarray(
        part.transform((SIDE, SIDE), Image.Transform.AFFINE, values, Image.Resampling.BICUBIC, fillcolor=AROUND)
    )


def colours(pixels: Pixels) -> NDArray[np.uint8]:
    """(h, w, 3) of 8 bits, from any pixels."""
    shown = eight_bits(pixels)
    return np.ascontiguousarray(shown if shown.shape[2] == 3 else shown.repeat(3, axis=2))


@cache
def mask() -> Image.Image:
    """Mode L: full over the face, nothing from some pixels before the square's edge on."""
    place = np.abs(np.arange(SIDE) + 0.5 - SIDE / 2) / (EDGE * SIDE / 2)
    distance = (place[:, None] ** ROUNDNESS + place**ROUNDNESS) ** (1 / ROUNDNESS)
    share = ((1 - distance) / FADE).clip(0, 1)
    return Image.fromarray(np.rint(255 * share * share * (3 - 2 * share)).astype(np.uint8))


@dataclass(frozen=True)
class Pasted(Derived):
    """The source with faces laid over it, `strength` of them; later ones lie below earlier ones."""

    faces: tuple[Patch, ...]
    strength: float = 1.0

    def bands(self) -> Iterator[Band]:
        top = 0
        for band in self.source.bands():
            pixels = band.pixels
            for face in reversed(self.faces):
                pixels = self._laid(pixels, face, top)
            self.done(0)
            yield Band(pixels, band.alpha)
            top += band.pixels.shape[0]

    def _laid(self, pixels: Pixels, face: Patch, first: int) -> Pixels:
        """Over rows of the picture, from row `first` on."""
        left, top, right, bottom = corners(face.place, self.width, self.height)
        top, bottom = max(top, first), min(bottom, first + pixels.shape[0])
        if left >= right or top >= bottom:
            return pixels
        size = right - left, bottom - top
        share = warped(mask(), face.place, size, left, top, Image.Resampling.BILINEAR) * np.float32(self.strength / 255)
        restored = warped(Image.fromarray(face.square), face.place, size, left, top, Image.Resampling.BICUBIC)
        if pixels.shape[2] == 1:
            restored = brightness(restored)[:, :, None]
        changed = pixels.copy()
        part = changed[top - first : bottom - first, left:right]
        before = levels(part)
        after = quantised(before + (restored - before) * share, part.dtype)
        part[:] = np.where(share > 0, after, part)
        return changed


def warped(
    image: Image.Image, place: Affine, size: tuple[int, int], left: int, top: int, filter: Image.Resampling
) -> Floats:
    """(h, w, c), 0 to 255: a square's image as it lies in the picture, from that corner on. Where it becomes smaller it
    is averaged down first."""
    side = max(1, min(SIDE, round(SIDE / scale_of(place))))
    small = image if side == SIDE else image.resize((side, side), Image.Resampling.LANCZOS)
    moved = place.copy()
    moved[:, 2] = at(place, np.array([(left, top)], np.float64))[0]
    there = small.transform(size, Image.Transform.AFFINE, (moved * side / SIDE).ravel().tolist(), filter)
    samples = np.asarray(there, np.float32)
    return samples if samples.ndim == 3 else samples[:, :, None]


def enhanced(
    kit: Kit, raster: Raster, source: Picture, strength: float, done: Callable[[int], None]
) -> tuple[Raster, tuple[str, ...]]:
    """`raster` with the faces restored that `source` shows, which is the same picture, as large or smaller."""
    seen = source if source.alpha is None else Picture(picture.bleed(source.pixels, source.alpha), source.alpha)
    faces, notes = patches(kit, seen, (raster.width, raster.height), done)
    return (Pasted(raster, done, tuple(faces), strength) if faces else raster), notes
