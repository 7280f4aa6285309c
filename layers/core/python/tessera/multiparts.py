"""Uploads in parts, while they are under way: links for each part, which of them S3 has, and giving up.

    ACCOUNT#<id> | PARTS#<upload>    S3's id of the multipart upload, and the size that was declared

The row lives as long as the upload's links. It binds S3's id to the account and gives each part its length, for which
its link is signed: no set of links lets anybody store more than was declared. Completing
needs no row (`uploads.complete`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict

from tessera.errors import Invalid, NotFound
from tessera.settings import SECONDS
from tessera.storage import MAX_PARTS, MIN_PART_BYTES, StoredPart, parse_upload_key, upload_key
from tessera.table import ConditionFailed, Key, Put, Update, due_shard

if TYPE_CHECKING:
    from tessera.services import Services

PART_BYTES = 8 * 1024 * 1024
MAX_LISTED = 100  # part numbers of one request


@dataclass(frozen=True)
class PartLink:
    number: int
    url: str


@dataclass(frozen=True)
class Multipart:
    upload_id: str
    key: str
    part_bytes: int
    parts: tuple[PartLink, ...]


class Begun(BaseModel):
    """`s3_id` is what callers know as the uploadId. `expires` in ms: no link is signed for longer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    s3_id: str
    size: int
    expires: int
    aborted: bool = False


def begin(services: Services, account: str, upload: str, size: int) -> str:
    """Begins one at S3 and remembers it; returns S3's id."""
    s3_id = services.storage.start_multipart(upload_key(account, upload))
    expires = services.now_ms() + services.settings.upload_ttl_ms
    ends = {"ttl": expires // SECONDS, "due_pk": f"EXPIRES#{due_shard(upload)}", "due_ms": expires}
    row = Begun(s3_id=s3_id, size=size, expires=expires).model_dump()
    services.table.put(Put(_row_key(account, upload).as_item() | row | ends))
    return s3_id


def links(services: Services, key: str, s3_id: str, size: int, seconds: int) -> Multipart:
    """Links for all parts of a file of `size` bytes."""
    part_bytes = max(PART_BYTES, MIN_PART_BYTES, -(-size // MAX_PARTS))
    parts = tuple(
        PartLink(n + 1, services.storage.presign_part(key, s3_id, n + 1, min(part_bytes, size - first), seconds))
        for n, first in enumerate(range(0, size, part_bytes))
    )
    return Multipart(s3_id, key, part_bytes, parts)


def sign(
    services: Services, account: str, s3_id: str, key: str, numbers: Sequence[int]
) -> tuple[tuple[PartLink, ...], int]:
    """Fresh links for these parts, and when they end (ms). Raises NotFound, and Invalid for a part that is none."""
    begun = _find(services, account, s3_id, key)
    seconds = (begun.expires - services.now_ms()) // SECONDS
    all_links = {part.number: part for part in links(services, key, s3_id, begun.size, seconds).parts}
    if beyond := [number for number in numbers if number not in all_links]:
        raise Invalid(f"partNumbers: the file has {len(all_links)} parts, there is no {beyond[0]}")
    return tuple(all_links[number] for number in numbers), begun.expires


def stored(services: Services, account: str, s3_id: str, key: str) -> tuple[StoredPart, ...]:
    """The parts that S3 has. Raises NotFound, also for an upload that was completed."""
    _find(services, account, s3_id, key)
    parts = services.storage.list_parts(key, s3_id)
    if parts is None:
        raise NotFound
    return parts


def abort(services: Services, account: str, s3_id: str, key: str) -> None:
    """Frees the parts; one that was completed or aborted stays as it is. Raises NotFound."""
    _find(services, account, s3_id, key, aborted=True)
    services.storage.abort_multipart(key, s3_id)
    try:
        services.table.update(Update(_row_of(key, account), Attr("pk").exists(), set={"aborted": True}))
    except ConditionFailed:  # expired and swept since it was read
        return


def _find(services: Services, account: str, s3_id: str, key: str, aborted: bool = False) -> Begun:
    """Raises NotFound, the same for a foreign upload, an unknown one and one whose time is over."""
    row = services.table.get(_row_of(key, account))
    begun = Begun.model_validate(row) if row else None
    if begun is None or begun.s3_id != s3_id or begun.expires - services.now_ms() < SECONDS:
        raise NotFound
    if begun.aborted and not aborted:
        raise NotFound
    return begun


def _row_of(key: str, account: str) -> Key:
    owner = parse_upload_key(key)
    if owner is None or owner[0] != account:
        raise NotFound
    return _row_key(*owner)


def _row_key(account: str, upload: str) -> Key:
    return Key(f"ACCOUNT#{account}", f"PARTS#{upload}")
