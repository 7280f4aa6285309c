"""Upload tokens: what a web page holds in place of an API key, to send pictures to one account and do nothing else.

A token is a capability: whoever knows it may begin `count` uploads of `types` and `max_bytes` until it expires. It is
stored as its SHA-256 only and dies with the API key that made it. What it begins are uploads like any others.

    begun = uploads begun: one conditional write counts, so that no two callers get the last one. None is given back:
            an upload that was aborted may have been completed by the time that this is known.

Storage holds a form to its size, and a part where the page has told how it cuts the file; an `exact` token asks for
that. A link cannot be held to a length that nobody has told: such parts are counted while they are signed and weighed
when they are put together, by ETags that say which bytes were weighed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict

from tessera import accounts, uploads
from tessera.accounts import Caller, Credential, hash_key
from tessera.errors import (
    FileTooLarge,
    Invalid,
    MissingFields,
    NotFound,
    TokenSpent,
    Unauthorized,
    UnsupportedType,
    UploadIncomplete,
)
from tessera.settings import DAYS, SECONDS
from tessera.storage import MIN_PART_BYTES, Form, Part, StoredPart, parse_upload_key, upload_key
from tessera.table import ConditionFailed, Item, Key, Put, Update, due_shard

if TYPE_CHECKING:
    from tessera.services import Services

FORM = re.compile(r"tsu_[A-Za-z0-9_-]{43}")
MAX_COUNT = 10_000
MAX_SECONDS = 7 * 86_400


class Limits(BaseModel):
    """What a token is good for. `types` are MIME types, `seconds` its life.

    `exact`: in parts only where the page tells their size, so that storage refuses what is larger.
    """

    model_config = ConfigDict(frozen=True)

    max_bytes: int = uploads.MAX_BYTES
    types: tuple[str, ...] = uploads.ACCEPTED_TYPES
    count: int = 20
    exact: bool = False
    seconds: int = 3600


class Token(BaseModel):
    """A token's row. Times in ms."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hash: str
    account: str
    key_hash: str
    max_bytes: int
    types: tuple[str, ...]
    count: int
    exact: bool
    begun: int
    expires: int


