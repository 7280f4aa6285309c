"""Reading a JSON body into a strict model, and the shape of every answer."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError
from tessera.errors import Invalid, MissingFields

VISIBLE = r"^[\x21-\x7e]+$"  # what storage gives: it breaks on controls in XML


def _unicode(value: str) -> str:
    """JSON can spell half of a surrogate pair, which no text in UTF-8 has."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not Unicode") from error
    return value


Text = Annotated[StrictStr, AfterValidator(_unicode)]


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=False)


Model = TypeVar("Model", bound=Body)
Data = TypeVar("Data")


class Success(BaseModel, Generic[Data]):
    status: Literal["success"] = "success"
    data: Data


class Failure(BaseModel):
    """`error` is for programs and keeps its meaning, `message` is for people."""

    model_config = ConfigDict(extra="forbid")

    error: str = Field(examples=["BAD_REQUEST"])
    message: str


def _given(value: object) -> object:
    """Without the nulls that clients send for what they leave out."""
    if isinstance(value, dict):
        return {name: _given(inner) for name, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list) else value


def parse(model: type[Model], value: object) -> Model:
    """Raises MissingFields where required ones are not there, Invalid with the first problem otherwise."""
    try:
        return model.model_validate(_given(value))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        missing = [str(problem["loc"][-1]) for problem in problems if problem["type"] == "missing"]
        if missing:
            raise MissingFields(*missing) from error
        first = problems[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"{where}: {said}" if where else said) from error
