"""Let's Enhance's words to Tessera's and back. Pure: no I/O but signing links, which is arithmetic."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from tessera import results
from tessera.errors import Invalid, NotFound
from tessera.recipe import (
    CONTENT_TYPES,
    Denoise,
    Encode,
    ImageFormat,
    LowLight,
    Operation,
    Recipe,
    Sharpen,
    SourceFormat,
    Thumbnail,
    Tone,
    Upscale,
)
from tessera.services import Services
from tessera.settings import HOURS, MEGA, SECONDS, Settings
from tessera.starts import Terms
from tessera.tasks import File, TaskState, View
from tessera.usage import Usage
from tessera.webhooks import Hook

from letsenhance import schemas
from letsenhance.presets import LEVELS, PRESETS, model

DIALECT = "letsenhance"
FORMATS: tuple[SourceFormat, ...] = ("jpeg", "tiff", "png", "bmp", "webp")
RETENTION = 24 * HOURS
MAX_MEMO = 4096
BUCKET = "leapi-tmp-us-east-1"  # what the document shows to everybody; the object is where `tmp_url` says
STATUS: dict[TaskState, str] = {
    "pending": "PROCESSING",
    "processing": "PROCESSING",
    "completed": "DONE",
    "partially_failed": "ERROR",
    "failed": "ERROR",
    "partially_cancelled": "ERROR",
    "cancelled": "ERROR",
}
Format = ImageFormat | SourceFormat
SUFFIXES: dict[Format, str] = {"jpeg": "jpg", "tiff": "tif"}  # of the others, the format itself
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


# ---------------------------------------------------------------- requests


def from_operation(settings: Settings, wish: schemas.Operation) -> Recipe:
    """A preset's steps: cleaned, lit, toned, enlarged into the box, sharpened. Light and tone come before the network,
    which has less to do then, and noise before light, which would bring it out."""
    preset, level = PRESETS[wish.op], LEVELS[wish.restoration_level]
    light, tone = float(wish.lightai_intensity), float(wish.toneai_intensity)
    steps: list[Operation] = [Denoise(strength=level.noise, artifacts=level.artifacts)]
    if light:
        steps.append(LowLight(intensity=preset.light * light))
    if light or tone:
        steps.append(
            Tone(
                balance=preset.balance * light,
                saturation=preset.saturation * light,
                levels=preset.levels * tone,
                contrast=preset.contrast * tone,
            )
        )
    if wish.width or wish.height:
        steps.append(Upscale(model=model(settings, wish.restoration_level), width=wish.width, height=wish.height))
    if amount := level.sharpen and level.sharpen + preset.sharpen:
        steps.append(Sharpen(radius=preset.radius, amount=amount, threshold=2.0))
    encode = Encode(format="png" if wish.image_format == "PNG" else "jpeg", quality=wish.quality, dpi=wish.dpi)
    return Recipe.model_validate({"operations": (*steps, Thumbnail(), encode)})


def terms(wish: schemas.Pipeline, body: dict[str, Any]) -> Terms:
    """`body` is what the caller sent: operations are shown again in the caller's own words. Raises Invalid."""
    operations = body["operations"] if isinstance(body["operations"], list) else [body["operations"]]
    memo = json.dumps({"operations": operations, "sink": wish.sink.model_dump(), "notify_url": wish.notify_url})
    if len(memo) > MAX_MEMO:  # ASCII: JSON escapes the rest, halves of surrogate pairs too
        raise Invalid("operations and notify_url are too long")
    hook = Hook.after(wish.notify_url) if wish.notify_url else None
    return Terms(dialect=DIALECT, memo=memo, retention_ms=RETENTION, calls=None, formats=FORMATS, hook=hook)


def from_id(text: str) -> int:
    """Raises NotFound for what cannot be the id of a pipeline."""
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise NotFound
    return int(text)


# ---------------------------------------------------------------- answers


