"""Companion's words to Tessera's and back. Pure: no I/O but signing links, which is arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tessera.storage import Form, Part, Storage, StoredPart
from tessera.tokens import Asked, Limits, Multipart, Token

from companion.schemas import Begin, Complete, CreateToken

METADATA = re.compile(r"metadata\[(?P<name>.*)\]", re.DOTALL)
SIZE = re.compile(r"[0-9]{1,15}")

# ---------------------------------------------------------------- requests


def from_create(request: CreateToken) -> Limits:
    named = {
        "max_bytes": request.maxBytes,
        "types": request.types,
        "count": request.count,
        "exact": request.exact,
        "seconds": request.expiresIn,
    }
    return Limits.model_validate({name: value for name, value in named.items() if value is not None})


def nested(query: Mapping[str, str]) -> dict[str, Any]:
    """A query's `metadata[name]=value` as the object that a JSON body has."""
    metadata = {match["name"]: value for name, value in query.items() if (match := METADATA.fullmatch(name))}
    return {name: value for name, value in query.items() if not METADATA.fullmatch(name)} | {"metadata": metadata}


def from_begin(request: Begin) -> Asked:
    """`size` and `partSize` are no words of Uppy's: a page sets them. What is no number means something else."""
    size, part_size = (_bytes(request.metadata.get(name)) for name in ("size", "partSize"))
    return Asked(request.filename, request.type, size, part_size)


def _bytes(value: object) -> int | None:
    text = str(value)
    return int(text) if SIZE.fullmatch(text) else None


def from_parts(request: Complete) -> tuple[Part, ...]:
    return tuple(Part(part.PartNumber, part.ETag) for part in request.parts)


# ---------------------------------------------------------------- answers


def to_token(secret: str, token: Token, base_url: str) -> dict[str, Any]:
    """The limits too: Uppy's own `restrictions`, set to them, tell the user before a request is made."""
    return {
        "status": "success",
        "data": {
            "token": secret,
            "companionUrl": f"{base_url}/u/{secret}",
            "expiresAt": token.expires,
            "maxBytes": token.max_bytes,
            "types": list(token.types),
            "count": token.count,
            "exact": token.exact,
        },
    }


def to_form(form: Form, seconds: int) -> dict[str, Any]:
    return {"method": "POST", "url": form.url, "fields": form.fields, "expires": seconds}


def to_begun(upload: Multipart, bucket: str) -> dict[str, Any]:
    return {"key": upload.key, "uploadId": upload.s3_id, "bucket": bucket}


def to_batch(links: Mapping[int, str], seconds: int) -> dict[str, Any]:
    return {"presignedUrls": {str(number): link for number, link in links.items()}, "expires": seconds}


def to_parts(parts: Iterable[StoredPart]) -> list[dict[str, Any]]:
    return [{"PartNumber": part.number, "ETag": part.etag, "Size": part.size} for part in parts]


def to_completed(upload: Multipart, storage: Storage) -> dict[str, Any]:
    return {"location": storage.address(upload.key), "key": upload.key, "bucket": storage.bucket}
