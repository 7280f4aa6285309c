"""What a page and Uppy are answered, for the reference."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UploadToken(Answer):
    token: str = Field(description="seen this once")
    companionUrl: str = Field(description="Uppy's `endpoint`; the token is in its path")
    expiresAt: int = Field(description="Unix milliseconds")
    maxBytes: int
    types: list[str]
    count: int
    exact: bool


class PageForm(Answer):
    method: Literal["POST"]
    url: str
    fields: dict[str, str] = Field(description="to be sent before the file")
    expires: int = Field(description="seconds")


class PageUpload(Answer):
    key: str
    uploadId: str
    bucket: str


class PagePart(Answer):
    url: str = Field(description="PUT the part here")
    expires: int = Field(description="seconds")


class PageParts(Answer):
    presignedUrls: dict[str, str] = Field(description="by part number")
    expires: int = Field(description="seconds")


class ArrivedPart(Answer):
    PartNumber: int
    ETag: str = Field(description="with its quotes")
    Size: int = Field(description="bytes")


class ArrivedParts(RootModel[list[ArrivedPart]]):
    pass


class PageFile(Answer):
    location: str = Field(description="names the object and opens nothing")
    key: str = Field(description="a start's `fileName`")
    bucket: str


class Aborted(Answer):
    pass
