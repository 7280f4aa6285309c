"""Let's Enhance's request, as documented, and as its clients send it: docs/dialects/letsenhance.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from jsonapi.schemas import Body, Text
from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, model_validator
from tessera.tasks import MAX_FILES

from letsenhance.presets import ALIASES, PRESETS

MAX_URL = 8192
# the same under two names, in the document or in clients
OTHER_NAMES = {"tone_intensity": "toneai_intensity", "jpeg_qf": "quality"}


def _listed(value: object) -> object:
    """Clients send one object, or one string, where there may be several."""
    return value if isinstance(value, list) else [value]


def _preset(value: object) -> object:
    name = ALIASES.get(value, value) if isinstance(value, str) else ""
    if name not in PRESETS:
        raise ValueError(f"one of {', '.join(PRESETS)}")
    return name


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Url = Annotated[Text, Field(min_length=1, max_length=MAX_URL)]
Side = Annotated[StrictInt, Field(ge=1, le=65_535)]
Intensity = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1)]
FormatWord = Annotated[Literal["JPEG", "PNG"], BeforeValidator(_upper)]


class Http(Body):
    url: Annotated[tuple[Url, ...], BeforeValidator(_listed), Field(min_length=1, max_length=MAX_FILES)]


class Source(Body):
    http: Http


class Operation(Body):
    """Presets differ in what they do, not in what they take. The document's intensities end at 0.99, its samples have
    1.0."""

    op: Annotated[str, BeforeValidator(_preset)]
    width: Side | None = None
    height: Side | None = None
    restoration_level: Annotated[StrictInt, Field(ge=1, le=10)] = 4
    lightai_intensity: Intensity = 0.0
    toneai_intensity: Intensity = 0.0
    dpi: Side | None = None
    image_format: FormatWord = "JPEG"
    quality: Annotated[StrictInt, Field(ge=1, le=100)] = 85
    background_removal: Any = False

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {OTHER_NAMES[name]: given[name] for name in OTHER_NAMES if name in given} | {
            name: value for name, value in given.items() if name not in OTHER_NAMES
        }

    @model_validator(mode="after")
    def _known(self) -> Operation:
        if self.background_removal:
            raise ValueError("background_removal is not available")
        return self


class Sink(Body):
    """Without one a result could not be fetched, so a request that says nothing of it gets a link."""

    temp_store: StrictBool = True


class Pipeline(Body):
    source: Source
    operations: Annotated[tuple[Operation, ...], BeforeValidator(_listed), Field(min_length=1, max_length=1)]
    sink: Sink = Sink()
    notify_url: Url | None = None
