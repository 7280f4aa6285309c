"""Recipe to ordered steps: bytes of a picture in, bytes of its enlargement out."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from tessera.job import Limits
from tessera.recipe import Encode, EnhanceFace, ImageFormat, Operation, Recipe, Thumbnail, Upscale

from tessera_engine import models, steps
from tessera_engine.header import WEB, SourceFormat, probe
from tessera_engine.imageio import check_limits, decode
from tessera_engine.metadata import Origin
from tessera_engine.steps import Tools, Work

Step = Callable[[Work, Any, Tools], Work]

STEPS: dict[type[Operation], Step] = {
    Upscale: steps.upscale,
    EnhanceFace: steps.enhance_face,
    Encode: steps.encode,
    Thumbnail: steps.thumbnail,
}

ENLARGING = 0.9  # of the progress is the networks' work; decoding and encoding share the rest


@dataclass(frozen=True)
class Product:
    """`encoded` is empty when a sink took it, `thumbnail` when none is asked for; `model` is None without a network."""

    encoded: bytes
    thumbnail: bytes
    width: int
    height: int
    format: ImageFormat
    model: str | None
    stand_in: bool
    notes: tuple[str, ...]


class Meter:
    """Turns finished pixels into progress 0..1. Its listener may raise to stop the work."""

    def __init__(self, total: int, listener: Callable[[float], None]) -> None:
        self.total, self.finished, self.listener = total, 0, listener

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
) -> Product:
    """Raises an EngineError; anything else is a fault of ours. Sizes and models are checked before pixels are read.

    The file is written to `sink` while it is made, from its first byte to its last, without seeking; what is there
    when an error is raised is to be thrown away. Without a sink the file is the product's `encoded`.
    `formats` are those that are accepted; every further one is a further decoder that reads strangers' bytes.
    """
    info, target = probe(source, formats), recipe.encode()
    check_limits(info, recipe.scale(), target, limits)
    meter = Meter(effort(recipe, info.pixels, stand_in), listener)
    listener(0.0)
    memory = BytesIO()
    tools = Tools(stand_in, meter.add, sink or memory)
    picture, notes = decode(source, info)
    work = Work(picture, origin=Origin.of(picture), notes=notes)
    for operation in recipe.operations:
        work = STEPS[type(operation)](work, operation, tools)
    work = steps.finish(work)
    return Product(
        encoded=memory.getvalue(),
        thumbnail=work.thumbnail,
        width=work.raster.width,
        height=work.raster.height,
        format=target.format,
        model=work.model,
        stand_in=work.stand_in,
        notes=work.notes,
    )


def effort(recipe: Recipe, pixels: int, stand_in: models.StandIn) -> int:
    """Pixels that networks will read, over all passes of all enlargements; ModelUnavailable if one cannot run."""
    total = 0
    for operation in recipe.operations:
        if isinstance(operation, Upscale):
            for weights in models.choose(operation.model, operation.scale, stand_in).passes:
                total += pixels
                pixels *= weights.scale**2
    return total
