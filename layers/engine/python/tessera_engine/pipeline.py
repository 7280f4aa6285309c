"""Recipe to ordered steps: bytes of a picture in, bytes of its enlargement out."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, cast

from tessera import job
from tessera.job import Limits
from tessera.recipe import (
    Crop,
    Denoise,
    Encode,
    EnhanceFace,
    ImageFormat,
    LowLight,
    Operation,
    Recipe,
    Resize,
    Sharpen,
    Thumbnail,
    Tone,
    Upscale,
)

from tessera_engine import decoding, facts, models, sandbox, steps, tiling
from tessera_engine.header import WEB, SourceFormat, probe
from tessera_engine.imageio import check_limits, check_sizes
from tessera_engine.metadata import Origin
from tessera_engine.steps import Tools, Work

Step = Callable[[Work, Any, Tools], Work]

STEPS: dict[type[Operation], Step] = {
    Upscale: steps.upscale,
    Resize: steps.resize,
    Crop: steps.crop,
    Denoise: steps.denoise,
    LowLight: steps.low_light,
    Tone: steps.tone,
    Sharpen: steps.sharpen,
    EnhanceFace: steps.enhance_face,
    Encode: steps.encode,
    Thumbnail: steps.thumbnail,
}

ENLARGING = 0.9  # of the progress is the networks' work; decoding and encoding share the rest


@dataclass(frozen=True)
class Product:
    """`encoded` is empty when a sink took it, `thumbnail` when none is asked for; `model` is None without a network.

    `read` and `written`: facts of the two files.
    """

    encoded: bytes
    thumbnail: bytes
    width: int
    height: int
    format: ImageFormat
    model: str | None
    stand_in: bool
    notes: tuple[str, ...]
    source_pixels: int | None = None
    read: job.Picture | None = None
    written: job.Picture | None = None
    fidelity: float | None = None  # dB
    seam: float | None = None


class Meter:
    """Turns finished pixels into progress 0..1. Its listener may raise to stop the work."""

    def __init__(self, total: int, listener: Callable[[float], None]) -> None:
        self.total, self.finished, self.listener = max(1, total), 0, listener

    def add(self, pixels: int) -> None:
        self.finished += pixels
        self.listener(min(1.0, self.finished / self.total) * ENLARGING)


def carry_out(
    recipe: Recipe,
    source: bytes,
    limits: Limits,
    *,
    stand_in: models.StandIn,
    listener: Callable[[float], None],
    sink: BinaryIO | None = None,
    formats: Set[SourceFormat] = WEB,
    memory: int = tiling.MEMORY,
    isolated: bool = True,
) -> Product:
    """Raises an EngineError; anything else is a fault of ours. Sizes and models are checked before pixels are read.

    The file is written to `sink` while it is made, from its first byte to its last, without seeking; what is there
    when an error is raised is to be thrown away. Without a sink the file is the product's `encoded`.
    `memory`: bytes for the activations of one tile; see `tiling.side`.
    `formats` are those that are accepted; every further one is a further decoder that reads strangers' bytes, which it
    does in a process of its own, while `listener` is called too, unless the pictures are trusted: `isolated`.
    """
    info, target = probe(source, formats), recipe.encode()
    size = check_limits(info, recipe, limits)
    effort(recipe, *size, stand_in)  # is refused now, if a model is missing
    listener(0.0)
    if isolated:
        picture, notes = sandbox.decode(source, info, max_pixels=limits.max_input_pixels, check=lambda: listener(0.0))
    else:
        picture, notes = decoding.decode(source, info)
    check_sizes(picture.width, picture.height, recipe, limits, picture.dtype)
    read = facts.of(source, info.format, picture.width, picture.height, foreign=picture.foreign)
    meter = Meter(effort(recipe, picture.width, picture.height, stand_in), listener)
    encoded = BytesIO()
    recorded = facts.Recorded(sink or encoded)
    tools = Tools(stand_in, meter.add, cast(BinaryIO, recorded), memory)
    quality = read.quality if read else None
    work = Work(
        picture, origin=Origin.of(picture), notes=notes, quality=quality, stored=(picture.width, picture.height)
    )
    for operation in steps.shared(recipe, picture.width, picture.height, stand_in):
        work = STEPS[type(operation)](work, operation, tools)
    work = steps.finish(work)
    return Product(
        encoded=encoded.getvalue(),
        thumbnail=work.thumbnail,
        width=work.raster.width,
        height=work.raster.height,
        format=target.format,
        model=work.model,
        stand_in=work.stand_in,
        notes=(*work.notes, *steps.doubts(work)),
        source_pixels=info.width * info.height,
        read=read,
        written=recorded.facts(target.format, work.raster.width, work.raster.height),
        fidelity=work.scores.fidelity,
        seam=work.scores.seam,
    )


def effort(recipe: Recipe, width: int, height: int, stand_in: models.StandIn) -> int:
    """Pixels that networks will read, over all passes of all enlargements; ModelUnavailable if one cannot run."""
    total, across, down = 0, width, height
    for operation in steps.shared(recipe, width, height, stand_in):
        if isinstance(operation, Upscale) and (factor := operation.factor(across, down)) > 1:
            pixels = across * down
            for weights in models.choose(operation.model, factor, stand_in).passes:
                total += pixels
                pixels *= weights.scale**2
        across, down = operation.size(across, down)
    return total
