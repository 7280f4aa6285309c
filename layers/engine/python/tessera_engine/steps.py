"""One function per operation of a recipe: the work so far in, the work after it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from tessera.recipe import Encode, EnhanceFace, Thumbnail, Upscale

from tessera_engine import encoders, imageio, metadata, models, picture, tiling
from tessera_engine.encoders import Encoder
from tessera_engine.enlargement import Enlargement
from tessera_engine.metadata import Origin
from tessera_engine.picture import Raster
from tessera_engine.preview import Preview
from tessera_engine.xmp import Run

NOTE_FACES = "No face model is installed: faces were enlarged like the rest."
THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class Work:
    """What the steps have prepared so far. Nothing but the passes before the last one is computed until `finish`."""

    raster: Raster
    encoder: Encoder | None = None
    preview: Preview | None = None
    thumbnail: bytes = b""
    model: str | None = None
    stand_in: bool = False
    origin: Origin = field(default_factory=Origin)
    runs: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tools:
    """What steps need besides the picture. `done` is told every enlarged input pixel and may raise to stop the work.

    `sink` takes the encoded picture.
    """

    stand_in: models.StandIn
    done: Callable[[int], None]
    sink: BinaryIO
    tile: int = tiling.TILE


def upscale(work: Work, options: Upscale, tools: Tools) -> Work:
    """Every pass but the last is made whole: it is at most a quarter of the result."""
    work = finish(replace(work, raster=work.raster.whole()))
    choice = models.choose(options.model, options.scale, tools.stand_in)
    source = work.raster.whole()
    pixels = source.pixels if source.alpha is None else picture.bleed(source.pixels, source.alpha)
    *first, last = (models.network(weights) for weights in choice.passes)
    for network in first:
        pixels = tiling.enlarge(network, pixels, tile=tools.tile, done=tools.done)
    return replace(
        work,
        raster=Enlargement(last, pixels, source.alpha, source.exif, tools.tile, tools.done),
        model=choice.model.name,
        stand_in=work.stand_in or choice.stand_in,
        runs=(*work.runs, ran(choice, options.scale)),
    )


def ran(choice: models.Choice, scale: int) -> Run:
    hashes = tuple(sha256 for weights in choice.passes for sha256 in weights.hashes)
    generative = any(weights.generative for weights in choice.passes)
    return Run(choice.model.name, hashes, scale, choice.stand_in, generative)


def enhance_face(work: Work, options: EnhanceFace, tools: Tools) -> Work:
    return replace(work, notes=(*work.notes, NOTE_FACES))


def encode(work: Work, options: Encode, tools: Tools) -> Work:
    tags, lost = metadata.tags(work.origin, options, work.runs)
    notes = (imageio.NOTE_METADATA,) if lost else ()
    writer = encoders.encoder(tools.sink, work.raster, options, tags)
    return replace(work, encoder=writer, notes=(*work.notes, *notes))


def thumbnail(work: Work, options: Thumbnail, tools: Tools) -> Work:
    return replace(work, preview=Preview(work.raster, options.side))


def finish(work: Work) -> Work:
    """Let the picture's bands go by, once, for all who wait for them."""
    if work.encoder is None and work.preview is None:
        return work
    try:
        for band in work.raster.bands():
            if work.encoder:
                work.encoder.write(band)
            if work.preview:
                work.preview.write(band)
    except BaseException:
        if work.encoder:
            work.encoder.abandon()
        raise
    if work.encoder:
        work.encoder.finish()
    return replace(work, encoder=None, preview=None, thumbnail=small(work.preview) or work.thumbnail)


def small(preview: Preview | None) -> bytes:
    if preview is None:
        return b""
    options = Encode(format="webp", quality=THUMBNAIL_QUALITY, metadata="strip")
    return imageio.encode(preview.finish(), options)[0]
