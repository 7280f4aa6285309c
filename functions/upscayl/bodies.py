"""The shapes in which Upscayl's clients send their bodies; docs/dialects/upscayl.md has one example of each.

Every route takes the documented flat object and the {"data": {...}} envelope that real clients send. `start-task`
takes its files in six encodings besides.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tessera import http
from tessera.errors import Invalid
from tessera.http import FilePart

BRACKETS = re.compile(r"files\[(?P<n>\d{1,3})\](?:\[(?P<a>\w+)\]|\.(?P<b>\w+))")
# `curl -d` calls everything urlencoded; JSON is told by its first byte.
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
NUMBERED = re.compile(r"(?:\d{1,3}\.)?file|file\[\d{0,3}\]|files(?:\[\d{0,3}\])?")


@dataclass(frozen=True)
class Received:
    """`fields` for the schema, `files` sent along, and whether the body came in an envelope."""

    fields: dict[str, Any]
    enveloped: bool = False
    files: tuple[FilePart, ...] = field(default=())


def read(event: dict[str, Any]) -> Received:
    """A JSON body, flat or enveloped. Raises Invalid."""
    return _unwrap(http.json_object(http.body(event)))


def read_start(event: dict[str, Any]) -> Received:
    """start-task's body: JSON or a form. Raises Invalid or BodyTooLarge."""
    content_type = http.header(event, "content-type")
    raw = http.body(event)
    is_form = content_type.lower().startswith(FORMS) and not raw.lstrip().startswith(b"{")
    if not is_form:
        return _unwrap(http.json_object(raw))
    form = http.form(raw, content_type)
    fields: dict[str, Any] = {}
    listed: list[Any] = []
    urls: list[Any] = []
    bracketed: dict[int, dict[str, str]] = {}
    enveloped = False
    for name, text in form.fields:
        if name in ("files", "files[]"):
            # one part with a list, or one part for each object: OpenAPI generators send the latter
            value = _json(text)
            listed += value if isinstance(value, list) else [value]
        elif match := BRACKETS.fullmatch(name):
            bracketed.setdefault(int(match["n"]), {})[match["a"] or match["b"]] = text
        elif name == "urls":
            urls += _json(text) if text.strip().startswith("[") else [text]
        elif name == "data":
            inner = _json(text)
            if not isinstance(inner, dict):
                raise Invalid("data: must be an object")
            enveloped = True
            fields |= inner
        elif text:  # a page's form sends what was left empty too
            fields[name] = text
    parts: list[FilePart] = []
    for name, part in form.files:
        if name in ("files", "files[]") and not part.name.lower().endswith((".jpg", ".jpeg", ".png", ".webp")):
            value = _json(part.body)  # generators that give every part a file name
            listed += value if isinstance(value, list) else [value]
        elif NUMBERED.fullmatch(name):
            parts.append(part)
    listed += [bracketed[n] for n in sorted(bracketed)]
    given = {"files": listed or fields.get("files"), "urls": urls or fields.get("urls")}
    return Received(fields | given, enveloped, tuple(parts))


def _unwrap(value: dict[str, Any]) -> Received:
    inner = value.get("data")
    return Received(inner, enveloped=True) if isinstance(inner, dict) else Received(value)


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid("files and urls: must be JSON") from error
