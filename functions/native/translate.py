"""Our own routes' words to the core's and back. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from tessera import catalogue, estimates, ids, multiparts, uploads, webhooks
from tessera.accounts import Account
from tessera.errors import NotFound
from tessera.recipe import (
    Denoise,
    Encode,
    EnhanceFace,
    ImageFormat,
    MetadataPolicy,
    Operation,
    Recipe,
    Thumbnail,
    Upscale,
)
from tessera.results import Links
from tessera.settings import SECONDS, Settings
from tessera.signatures import Secret
from tessera.starts import Wanted
from tessera.storage import StoredPart
from tessera.tasks import MAX_FILES, File, View
from tessera.webhooks import Delivery, Hook

from native import schemas

API_VERSION = "1"
FORMATS: dict[schemas.FormatName, ImageFormat] = {
    "jpg": "jpeg",
    "png": "png",
    "webp": "webp",
    "avif": "avif",
    "tiff": "tiff",
}
FORMAT_WORDS = {kind: word for word, kind in FORMATS.items()}


# ---------------------------------------------------------------- requests


def from_start_task(settings: Settings, wish: schemas.NewTask) -> Recipe:
    """Raises Invalid for a model that this deployment has not."""
    encode = Encode(
        format=FORMATS[wish.saveImageAs], quality=wish.quality, lossless=wish.lossless, metadata=wish.metadata
    )
    steps: list[Operation] = [Denoise(strength=wish.denoise)] if wish.denoise else []
    steps.append(_upscale(settings, wish))
    steps += [EnhanceFace()] if wish.enhanceFace else []
    return Recipe.model_validate({"operations": (*steps, Thumbnail(), encode)})


def from_estimate(settings: Settings, wish: schemas.Estimate) -> Recipe:
    encode = Encode(format=FORMATS[wish.saveImageAs])
    return Recipe(operations=(_upscale(settings, wish), Thumbnail(), encode))


def _upscale(settings: Settings, wish: schemas.Enlargement) -> Upscale:
    network = catalogue.check(settings, wish.model) if wish.model else catalogue.default(settings)
    if wish.width is None and wish.height is None:
        return Upscale(model=network.name, scale=wish.scale or 4)
    return Upscale(model=network.name, width=wish.width, height=wish.height)


def from_source(source: schemas.Source) -> Wanted:
    return Wanted.of(source.fileName, source.originalFileName or "")


def from_webhook(settings: Settings, webhook: schemas.Webhook | None) -> Hook | None:
    """Raises Invalid for an address that nothing may be sent to."""
    if webhook is None:
        return None
    webhooks.check(webhook.url, settings)
    return Hook.after(webhook.url, webhook.delay * SECONDS)


def from_task_id(text: str) -> int:
    """Raises NotFound for what cannot be the id of a task."""
    number = ids.from_uuid(text)
    if number is None:
        raise NotFound
    return number


# ---------------------------------------------------------------- answers


def to_account(settings: Settings, account: Account) -> schemas.Account:
    return schemas.Account(
        credits=account.balance,
        apiVersion=API_VERSION,
        limits=schemas.Limits(
            maxFileBytes=uploads.MAX_BYTES,
            maxInputPixels=settings.max_input_pixels,
            maxOutputPixels=settings.max_output_pixels,
            partThreshold=settings.part_threshold_bytes,
            maxFilesPerTask=MAX_FILES,
        ),
        retentionSeconds=settings.result_retention_seconds,
    )


def to_models(settings: Settings) -> schemas.Models:
    return schemas.Models(
        models=tuple(_model(offer) for offer in catalogue.offers(settings)),
        formats=tuple(_format(settings, facts) for facts in catalogue.FORMATS),
        operations=schemas.Operations(
            denoise=schemas.Denoising(),
            enhanceFace=schemas.FaceEnhancement(
                available=settings.faces == "installed", reason=catalogue.no_faces(settings)
            ),
            metadata=schemas.Metadata(values=get_args(MetadataPolicy), default="safe"),
        ),
    )


def _model(offer: catalogue.Offer) -> schemas.Model:
    network = offer.network
    return schemas.Model(
        name=network.name,
        title=network.title,
        description=network.description,
        scales=catalogue.SCALES,
        licence=network.licence,
        available=offer.available,
        reason=offer.reason,
        standIn=offer.stand_in,
        default=offer.default,
    )


def _format(settings: Settings, facts: catalogue.FormatFacts) -> schemas.Format:
    most = settings.max_output_pixels
    return schemas.Format(
        name=FORMAT_WORDS[facts.name], maxSide=facts.max_side, maxPixels=min(facts.max_pixels or most, most)
    )


def to_estimated(made: estimates.Estimate) -> schemas.Estimated:
    return schemas.Estimated(
        files=tuple(_estimated(file) for file in made.files), credits=made.credits, seconds=made.seconds
    )


def _estimated(file: estimates.FileEstimate) -> schemas.FileEstimate:
    pixels = file.width * file.height if file.width and file.height else None
    return schemas.FileEstimate(
        width=file.width, height=file.height, pixels=pixels, accepted=file.accepted, reason=file.reason
    )


def to_started(task: int) -> schemas.TaskSaid:
    return schemas.TaskSaid(taskId=ids.to_uuid(task), status="pending")


def to_cancelled(view: View) -> schemas.Cancelled:
    task = view.task
    return schemas.Cancelled(
        taskId=ids.to_uuid(task.id), status=view.state, done=task.done, failed=task.failed, cancelled=task.cancelled
    )


def to_deleted(task: int, deleted: int) -> schemas.Deleted:
    return schemas.Deleted(taskId=ids.to_uuid(task), deleted=deleted)


def to_ended(view: View, links: Sequence[Links | None]) -> dict[str, Any]:
    """What a webhook says of a task, in the shape that Standard Webhooks proposes. `links`: of its files."""
    ended = max(file.ended or 0 for file in view.files)
    data = schemas.Ended(
        taskId=ids.to_uuid(view.task.id),
        status=view.state,
        deductedCredits=view.task.deducted,
        files=tuple(map(_ended_file, view.files, links)),
    )
    return {
        "type": f"task.{view.state}",
        "timestamp": datetime.fromtimestamp(ended / SECONDS, UTC).isoformat(timespec="milliseconds"),
        "data": data.model_dump(mode="json"),
    }


def _ended_file(file: File, links: Links | None) -> schemas.EndedFile:
    return schemas.EndedFile(
        fileName=file.name,
        originalFileName=file.original,
        state=file.state,
        error=file.error or None,
        downloadLink=links.download if links else None,
        thumbnailLink=links.thumbnail if links else None,
        expiresAt=file.expires if links else None,
        width=file.width,
        height=file.height,
        bytes=file.bytes,
        format=FORMAT_WORDS[file.format] if file.format else None,
    )


def to_webhook(task: int, hook: Hook, delivery: Delivery | None) -> schemas.WebhookSaid:
    """`delivery`: None while the task has not ended."""
    waits = delivery is not None and delivery.state == "pending"
    return schemas.WebhookSaid(
        taskId=ids.to_uuid(task),
        state=delivery.state if delivery else "waiting",
        url=webhooks.parted(hook.url)[0],
        webhookId=delivery.id if delivery else None,
        attempts=tuple(map(_attempt, delivery.log)) if delivery else (),
        nextAttemptAt=delivery.next if delivery and waits else None,
    )


def _attempt(made: webhooks.Attempt) -> schemas.AttemptSaid:
    return schemas.AttemptSaid(at=made.at, status=made.status, error=made.error or None, ms=made.ms)


def to_webhook_secret(valid: Sequence[Secret]) -> schemas.WebhookSecret:
    first, *older = valid
    return schemas.WebhookSecret(
        secret=first.text, olderValidUntil=max((secret.until or 0 for secret in older), default=None)
    )


def to_signed(links: Sequence[multiparts.PartLink], expires: int) -> schemas.SignedParts:
    return schemas.SignedParts(
        parts=tuple(schemas.PartUrl(PartNumber=link.number, url=link.url) for link in links), expiresAt=expires
    )


def to_stored(parts: Sequence[StoredPart]) -> schemas.StoredParts:
    return schemas.StoredParts(
        parts=tuple(
            schemas.PartStored(PartNumber=part.number, ETag=part.etag.strip('"'), Size=part.size) for part in parts
        )
    )
