"""Upscayl Cloud's request models, as documented. Strict: a fileSize of true, "1_000" or 1.0 is refused.

Unknown fields are ignored, `compression` among them: the vendor's document has it commented out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from jsonapi.schemas import VISIBLE, Body, Text
from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema

MODELS = (
    "upscayl-standard-4x",
    "upscayl-lite-4x",
    "clear-boost-4x",
    "crystal-plus-4x",
    "digital-art-4x",
    "digital-art-plus-4x",
    "natural-max-4x",
    "natural-plus-4x",
    "nature-boost-4x",
    "pure-boost-4x",
    "quick-clear-4x",
    "texture-boost-4x",
)
ALIASES = {name.removesuffix("-4x"): name for name in MODELS} | {
    # the enum of an older version of the document
    "photo-realistic": "natural-plus-4x",
    "anime": "digital-art-4x",
}

ModelName = Annotated[str, WithJsonSchema({"type": "string", "enum": [*MODELS, *ALIASES]})]


def _model(value: object) -> object:
    name = ALIASES.get(value, value) if isinstance(value, str) else value
    if name not in MODELS:
        raise ValueError(f"unknown model, one of: {', '.join(MODELS)}")
    return name


def _text(value: object) -> object:
    """Numbers where the document has a string of digits: JSON clients send 4 for "4"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _switch(value: object) -> object:
    """Forms have no booleans: real clients send "true" and "false"."""
    words: dict[object, bool] = {"true": True, "false": False, "1": True, "0": False, "": False}
    if isinstance(value, str):
        return words.get(value.lower(), value)
    return bool(value) if type(value) is int and value in (0, 1) else value


def _whole(value: object) -> object:
    """Forms have no numbers either."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else value


Word = Literal["true", "false", "1", "0", ""]
Switch = Annotated[StrictBool, BeforeValidator(_switch, json_schema_input_type=bool | Word | Literal[0, 1])]
MimeType = Literal["image/jpeg", "image/png", "image/webp"]


class GetUploadUrl(Body):
    """Bounds and types are checked by `uploads.check`: each has its own error code."""

    originalFileName: Text
    fileType: StrictStr
    fileSize: StrictInt
    multipart: StrictBool | None = None


class UploadedFile(Body):
    """`fileType` and `fileSize` are checked for their form; what counts is what the bucket holds."""

    fileName: StrictStr = Field(min_length=1, max_length=300)
    fileType: MimeType
    fileSize: Annotated[
        StrictInt, BeforeValidator(_whole, json_schema_input_type=int | str), Field(ge=1, le=104_857_600)
    ]
    originalFileName: Annotated[StrictStr, Field(max_length=255)] | None = None


class StartTask(Body):
    files: tuple[UploadedFile, ...] = ()
    urls: tuple[Annotated[StrictStr, Field(max_length=8192)], ...] = ()
    model: Annotated[str, BeforeValidator(_model, json_schema_input_type=ModelName)] = "upscayl-standard-4x"
    scale: Annotated[
        Literal["2", "4", "8"], BeforeValidator(_text, json_schema_input_type=Literal["2", "4", "8", 2, 4, 8])
    ] = "4"
    saveImageAs: Literal["png", "jpg", "webp"] = "jpg"
    enhanceFace: Switch = False


class GetTaskStatus(Body):
    taskId: StrictStr = Field(max_length=64)


class GetHistory(Body):
    timestampOffset: Annotated[StrictInt, Field(ge=0, lt=10**13)] | None = None
    batch: StrictBool | None = None
    failed: StrictBool | None = None
    limit: StrictInt = Field(default=20, ge=1, le=100)
    processed: StrictStr | None = None


class PartEntry(Body):
    PartNumber: StrictInt = Field(ge=1, le=10_000)
    ETag: StrictStr = Field(pattern=VISIBLE, max_length=200)


class CompleteMultipart(Body):
    uploadId: StrictStr = Field(pattern=VISIBLE, max_length=1024)
    key: StrictStr = Field(min_length=1, max_length=1024)
    parts: tuple[PartEntry, ...] = Field(min_length=1, max_length=10_000)
