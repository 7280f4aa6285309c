"""One function per operation of a recipe: the work so far in, the work after it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from tessera.recipe import Encode, EnhanceFace, Thumbnail, Upscale

from tessera_engine import encoders, imageio, metadata, models, picture, tiling
from tessera_engine.encoders import Encoder
from tessera_engine.enlargement import Enlargement
from tessera_engine.picture import Raster
from tessera_engine.preview import Preview
from tessera_engine.resize import Resampled
from tessera_engine.scores import Measured, Scores

NOTE_FACES = "No face model is installed: faces were enlarged like the rest."
NOTE_PARTS = "The model looks at a picture as a whole, and was shown this one in parts: where they meet it may show."
NOTE_FAR = "The result is very unlike the source: the model may not suit the picture, or its file may be damaged."
FAR = 15.0  # dB of fidelity
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
    notes: tuple[str, ...] = ()
    scores: Scores = field(default_factory=Scores)  # of the last enlargement


@dataclass(frozen=True)
class Tools:
    """What steps need besides the picture. `done` is told every enlarged input pixel and may raise to stop the work.

    `sink` takes the encoded picture. `memory`: bytes for the activations of one tile.
    """

    stand_in: models.StandIn
    done: Callable[[int], None]
    sink: BinaryIO
    memory: int = tiling.MEMORY


def upscale(work: Work, options: Upscale, tools: Tools) -> Work:
    """Every pass but the last is made whole: it is at most a quarter of the result."""
    work = finish(replace(work, raster=work.raster.whole()))
    choice = models.choose(options.model, options.scale, tools.stand_in)
    source = work.raster.whole()
    seen = source.pixels if source.alpha is None else picture.bleed(source.pixels, source.alpha)
    *first, last = ((models.network(weights), tile(weights, tools.memory)) for weights in choice.passes)
    pixels = seen
    for network, side in first:
        pixels = tiling.enlarge(network, pixels, tile=side, done=tools.done)
    enlargement = Enlargement(last[0], pixels, source.alpha, source.exif, last[1], tools.done)
    scores = Scores()
    raster: Raster = Measured(enlargement, seen, scores)
    width, height = source.width * options.scale, source.height * options.scale
    if (raster.width, raster.height) != (width, height):
        raster = Resampled(raster, width, height)
    return replace(
        work,
        raster=raster,
        model=choice.model.name,
        stand_in=work.stand_in or choice.stand_in,
        scores=scores,
        notes=(*work.notes, *parts(choice, source.width, source.height)),
    )


def tile(weights: models.AnyWeights, memory: int) -> int:
    """The side of a tile. PyTorch's networks know their own, see `tiling.EdgeNetwork`."""
    return tiling.side(weights.pixel_bytes, weights.halo, memory) if isinstance(weights, models.Weights) else 0


def parts(choice: models.Choice, width: int, height: int) -> tuple[str, ...]:
    """A note, where a network that looks at the whole picture is shown parts of it."""
    for weights in choice.passes:
        network = models.network(weights)
        if not weights.exact and isinstance(network, tiling.EdgeNetwork) and max(width, height) > network.side:
            return (NOTE_PARTS,)
        width, height = width * weights.scale, height * weights.scale
    return ()


def enhance_face(work: Work, options: EnhanceFace, tools: Tools) -> Work:
    return replace(work, notes=(*work.notes, NOTE_FACES))


def encode(work: Work, options: Encode, tools: Tools) -> Work:
    exif = metadata.kept(work.raster.exif, options.metadata)
    notes = (imageio.NOTE_METADATA,) if exif is None else ()
    writer = encoders.encoder(tools.sink, work.raster, options, exif or b"")
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


def doubts(work: Work) -> tuple[str, ...]:
    """A note, where the finished enlargement is so unlike its source that something may be wrong."""
    fidelity = work.scores.fidelity
    return (NOTE_FAR,) if fidelity is not None and fidelity < FAR else ()
