"""The message between Lambda and worker: `Job` goes out; `Report`s and one `Outcome` come back.

A job carries capability URLs (pre-signed, each good for one object), so a worker needs no AWS credential and knows
nothing but what is written here. All times are Unix milliseconds.
"""

from __future__ import annotations

import zlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tessera.recipe import WEB, ImageFormat, Recipe, SourceFormat

ErrorCode = Literal[
    "unsupported_format",  # of no format that the job takes, by its bytes
    "corrupt_image",  # the header or the pixels cannot be decoded
    "too_many_pixels",  # input or output above the limits of the job, or above what the output format can hold
    "does_not_fit",  # an operation asks for what a picture of this size does not have
    "source_changed",  # the object is no longer the one whose ETag was accepted
    "not_stored",  # the owner's own bucket did not take the result
    "source_unavailable",  # the object could not be read
    "link_expired",  # storage refused a link of the job: sign afresh and run again
    "too_late",  # `not_after` had passed before the work began or before it ended
    "model_unavailable",  # the model that the recipe names is not installed here
    "internal",  # anything else; the worker may be tried again
]


FileFormat = Literal["jpeg", "png", "webp", "avif", "tiff", "bmp", "gif", "heic"]
Colorspace = Literal[
    "srgb",  # red, green and blue: those of sRGB, or without a word of others
    "rgb",  # those of another colour profile, which the file has
    "gray",
    "cmyk",
    "lab",
]

MAX_JSON = 256 * 1024  # bytes of a job, unpacked


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Told(BaseModel):
    """What a worker says. A newer worker may say more than this side knows."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Limits(Frozen):
    """Pixels are width * height; checked from the header, before anything is decoded."""

    max_input_pixels: int
    max_output_pixels: int


class Job(Frozen):
    task: str
    file: int = Field(ge=0)
    attempt: int = Field(ge=1)
    recipe: Recipe
    limits: Limits
    formats: tuple[SourceFormat, ...] = Field(default=WEB, description="that the source may have")
    source_url: str = Field(description="GET; the request carries If-Match with source_etag")
    source_etag: str = Field(description="as S3 gives it, with its quotes")
    store_url: str = Field(default="", description="PUT, before result_url: the owner's own bucket, with store_headers")
    store_headers: dict[str, str] = {}
    result_url: str = Field(description="PUT; written last: its ObjectCreated event completes the file")
    thumbnail_url: str = Field(description="PUT, image/webp")
    report_url: str = Field(description="PUT, a Report as JSON: progress while it runs, the outcome before the result")
    failure_url: str = Field(description="PUT, an Outcome as JSON whose status is failed")
    correlation: str = Field(default="", description="of the request that asked for this; for logs only")
    handed_over: int = Field(default=0, description="when this job was made; for measuring only")
    not_after: int = Field(description="the worker neither starts nor writes a result later than this")

    def packed(self) -> bytes:
        """For a carrier that takes small messages: five links repeat one session token, so a fifth of it remains."""
        return zlib.compress(self.model_dump_json().encode())

    @classmethod
    def unpacked(cls, packed: bytes) -> Job:
        """Raises ValueError, without a word of the content, for bytes that are no packed job."""
        try:
            return cls.model_validate_json(zlib.decompressobj().decompress(packed, MAX_JSON))
        except (zlib.error, ValidationError):
            raise ValueError("this is no job") from None


class JobError(Told):
    code: ErrorCode
    message: str = Field(description="for the owner of the picture: no path, no URL, no stack")
    retryable: bool


class Picture(Told):
    """Facts of a file, read from it: what it is in, not what it was made from."""

    format: FileFormat
    width: int = Field(description="pixels of the picture as it is shown, its orientation applied")
    height: int
    bytes: int
    sha1: str = Field(pattern="^[0-9a-f]{40}$", description="of the file's bytes")
    colorspace: Colorspace
    depth: int = Field(description="bits of a sample; of a palette, of its colours")
    interlaced: bool = Field(description="coarse at first, then finer: progressive JPEG, Adam7 PNG, interlaced GIF")
    sampling: str | None = Field(default=None, description="4:2:0 or so, of JPEG, AVIF and HEIC with colours")
    quality: int | None = Field(
        default=None, description="of a JPEG, 1 to 100: whose tables by libjpeg's formula are the nearest to the file's"
    )
    alpha: bool = Field(description="the file says that pixels may be transparent")


class Outcome(Told):
    """What became of a job. `done` has the picture's facts, `failed` has the error."""

    status: Literal["done", "failed"]
    width: int | None = None
    height: int | None = None
    format: ImageFormat | None = None
    bytes: int | None = None
    model: str | None = Field(default=None, description="the catalogue entry that really ran")
    stand_in: bool = Field(default=False, description="true when `model` stands in for the one that was asked for")
    reused: bool = Field(default=False, description="true when no worker ran: an earlier result was copied")
    notes: tuple[str, ...] = ()
    source_pixels: int | None = None
    waited: float | None = Field(default=None, description="seconds from the hand-over to the first byte read")
    seconds: float | None = Field(default=None, description="wall time from the first byte read to the last encoded")
    fidelity: float | None = Field(
        default=None, description="dB, PSNR over RGB between the source and the enlargement averaged down to its size"
    )
    seam: float | None = Field(
        default=None, description="differences across borders of tiles over those nearby: 1 where no border shows"
    )
    source: Picture | None = None
    result: Picture | None = None
    error: JobError | None = None


class Report(Told):
    progress: float = Field(ge=0, le=1)
    outcome: Outcome | None = None
    correlation: str = ""
