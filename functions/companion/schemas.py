"""Request models: those of Companion as `@uppy/aws-s3` 6 sends them, and the one that makes a token."""

from __future__ import annotations

from typing import Annotated, Any

from jsonapi.schemas import VISIBLE, Body, Text
from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr
from tessera.uploads import MAX_NAME


def _whole(value: object) -> object:
    """Paths and queries have no numbers."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else value


def _numbers(value: object) -> object:
    return [_whole(piece) for piece in value.split(",")] if isinstance(value, str) else value


PartNumber = Annotated[StrictInt, BeforeValidator(_whole), Field(ge=1, le=10_000)]


class CreateToken(Body):
    """Bounds are the domain's: `tokens.create`."""

    maxBytes: StrictInt | None = None
    types: tuple[Text, ...] | None = None
    count: StrictInt | None = None
    exact: StrictBool | None = None
    expiresIn: StrictInt | None = None


class Begin(Body):
    """`metadata` is what a page has told Uppy of a file: its own words, all of them strings in a query."""

    filename: Text = Field(min_length=1, max_length=MAX_NAME)
    type: Text
    metadata: dict[str, Any] = Field(default={})


class UploadInParts(Body):
    uploadId: StrictStr = Field(pattern=VISIBLE, max_length=1024)
    key: Text = Field(min_length=1, max_length=1024)


class OfUpload(Body):
    """The query of a route that has the upload's id in its path."""

    key: Text = Field(min_length=1, max_length=1024, description="of the upload")


class SignPart(Body):
    partNumber: PartNumber


class SignBatch(Body):
    partNumbers: Annotated[tuple[PartNumber, ...], BeforeValidator(_numbers), Field(min_length=1, max_length=100)]


class OfBatch(OfUpload, SignBatch):
    pass


class PartEntry(Body):
    PartNumber: StrictInt = Field(ge=1, le=10_000)
    ETag: StrictStr = Field(pattern=VISIBLE, max_length=200)


class Complete(Body):
    parts: tuple[PartEntry, ...] = Field(min_length=1, max_length=10_000)
