"""Bodies and answers of our own routes. Unknown fields are refused, so that no wish is lost in a typing error."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from jsonapi.schemas import VISIBLE, Body, Text
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator
from tessera.multiparts import MAX_LISTED
from tessera.recipe import MetadataPolicy
from tessera.tasks import MAX_FILES, FileState, TaskState

FormatName = Literal["jpg", "png", "webp", "avif", "tiff"]
Side = Annotated[StrictInt, Field(ge=1, le=65_535)]
TASK_ID = "30a89e69-c702-4247-9905-f0a53dfa45ab"  # in examples


class Wish(Body):
    model_config = ConfigDict(frozen=True, extra="forbid")


# ---------------------------------------------------------------- bodies


class Enlargement(Wish):
    """How to enlarge: by `scale` (4 where nothing is said), or into a box of `width` and `height`, or one of them."""

    model: Annotated[StrictStr, Field(max_length=100)] | None = Field(
        default=None, description="a name of /v1/models; its default where none is given"
    )
    scale: Literal[2, 3, 4, 8] | None = None
    width: Side | None = Field(default=None, description="pixels; the aspect is kept")
    height: Side | None = Field(default=None, description="pixels; the aspect is kept")
    saveImageAs: FormatName = "jpg"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.scale is not None and (self.width is not None or self.height is not None):
            raise ValueError("scale and width or height exclude each other")
        return self


class Picture(Wish):
    """Of the upright picture, in pixels."""

    width: Annotated[StrictInt, Field(ge=1, le=10**6)]
    height: Annotated[StrictInt, Field(ge=1, le=10**6)]


class Estimate(Enlargement):
    files: tuple[Picture, ...] = Field(min_length=1, max_length=MAX_FILES)


class Source(Body):
    """What else /get-upload-url has answered may stand here too, and is ignored."""

    fileName: Annotated[Text, Field(min_length=1, max_length=300)] = Field(
        description="as /get-upload-url has answered it"
    )
    originalFileName: Annotated[Text, Field(max_length=255)] | None = Field(
        default=None, description="the name to save the result by"
    )


class Webhook(Wish):
    """docs/webhooks.md"""

    url: StrictStr = Field(
        min_length=1, max_length=2048, examples=["https://example.com/hooks/tessera"],
        description="http or https, a public address; a user and a password may stand in it, for Basic authentication",
    )  # fmt: skip
    delay: Annotated[StrictInt, Field(ge=0, le=86_400)] = Field(
        default=0, description="seconds from the end of the task to the first attempt"
    )


class NewTask(Enlargement):
    files: tuple[Source, ...] = Field(min_length=1, max_length=MAX_FILES)
    quality: Annotated[StrictInt, Field(ge=1, le=100)] = Field(
        default=92, description="of JPEG, AVIF, and WebP that is not lossless"
    )
    lossless: StrictBool = Field(default=False, description="WebP only")
    denoise: Annotated[StrictInt, Field(ge=0, le=100)] = Field(
        default=0, description="per cent of the noise that is found, removed before anything is enlarged"
    )
    enhanceFace: StrictBool = Field(
        default=False, description="accepted and noted in the file's `notes` where no face model is installed"
    )
    metadata: MetadataPolicy = "safe"
    webhook: Webhook | None = Field(default=None, description="where the end of the task is told")

    @model_validator(mode="after")
    def _only_where_it_acts(self) -> Self:
        if self.lossless and self.saveImageAs != "webp":
            raise ValueError("lossless is WebP's: png and tiff always are, jpg and avif never")
        return self


class TaskOf(Wish):
    taskId: StrictStr = Field(max_length=64, examples=[TASK_ID])


class NoWish(Wish):
    pass


class UploadOf(Wish):
    """Both as /get-upload-url has answered them."""

    uploadId: StrictStr = Field(pattern=VISIBLE, max_length=1024)
    key: StrictStr = Field(min_length=1, max_length=1024)


class SignParts(UploadOf):
    partNumbers: tuple[Annotated[StrictInt, Field(ge=1, le=10_000)], ...] = Field(
        min_length=1, max_length=MAX_LISTED, description="of the parts to sign links for"
    )


# ---------------------------------------------------------------- answers


class Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def told(self) -> dict[str, Any]:
        return {"status": "success", "data": self.model_dump(mode="json")}


class Limits(Said):
    maxFileBytes: int
    maxInputPixels: int
    maxOutputPixels: int
    partThreshold: int = Field(description="bytes above which /get-upload-url answers with parts")
    maxFilesPerTask: int


class Account(Said):
    credits: int
    apiVersion: str
    limits: Limits
    retentionSeconds: int = Field(description="how long a result can be downloaded")


class Model(Said):
    name: str
    title: str
    description: str
    scales: tuple[int, ...]
    licence: str
    available: bool
    reason: str | None = Field(description="why it is not available")
    standIn: str | None = Field(description="the model that runs instead; the task's files say so")
    default: bool


class Format(Said):
    name: FormatName
    maxSide: int = Field(description="pixels")
    maxPixels: int = Field(description="of a result, the deployment's own limit included")


class Denoising(Said):
    available: Literal[True] = True
    min: int = 0
    max: int = 100
    default: int = 0


class FaceEnhancement(Said):
    available: bool
    reason: str | None


class Metadata(Said):
    values: tuple[MetadataPolicy, ...]
    default: MetadataPolicy


class Operations(Said):
    denoise: Denoising
    enhanceFace: FaceEnhancement
    metadata: Metadata


class Models(Said):
    models: tuple[Model, ...]
    formats: tuple[Format, ...]
    operations: Operations


class FileEstimate(Said):
    width: int | None
    height: int | None
    pixels: int | None
    accepted: bool
    reason: str | None


class Estimated(Said):
    files: tuple[FileEstimate, ...]
    credits: int
    seconds: float | None = Field(
        description="of one worker, one file after the other and nothing waiting before them; "
        "null where the operator has not measured the worker"
    )


class TaskSaid(Said):
    taskId: str = Field(examples=[TASK_ID])
    status: TaskState


class Cancelled(TaskSaid):
    done: int = Field(description="files that had a result before, which stays and stays paid")
    failed: int
    cancelled: int = Field(description="files that were paid back")


class Deleted(Said):
    taskId: str = Field(examples=[TASK_ID])
    deleted: int = Field(description="results that could be downloaded until now; 0 for a repeat")


class EndedFile(Said):
    """Links and sizes where it is done, `error` where it has no result."""

    fileName: str = Field(description="as the start has named it")
    originalFileName: str
    state: FileState
    error: str | None
    downloadLink: str | None
    thumbnailLink: str | None
    expiresAt: int | None = Field(description="Unix milliseconds: the links' last")
    width: int | None
    height: int | None
    bytes: int | None
    format: FormatName | None


class Ended(Said):
    """`data` of a webhook."""

    taskId: str = Field(examples=[TASK_ID])
    status: TaskState
    deductedCredits: int
    files: tuple[EndedFile, ...]


class AttemptSaid(Said):
    at: int = Field(description="Unix milliseconds")
    status: int | None = Field(description="of the answer; null where none came")
    error: str | None = Field(description="why none came")
    ms: int = Field(description="how long it took")


class WebhookSaid(Said):
    taskId: str = Field(examples=[TASK_ID])
    state: Literal["waiting", "pending", "delivered", "dead"] = Field(
        description="waiting: the task has not ended; dead: the last attempt has failed"
    )
    url: str = Field(description="without user and password")
    webhookId: str | None = Field(description="the header `webhook-id` of all attempts")
    attempts: tuple[AttemptSaid, ...] = Field(description="the last ones, oldest first")
    nextAttemptAt: int | None = Field(description="Unix milliseconds")


class WebhookSecret(Said):
    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    olderValidUntil: int | None = Field(description="Unix milliseconds: until then webhooks carry its signature too")


class PartUrl(Said):
    PartNumber: int
    url: str


class SignedParts(Said):
    parts: tuple[PartUrl, ...]
    expiresAt: int = Field(description="Unix milliseconds")


class PartStored(Said):
    PartNumber: int
    ETag: str
    Size: int = Field(description="bytes")


class StoredParts(Said):
    parts: tuple[PartStored, ...]


class Nothing(Said):
    pass