def to_accepted(view: View) -> dict[str, Any]:
    return {"status": "ACCEPTED", "pipeline": _facts(view) | {"status": "PROCESSING", "results": []}}


def to_shown(services: Services, view: View) -> dict[str, Any]:
    """The document has everything below `pipeline`; its prose has `status` and `results` above: here is both."""
    pipeline = to_pipeline(services, view)
    return {"pipeline": pipeline, "status": pipeline["status"], "results": pipeline["results"]}


def to_pipeline(services: Services, view: View) -> dict[str, Any]:
    facts = _facts(view)
    shown = [_result(services, file, facts["sink"]["temp_store"]) for file in view.files if file.state == "done"]
    return facts | {"results": shown}


def to_usage(month: Usage) -> dict[str, Any]:
    return {
        "quota": month.quota,
        "used": month.used,
        "remaining": month.remaining,
        "reset_at": timestamp(month.reset),
    }


def timestamp(ms: int) -> str:
    """2021-04-26T13:46:09.145864: UTC, without saying so."""
    return datetime.fromtimestamp(ms / SECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _facts(view: View) -> dict[str, Any]:
    """All of a pipeline but its results. One that was started elsewhere has no operations in these words."""
    said = json.loads(view.task.memo) if view.task.dialect == DIALECT else {}
    ended = [(file, file.ended) for file in view.files if file.ended is not None]
    began = [max(file.created, end - int((file.seconds or 0) * SECONDS)) for file, end in ended]
    return {
        "id": view.task.id,
        "sink": said.get("sink", {"temp_store": True}),
        "error": view.error or None,
        "errors": [f"{file.original}: {file.error}" for file in view.files if file.state in ("failed", "cancelled")],
        "source": {"http": {"url": [file.url for file in view.files if file.url]}},
        "status": STATUS[view.state],
        "notify_url": said.get("notify_url"),
        "operations": said.get("operations", []),
        "started_at": timestamp(min(began)) if began else None,
        "finished_at": timestamp(max(end for _, end in ended)) if ended and not view.task.left else None,
        "submitted_at": timestamp(view.task.created),
    }


def _result(services: Services, file: File, linked: bool) -> dict[str, Any]:
    given = PurePath(file.original).stem.encode()[: results.MAX_STEM].decode(errors="ignore") or "picture"
    read = (file.source.width, file.source.height) if file.source else (None, None)
    source = _picture(given, file.source_format, *read)
    result = _picture(f"{given}_{_mark(file)}", file.format, file.width, file.height)
    links = results.links(services, file, result["filename"]) if linked else None
    url = links.download if links else None
    return {
        "created_at": timestamp(file.ended or file.created),
        "input_object": source | {"url": file.url or None},
        "output_object": result
        | {
            "s3_key": f"p/{file.task}/{result['filename']}",
            "tmp_url": url,
            "temp_url": url,
            "interpret": "srgb",
            "s3_bucket": BUCKET,
        },
    }


def _picture(stem: str, kind: Format | None, width: int | None, height: int | None) -> dict[str, Any]:
    """Every name of the document, null where its sample has null, and what is not known: a worker may not tell the
    source's size."""
    suffix = SUFFIXES.get(kind, kind) if kind else None
    return {
        "ext": suffix,
        "mps": round(width * height / MEGA, 2) if width and height else None,
        "url": None,
        "mime": CONTENT_TYPES[kind] if kind else None,
        "size": [width, height],
        "width": width,
        "format": kind.upper() if kind else None,
        "height": height,
        "s3_key": None,
        "tmp_url": None,
        "basename": stem,
        "filename": f"{stem}.{suffix}" if suffix else stem,
        "interpret": None,
        "s3_bucket": None,
        "s3_key_prefix": "",
    }


def _mark(file: File) -> str:
    """Six letters that tell this result's name from others."""
    digest = hashlib.sha256(f"{file.task} {file.nn}".encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:6])
