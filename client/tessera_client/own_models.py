"""What Tessera's own routes answer, under /v1: another server of Upscayl's API has none of them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tessera_client.models import Answer, PartLink


class Limits(Answer):
    max_file_bytes: int
    max_input_pixels: int
    max_output_pixels: int
    part_threshold: int
    max_files_per_task: int


class Account(Answer):
    credits: int
    api_version: str
    limits: Limits
    retention_seconds: int


class Model(Answer):
    name: str
    title: str
    description: str
    scales: tuple[int, ...]
    licence: str
    available: bool
    reason: str | None = None
    stand_in: str | None = None
    default: bool = False


class Format(Answer):
    name: str
    max_side: int
    max_pixels: int


class Offers(Answer):
    models: tuple[Model, ...]
    formats: tuple[Format, ...]
    operations: dict[str, Any]


class FileEstimate(Answer):
    width: int | None
    height: int | None
    pixels: int | None
    accepted: bool
    reason: str | None


class Estimate(Answer):
    """`seconds` is None where the server's operator has not measured the worker."""

    files: tuple[FileEstimate, ...]
    credits: int
    seconds: float | None


class CancelledTask(Answer):
    task_id: str
    status: str
    done: int = 0
    failed: int = 0
    cancelled: int = 0


class DeletedTask(Answer):
    task_id: str
    deleted: int


class SignedParts(Answer):
    parts: tuple[PartLink, ...]
    expires_at: int


class StoredPart(Answer):
    part_number: int = Field(alias="PartNumber", ge=1)
    etag: str = Field(alias="ETag")
    size: int = Field(alias="Size")


class StoredParts(Answer):
    parts: tuple[StoredPart, ...]


class Nothing(Answer):
    pass
