"""One function per operation of a recipe: the work so far in, the work after it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tessera.recipe import Encode, EnhanceFace, Thumbnail, Upscale

from tessera_engine import imageio, models, picture, tiling
from tessera_engine.picture import Picture

NOTE_FACES = "No face model is installed: faces were enlarged like the rest."
THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class Work:
    """What the steps have made so far; `encoded` and `thumbnail` are empty until their steps have run."""

    picture: Picture
    encoded: bytes = b""
    thumbnail: bytes = b""
    model: str | None = None
    stand_in: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tools:
    """What steps need besides the picture. `done` is told every enlarged input pixel and may raise to stop the work."""

    stand_in: models.StandIn
    done: Callable[[int], None]
    tile: int = tiling.TILE


def upscale(work: Work, options: Upscale, tools: Tools) -> Work:
    choice = models.choose(options.model, options.scale, tools.stand_in)
    pixels, alpha = work.picture.pixels, work.picture.alpha
    if alpha is not None:
        pixels = picture.bleed(pixels, alpha)
        alpha = picture.enlarge_alpha(alpha, options.scale)
    for weights in choice.passes:
        pixels = tiling.enlarge(models.network(weights), pixels, tile=tools.tile, done=tools.done)
    return replace(
        work,
        picture=replace(work.picture, pixels=pixels, alpha=alpha),
        model=choice.model.name,
        stand_in=work.stand_in or choice.stand_in,
    )


def enhance_face(work: Work, options: EnhanceFace, tools: Tools) -> Work:
    return replace(work, notes=(*work.notes, NOTE_FACES))


def encode(work: Work, options: Encode, tools: Tools) -> Work:
    encoded, notes = imageio.encode(work.picture, options)
    return replace(work, encoded=encoded, notes=(*work.notes, *notes))


def thumbnail(work: Work, options: Thumbnail, tools: Tools) -> Work:
    preview = Encode(format="webp", quality=THUMBNAIL_QUALITY, metadata="strip")
    encoded, _ = imageio.encode(work.picture.fitted(options.side), preview)
    return replace(work, thumbnail=encoded)
