"""What a task would give, cost and take, from the pictures' sizes alone: arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tessera import catalogue, credits
from tessera.recipe import Encode, ImageFormat, Recipe, Upscale
from tessera.settings import MEGA, Settings
from tessera.sizes import DoesNotFit, Size

# Megapixels that the shipped networks take in per second, enlarging by 4 on 2 cores of an AMD EPYC. From
# docs/performance.md, as are the ratios below.
CPU_RATE = 4.0
EIGHT = 5.0  # times the work of 4, which is about that of 2 and 3
AROUND = 0.11  # reading and the preview, by the network's time
ENCODING: dict[ImageFormat, float] = {"jpeg": 0.17, "png": 0.45, "webp": 2.1, "avif": 5.0, "tiff": 0.6}
START = 1.0  # seconds of a worker before it begins


@dataclass(frozen=True)
class FileEstimate:
    """`width` and `height` of the result; None where `reason` says that there would be none."""

    width: int | None
    height: int | None
    reason: str | None

    @property
    def accepted(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class Estimate:
    """`seconds`: one worker, one file after the other, nothing waiting before it; None where nobody has measured it."""

    files: tuple[FileEstimate, ...]
    credits: int
    seconds: float | None


def estimate(settings: Settings, recipe: Recipe, sizes: Iterable[Size]) -> Estimate:
    """`sizes`: of the upright pictures, in pixels."""
    measured = [(size, _file(settings, recipe, size)) for size in sizes]
    accepted = [size for size, file in measured if file.accepted]
    return Estimate(
        tuple(file for _, file in measured), credits.PRICE * len(accepted), _seconds(settings, recipe, accepted)
    )


def _file(settings: Settings, recipe: Recipe, size: Size) -> FileEstimate:
    width, height = size
    if width * height > settings.max_input_pixels:
        reason = f"{width} x {height} pixels are more than the {settings.max_input_pixels:,} allowed"
        return FileEstimate(None, None, reason)
    try:
        steps = [made for _, made in recipe.sizes(width, height)]
    except DoesNotFit as misfit:
        return FileEstimate(None, None, str(misfit))
    if too_large := _too_large(settings, recipe.encode(), steps):
        return FileEstimate(None, None, too_large)
    return FileEstimate(*steps[-1], None)


def _too_large(settings: Settings, encode: Encode, steps: list[Size]) -> str | None:
    limits = catalogue.format_limits(encode.format, encode.lossless)
    for width, height in steps:
        if width * height > settings.max_output_pixels:
            return f"{width} x {height} pixels would be more than the {settings.max_output_pixels:,} allowed"
    width, height = steps[-1]
    kind = encode.format.upper()
    if max(width, height) > limits.max_side:
        return f"It would be {width} x {height} pixels; a {kind} ends at {limits.max_side:,} on a side"
    if limits.max_pixels is not None and width * height > limits.max_pixels:
        return f"It would be {width} x {height} pixels; a {kind} may have {limits.max_pixels:,} here"
    return None


def _seconds(settings: Settings, recipe: Recipe, sizes: list[Size]) -> float | None:
    rate = settings.worker_megapixels_per_second or (CPU_RATE if settings.networks == "shipped" else 0)
    if not rate:
        return None
    upscale = next(step for step in recipe.operations if isinstance(step, Upscale))
    work = sum(
        width * height / MEGA * (EIGHT if upscale.factor(width, height) == max(catalogue.SCALES) else 1.0)
        for width, height in sizes
    )
    return round(START * len(sizes) + work / rate * (1 + AROUND + ENCODING[recipe.encode().format]), 1)