class Begun(BaseModel):
    """The row of an upload in parts: to which token it belongs (by its key), S3's id and the most it may weigh.

    `part_bytes`: all parts but the last, where the page has told it and the file's size, which `largest` is then.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    s3_id: str
    largest: int
    part_bytes: int | None = None


@dataclass(frozen=True)
class Asked:
    """A file that a page wants to send; `size`, and that of all parts but the last, where it says so."""

    name: str
    content_type: str
    size: int | None = None
    part_size: int | None = None


@dataclass(frozen=True)
class Multipart:
    key: str
    s3_id: str


# ---------------------------------------------------------------- tokens


def create(services: Services, caller: Caller, limits: Limits) -> tuple[str, Token]:
    """The token, which is seen this once, and its row. Raises Invalid."""
    _check(limits)
    secret = f"tsu_{secrets.token_urlsafe(32)}"
    token = Token(
        hash=hash_key(secret),
        account=caller.account.id,
        key_hash=caller.key_hash,
        max_bytes=limits.max_bytes,
        types=limits.types,
        count=limits.count,
        exact=limits.exact,
        begun=0,
        expires=services.now_ms() + limits.seconds * SECONDS,
    )
    services.table.put(Put(_row(token, "TOKEN") | token.model_dump(), new=True))
    return secret, token


def _check(limits: Limits) -> None:
    if not 1 <= limits.max_bytes <= uploads.MAX_BYTES:
        raise Invalid(f"maxBytes: 1 to {uploads.MAX_BYTES}")
    if not limits.types or not set(limits.types) <= set(uploads.ACCEPTED_TYPES):
        raise Invalid(f"types: some of {', '.join(uploads.ACCEPTED_TYPES)}")
    if not 1 <= limits.count <= MAX_COUNT:
        raise Invalid(f"count: 1 to {MAX_COUNT}")
    if not 1 <= limits.seconds <= MAX_SECONDS:
        raise Invalid(f"expiresIn: 1 to {MAX_SECONDS} seconds")


def find(services: Services, secret: str, kind: str = "") -> Token:
    """The token, and its API key's call counted where that `kind` is.

    Raises NotFound alike for a token that is unknown, expired or made by a key that was revoked, and RateLimited.
    """
    row = services.table.get(_token_key(hash_key(secret))) if FORM.fullmatch(secret) else None
    if row is None or row["expires"] <= services.now_ms():
        raise NotFound
    token = Token.model_validate(row)
    try:
        accounts.authenticate(services, Credential(account=token.account, key_hash=token.key_hash), kind)
    except Unauthorized:
        raise NotFound from None
    return token


# ---------------------------------------------------------------- uploads


def begin_form(services: Services, token: Token, asked: Asked) -> tuple[Form, int]:
    """A form that stores one file, and the seconds for which it does.

    Raises TokenSpent, and as `uploads.check` does.
    """
    largest = _largest(token, asked)
    _claim(services, token)
    seconds = _link_seconds(services, token)
    return services.storage.presign_form(_new_key(services, token, asked), seconds, largest), seconds


def begin_parts(services: Services, token: Token, asked: Asked) -> Multipart:
    """An upload in parts. Raises as `begin_form` does."""
    largest = _largest(token, asked)
    part_bytes = _part_bytes(token, asked)
    _claim(services, token)  # before the upload is: a cut in between costs one of the count, and never gives one
    key = _new_key(services, token, asked)
    s3_id = services.storage.start_multipart(key)
    begun = Begun(s3_id=s3_id, largest=largest, part_bytes=part_bytes)
    services.table.put(Put(_row(token, _begun_name(key)) | begun.model_dump(), new=True))
    return Multipart(key, s3_id)


def sign_parts(
    services: Services, token: Token, upload: Multipart, numbers: Iterable[int]
) -> tuple[dict[int, str], int]:
    """A link for each number, and the seconds for which they hold. No call but the one that knows the upload.

    All parts but the last have at least 5 MiB, so a file that may be sent has no higher number than that allows.
    Raises NotFound, Invalid or FileTooLarge.
    """
    begun = _begun(services, token, upload)
    seconds = _link_seconds(services, token)
    links: dict[int, str] = {}
    for number in numbers:
        if number < 1:
            raise Invalid("part numbers begin with 1")
        first = (number - 1) * (begun.part_bytes or MIN_PART_BYTES)
        if first >= begun.largest:
            raise FileTooLarge(begun.largest)
        length = min(begun.part_bytes, begun.largest - first) if begun.part_bytes else None
        links[number] = services.storage.presign_part(upload.key, upload.s3_id, number, length, seconds)
    return links, seconds


def list_parts(services: Services, token: Token, upload: Multipart) -> tuple[StoredPart, ...]:
    """Raises NotFound, also where the upload has ended."""
    _begun(services, token, upload)
    parts = services.storage.list_parts(upload.key, upload.s3_id)
    if parts is None:
        raise NotFound
    return parts


def complete(services: Services, token: Token, upload: Multipart, parts: Iterable[Part]) -> None:
    """One object of the parts; those of a file that is too large are thrown away.

    Raises NotFound, FileTooLarge or UploadIncomplete.
    """
    begun = _begun(services, token, upload)
    there = services.storage.list_parts(upload.key, upload.s3_id)
    if there is None:
        if services.storage.head(upload.key) is None:
            raise NotFound
        return  # completed by a call whose answer was lost
    named = _named(there, parts)
    if sum(part.size for part in named) > begun.largest:
        services.storage.abort_multipart(upload.key, upload.s3_id)
        raise FileTooLarge(begun.largest)
    # By the ETags that were weighed: a part that is replaced from now on does not fit any more.
    weighed = tuple(Part(part.number, part.etag) for part in named)
    uploads.complete(services, token.account, upload.s3_id, upload.key, weighed)


def abort(services: Services, token: Token, upload: Multipart) -> None:
    """Repeatable. Raises NotFound."""
    _begun(services, token, upload)
    services.storage.abort_multipart(upload.key, upload.s3_id)


def _named(there: Iterable[StoredPart], parts: Iterable[Part]) -> list[StoredPart]:
    stored = {part.number: part for part in there}
    named: dict[int, StoredPart] = {}
    for part in parts:
        if part.number in named:
            raise UploadIncomplete("a PartNumber is given twice")
        if part.number not in stored or stored[part.number].etag.strip('"') != part.etag.strip('"'):
            raise UploadIncomplete(f"part {part.number} is not there with this ETag")
        named[part.number] = stored[part.number]
    return [named[number] for number in sorted(named)]


def _largest(token: Token, asked: Asked) -> int:
    """The most bytes that this file may have."""
    uploads.check(asked.name, asked.content_type, 1 if asked.size is None else asked.size)
    if asked.content_type not in token.types:
        raise UnsupportedType
    if asked.size is not None and asked.size > token.max_bytes:
        raise FileTooLarge(token.max_bytes)
    return asked.size or token.max_bytes


def _part_bytes(token: Token, asked: Asked) -> int | None:
    """Bytes of all parts but the last, None where they are not known."""
    if asked.size is None or asked.part_size is None:
        if token.exact:
            raise MissingFields("metadata.size", "metadata.partSize")
        return None
    if asked.part_size < MIN_PART_BYTES:
        raise Invalid(f"metadata.partSize: at least {MIN_PART_BYTES}")
    return asked.part_size


def _claim(services: Services, token: Token) -> None:
    """Counts one upload. Raises TokenSpent, or NotFound where the token has gone meanwhile."""
    left = Attr("begun").lt(token.count) & Attr("expires").gt(services.now_ms())
    try:
        services.table.update(Update(_token_key(token.hash), left, add={"begun": 1}))
    except ConditionFailed as failed:
        if failed.item is None or failed.item["expires"] <= services.now_ms():
            raise NotFound from failed
        raise TokenSpent(token.count) from failed


def _begun(services: Services, token: Token, upload: Multipart) -> Begun:
    """Raises NotFound for what this token did not begin."""
    owner = parse_upload_key(upload.key)
    row = services.table.get(Key(f"TOKEN#{token.hash}", _begun_name(upload.key))) if owner else None
    if owner is None or owner[0] != token.account or row is None or row["s3_id"] != upload.s3_id:
        raise NotFound
    return Begun.model_validate(row)


def _new_key(services: Services, token: Token, asked: Asked) -> str:
    return upload_key(token.account, uploads.upload_id(uploads.new_name(services, asked.name)))


def _link_seconds(services: Services, token: Token) -> int:
    """A link does not outlive the token."""
    left = (token.expires - services.now_ms()) // SECONDS
    return max(1, min(services.settings.upload_ttl_seconds, left))


def _token_key(token_hash: str) -> Key:
    return Key(f"TOKEN#{token_hash}", "TOKEN")


def _begun_name(key: str) -> str:
    return f"BEGUN#{key.rpartition('/')[2]}"


def _row(token: Token, sk: str) -> Item:
    """What a row of a token's needs to be found, and to be deleted when the token has expired."""
    return Key(f"TOKEN#{token.hash}", sk).as_item() | {
        "due_pk": f"EXPIRES#{due_shard(token.hash)}",
        "due_ms": token.expires,
        "ttl": (token.expires + DAYS) // SECONDS,
    }
