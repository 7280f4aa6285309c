"""One function per operation of a recipe: the work so far in, the work after it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from tessera.recipe import (
    Crop,
    Denoise,
    Encode,
    EnhanceFace,
    LowLight,
    Operation,
    Recipe,
    Resize,
    Sharpen,
    Thumbnail,
    Tone,
    Upscale,
)
from tessera.sizes import Box, Size, offset

from tessera_engine import decoding, encoders, faces, imageio, light, metadata, models, picture, tiling
from tessera_engine import denoise as noise
from tessera_engine import sharpen as edges
from tessera_engine import tone as tones
from tessera_engine.encoders import Encoder
from tessera_engine.enlargement import Enlargement
from tessera_engine.metadata import Origin
from tessera_engine.picture import Picture, Raster
from tessera_engine.preview import Preview
from tessera_engine.resize import Cropped, Padded, Resampled
from tessera_engine.scores import Measured, Scores
from tessera_engine.xmp import Run

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
    origin: Origin = field(default_factory=Origin)
    runs: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()
    scores: Scores = field(default_factory=Scores)  # of the last enlargement
    quality: int | None = None  # of the JPEG that was read
    stored: Size = (0, 0)  # of the picture that was read, upright
    made_of: tuple[Raster, Picture] | None = None  # the last enlargement, and the picture that it was made of


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
    """Every pass but the last is made whole: it is at most a quarter of the result, or of what is reduced to it."""
    size = options.size(work.raster.width, work.raster.height)
    factor = options.factor(work.raster.width, work.raster.height)
    if factor == 1:
        return resized(work, size, whole_box(work.raster), tools)
    work = finish(replace(work, raster=work.raster.whole()))
    choice = models.fit(models.choose(options.model, factor, tools.stand_in), work.raster.dtype)
    source = work.raster.whole()
    seen = source.pixels if source.alpha is None else picture.bleed(source.pixels, source.alpha)
    *first, last = ((models.network(weights), tile(weights, tools.memory)) for weights in choice.passes)
    pixels = seen
    for network, side in first:
        pixels = tiling.enlarge(network, pixels, tile=side, done=tools.done)
    enlargement = Enlargement(last[0], pixels, source.alpha, last[1], tools.done)
    scores = Scores()
    enlarged = replace(
        work,
        raster=Measured(enlargement, tools.done, seen, scores),
        model=choice.model.name,
        stand_in=work.stand_in or choice.stand_in,
        scores=scores,
        notes=(*work.notes, *parts(choice, source.width, source.height)),
        runs=(*work.runs, ran(choice, factor)),
    )
    enlarged = resized(enlarged, size, whole_box(enlarged.raster), tools)
    return replace(enlarged, made_of=(enlarged.raster, source))


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


def resize(work: Work, options: Resize, tools: Tools) -> Work:
    width, height = work.raster.width, work.raster.height
    size, scaled = options.size(width, height), options.scaled(width, height)
    work = resized(work, scaled, options.box(width, height), tools)
    if scaled == size:
        return work
    left, top = offset(size, scaled, options.gravity)
    red, green, blue, alpha = bytes.fromhex(options.colour[1:].ljust(8, "f"))
    return replace(settled(work), raster=Padded(work.raster, tools.done, size, left, top, (red, green, blue, alpha)))


def crop(work: Work, options: Crop, tools: Tools) -> Work:
    work = settled(work)
    return replace(
        work, raster=Cropped(work.raster, tools.done, *options.region(work.raster.width, work.raster.height))
    )


def denoise(work: Work, options: Denoise, tools: Tools) -> Work:
    source = measurable(work)
    quality = work.quality if (work.raster.width, work.raster.height) == work.stored else None
    raster = noise.denoised(source.raster, options.strength, tools.done, artifacts=options.artifacts, quality=quality)
    return replace(source, raster=raster)


def low_light(work: Work, options: LowLight, tools: Tools) -> Work:
    source = measurable(work)
    return replace(source, raster=light.lit(source.raster, options.intensity, tools.done))


def tone(work: Work, options: Tone, tools: Tools) -> Work:
    source = measurable(work) if options.levels or options.balance else settled(work)
    return replace(source, raster=tones.toned(source.raster, options, tools.done))


def sharpen(work: Work, options: Sharpen, tools: Tools) -> Work:
    work = settled(work)
    raster = edges.sharpened(work.raster, options.radius, options.amount, options.threshold, tools.done)
    return replace(work, raster=raster)


def ran(choice: models.Choice, scale: int) -> Run:
    hashes = tuple(sha256 for weights in choice.passes for sha256 in weights.hashes)
    generative = any(weights.generative for weights in choice.passes)
    return Run(choice.model.name, hashes, scale, choice.stand_in, generative)


def enhance_face(work: Work, options: EnhanceFace, tools: Tools) -> Work:
    """Faces are looked for in what an enlargement was made of, where this follows on it: that is what was seen."""
    if faces.obstacle():
        return replace(work, notes=(*work.notes, faces.NOTE_MISSING))
    work = settled(work)
    if work.made_of and work.made_of[0] is work.raster:
        source = work.made_of[1]
    else:
        source = work.raster.whole()
        work = replace(work, raster=source)
    kit = faces.kit()
    raster, notes = faces.enhanced(kit, work.raster, source, options.strength, tools.done)
    ran = () if raster is work.raster else (Run(kit.name, kit.hashes, 1, stand_in=False, generative=True),)
    return replace(work, raster=raster, notes=(*work.notes, *notes), runs=(*work.runs, *ran))


def encode(work: Work, options: Encode, tools: Tools) -> Work:
    tags, lost = metadata.tags(work.origin, options, work.runs)
    notes = [imageio.NOTE_METADATA] if lost else []
    if work.raster.dtype != picture.BYTES and options.format not in encoders.DEEP_FORMATS:
        notes.append(decoding.NOTE_EIGHT_BITS)
    writer = encoders.encoder(tools.sink, work.raster, options, tags)
    return replace(work, encoder=writer, notes=(*work.notes, *notes))


def thumbnail(work: Work, options: Thumbnail, tools: Tools) -> Work:
    return replace(work, preview=Preview(work.raster, options.side))


def resized(work: Work, size: Size, box: Box, tools: Tools) -> Work:
    if size == (work.raster.width, work.raster.height) and box == whole_box(work.raster):
        return work
    work = settled(work)
    return replace(work, raster=Resampled(work.raster, tools.done, size, box))


def whole_box(raster: Raster) -> Box:
    return 0.0, 0.0, float(raster.width), float(raster.height)


def measurable(work: Work) -> Work:
    """With a picture whose bands may go by twice, and without the strange colours that transparent pixels may have."""
    work = settled(work)
    source = work.raster.whole()
    if source.alpha is None:
        return replace(work, raster=source)
    return replace(work, raster=Picture(picture.bleed(source.pixels, source.alpha), source.alpha))


def settled(work: Work) -> Work:
    """With nobody waiting for the bands of the picture as it is now: it is about to become another."""
    if work.encoder is None and work.preview is None:
        return work
    return finish(replace(work, raster=work.raster.whole()))


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


def shared(recipe: Recipe, width: int, height: int, stand_in: models.StandIn) -> tuple[Operation, ...]:
    """The operations for an upright picture of these pixels; a Denoise is left to the network that follows it, where
    that has learnt to remove noise.
    """
    operations: list[Operation] = []
    for operation, size in recipe.sizes(width, height):
        before = operations[-1] if operations else None
        if isinstance(operation, Upscale) and isinstance(before, Denoise) and operation.factor(width, height) > 1:
            name = models.denoising(operation.model, before.strength, stand_in)
            if name is not None:
                operations[-1] = operation.model_copy(update={"model": name})
                width, height = size
                continue
        operations.append(operation)
        width, height = size
    return tuple(operations)
