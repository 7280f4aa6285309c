"""Request models: those of Companion as `@uppy/aws-s3` 6 sends them, and the one that makes a token."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from tessera.errors import Invalid, MissingFields
from tessera.uploads import MAX_NAME

VISIBLE = r"^[\x21-\x7e]+$"  # what storage gives: it breaks on controls in XML


def _unicode(value: str) -> str:
    """JSON can spell half of a surrogate pair, which no text in UTF-8 has."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not Unicode") from error
    return value


def _whole(value: object) -> object:
    """Paths and queries have no numbers."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else value


def _numbers(value: object) -> object:
    return [_whole(piece) for piece in value.split(",")] if isinstance(value, str) else value


PartNumber = Annotated[StrictInt, BeforeValidator(_whole), Field(ge=1, le=10_000)]
Text = Annotated[StrictStr, AfterValidator(_unicode)]


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


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
    metadata: dict[str, Any] = {}


class UploadInParts(Body):
    uploadId: StrictStr = Field(pattern=VISIBLE, max_length=1024)
    key: Text = Field(min_length=1, max_length=1024)


class SignPart(Body):
    partNumber: PartNumber


class SignBatch(Body):
    partNumbers: Annotated[tuple[PartNumber, ...], BeforeValidator(_numbers), Field(min_length=1, max_length=100)]


class PartEntry(Body):
    PartNumber: StrictInt = Field(ge=1, le=10_000)
    ETag: StrictStr = Field(pattern=VISIBLE, max_length=200)


class Complete(Body):
    parts: tuple[PartEntry, ...] = Field(min_length=1, max_length=10_000)


Model = TypeVar("Model", bound=Body)


def parse(model: type[Model], value: dict[str, Any]) -> Model:
    """Raises MissingFields where required ones are not there, Invalid with the first problem otherwise."""
    try:
        return model.model_validate({name: given for name, given in value.items() if given is not None})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        missing = [str(problem["loc"][-1]) for problem in problems if problem["type"] == "missing"]
        if missing:
            raise MissingFields(*missing) from error
        first = problems[0]
        where = ".".join(map(str, first["loc"]))
        raise Invalid(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
