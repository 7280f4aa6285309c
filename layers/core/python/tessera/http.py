"""What every dialect needs at the HTTP edge: reading a body that may be anything, and one way to answer.

All readers raise `Invalid` (or `BodyTooLarge`) and nothing else, whatever the bytes are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import create_form_parser, parse_options_header

from tessera.errors import BodyTooLarge, Invalid, PlainHttp
from tessera.redaction import redacted
from tessera.settings import Settings

MAX_BODY = 4_400_000  # bytes: in base64 just below Lambda's 6 MB, with room for the rest of the event
MAX_FORM_PARTS = 1000


@dataclass(frozen=True)
class FilePart:
    """A file inside a form: its bytes and the name that the sender gave it."""

    name: str
    body: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True)
class Form:
    """Text fields and file parts in the order in which they were sent."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, FilePart], ...]


CORRELATION = "X-Request-Id"
POSSIBLE_CORRELATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=-]{0,63}")

# For every answer that says nothing else: they hold links that open objects, and are no pages.
SECURITY_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def secured(answer: dict[str, Any], correlation: str) -> dict[str, Any]:
    """A Lambda answer with SECURITY_HEADERS, where it has no such header of its own, and the request's id."""
    return answer | {"headers": {**SECURITY_HEADERS, **(answer.get("headers") or {}), CORRELATION: correlation}}


def correlation_id(event: Mapping[str, Any]) -> str:
    """The caller's own `X-Request-Id`, or API Gateway's id of the request. One that looks like a secret is not taken:
    it would be stored and logged."""
    wished = header(event, CORRELATION.lower())
    if POSSIBLE_CORRELATION.fullmatch(wished) and redacted(wished) == wished:
        return wished
    return str(event["requestContext"]["requestId"])


def header(event: Mapping[str, Any], name: str) -> str:
    """A request header by its lower-case name, empty where it is not sent."""
    return str((event.get("headers") or {}).get(name) or "")


def require_tls(event: Mapping[str, Any], settings: Settings) -> None:
    """For APIs that promise to refuse plain HTTP; on this machine itself it does no harm. Raises PlainHttp."""
    source = event["requestContext"]["http"]["sourceIp"]
    plain = header(event, "x-forwarded-proto").lower() == "http" and not ip_address(source).is_loopback
    if plain and not settings.allow_http:
        raise PlainHttp


def body(event: Mapping[str, Any]) -> bytes:
    """The body as it was sent. Raises BodyTooLarge above MAX_BODY, by the declared length or the real one."""
    declared = header(event, "content-length")
    if declared.isascii() and declared.isdigit() and len(declared) < 20 and int(declared) > MAX_BODY:
        raise BodyTooLarge(MAX_BODY)
    text = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        raw = text.encode("utf-8", "surrogatepass")
    else:
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid from error
    if len(raw) > MAX_BODY:
        raise BodyTooLarge(MAX_BODY)
    return raw


def json_object(raw: bytes) -> dict[str, Any]:
    """One JSON object, without NaN, infinities and names that are given twice: parsers differ on which one counts."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:  # bad UTF-8 and 5,000-digit integers are ValueErrors
        raise Invalid from error
    if not isinstance(value, dict):
        raise Invalid
    return value


def form(raw: bytes, content_type: str) -> Form:
    """A multipart/form-data or urlencoded body."""
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, FilePart]] = []

    def on_field(field: Any) -> None:
        if len(fields) >= MAX_FORM_PARTS:
            raise Invalid
        fields.append(((field.field_name or b"").decode(), (field.value or b"").decode()))

    def on_file(file: Any) -> None:
        if len(files) >= MAX_FORM_PARTS:
            raise Invalid
        with file.file_object as content:
            content.seek(0)
            part = FilePart((file.file_name or b"").decode(), content.read())
        files.append(((file.field_name or b"").decode(), part))

    in_memory = {"MAX_MEMORY_FILE_SIZE": MAX_BODY}  # nothing is written to the function's disk
    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if boundary is not None and b"--" + boundary + b"--" not in raw[-len(boundary) - 64 :]:
            raise Invalid("the form is cut off")
        headers = {"Content-Type": content_type.encode("latin-1")}
        parser = create_form_parser(headers, on_field, on_file, config=in_memory)
        parser.write(raw)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Invalid from error
    return Form(tuple(fields), tuple(files))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name is given twice")
    return named


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
