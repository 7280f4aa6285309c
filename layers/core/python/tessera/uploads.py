"""Uploads: links to write one object each, and the row that says what arrived.

Issuing is arithmetic: the name that a caller gets back holds 28 random bits, the object's id is a digest of it, and the
link is signed for one key and one length. A row appears with the first proof that the object is there.

Names and ids begin with the slot in which the link was issued, one of 16 that take turns, and so do keys: cleanup finds
an object whose event never came, and which has no row, in a folder whose turn is over.

    -                -> uploaded   the S3 event: header probed
    -                -> rejected   the S3 event: not a picture, or too large a one
    -                -> seen       start-task was faster than the event and asked S3 itself
    -                -> fetching   a task names a picture by its URL: `url`, and no ETag yet
    fetching         -> uploaded, rejected   the event of what was fetched: its ETag is pinned
    fetching         -> rejected   it cannot be fetched (`sources`)
    seen             -> uploaded, rejected   the event comes after all; the files that wait are sent or failed
    uploaded         -> uploaded   overwritten before a task used it: the newer bytes count
    any              -> gone       cleanup, after `expires`; its owner, once no task uses it

Once `used` by a task the ETag does not change any more: other bytes are refused by the worker's If-Match.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict

from tessera import images, multiparts
from tessera.dispatch import FileRef
from tessera.errors import FileTooLarge, Invalid, MissingFields, UnsupportedType, UploadIncomplete
from tessera.idempotency import Once
from tessera.recipe import SourceFormat
from tessera.settings import DAYS, MINUTES, SECONDS, Settings
from tessera.storage import ObjectFacts, Part, parse_upload_key, upload_key
from tessera.table import ConditionFailed, Key, Update, due_shard

if TYPE_CHECKING:
    from tessera.services import Services

ACCEPTED_TYPES = ("image/jpeg", "image/png", "image/webp")
MAX_BYTES = 100 * 1024 * 1024
MAX_NAME = 255  # characters
SLOTS = 16  # one hex digit
SHORTEST_SLOT = 15 * MINUTES
UNFIT = re.compile(r"[/\\\x00-\x1f\x7f]")  # in a file name
NAME_FORM = re.compile(r"[0-9a-f]{8}-(?P<original>.+)", re.DOTALL)
INCOMPLETE = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"}  # S3


@dataclass(frozen=True)
class Ticket:
    """What a caller needs to send one file. Times in ms."""

    name: str
    original: str
    content_type: str
    size: int
    url: str
    created: int
    expires: int
    multipart: multiparts.Multipart | None


class Upload(BaseModel):
    """`wanted` holds the files ("<task>#<nn>") that were started before the event came.

    Of one that is fetched: `url`, how many `tries` were begun, and until when the latest one has it (`lease`, ms).
    `format` is what the bytes say, whether or not a task takes it; None while nobody has looked, and where they say
    nothing. `reason`: why no task can use it, empty where that is the format's fault.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: Literal["seen", "fetching", "uploaded", "rejected"]
    etag: str = ""
    size: int = 0
    expires: int
    format: SourceFormat | None = None
    pixels: int | None = None
    reason: str = ""
    wanted: frozenset[str] = frozenset()
    url: str = ""
    tries: int = 0
    lease: int = 0

    def refusal(self, formats: Sequence[SourceFormat]) -> str:
        """Why a task that takes these formats cannot use it; empty where nothing speaks against it."""
        if self.format is not None and self.format not in formats:
            return images.unsupported(formats)
        if self.state == "rejected":
            return self.reason or images.unsupported(formats)
        return ""

    def waiting(self) -> tuple[FileRef, ...]:
        pairs = (ref.split("#") for ref in sorted(self.wanted))
        return tuple(FileRef(task=int(task), nn=int(nn)) for task, nn in pairs)


def upload_id(name: str) -> str:
    """The id of the object that belongs to a name handed out here."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return name[0] + digest[1:] if NAME_FORM.fullmatch(name) else digest


def original_of(name: str) -> str | None:
    """The caller's own name of a file, None for a name that was not handed out here."""
    match = NAME_FORM.fullmatch(name)
    return match["original"] if match else None


def new_name(services: Services, original: str) -> str:
    """Slot, seven random hex digits and the original name, as f7d9a2b4-vacation-photo.jpeg; fit for a file anywhere."""
    slot = services.now_ms() // _slot_ms(services.settings) % SLOTS
    return f"{slot:x}{secrets.token_hex(4)[1:]}-{UNFIT.sub('_', original)}"


def slots_over(services: Services, before_ms: int) -> frozenset[str]:
    """The slots whose latest turn had ended at that moment: all links of theirs were issued before it."""
    length = _slot_ms(services.settings)
    current = services.now_ms() // length
    turns = range(current - SLOTS + 1, current + 1)
    return frozenset(f"{turn % SLOTS:x}" for turn in turns if (turn + 1) * length <= before_ms)


def _slot_ms(settings: Settings) -> int:
    """A turn of all slots is at least four times the life of a link."""
    return max(SHORTEST_SLOT, settings.upload_ttl_ms // 4)


def row_key(account: str, upload: str) -> Key:
    return Key(f"ACCOUNT#{account}", f"UPLOAD#{upload}")


def check(original: str, content_type: str, size: int) -> None:
    """Raises MissingFields, Invalid, UnsupportedType or FileTooLarge."""
    if not original:
        raise MissingFields("originalFileName")
    if len(original) > MAX_NAME:
        raise Invalid(f"originalFileName is longer than {MAX_NAME} characters")
    if content_type not in ACCEPTED_TYPES:
        raise UnsupportedType
    if size < 1:
        raise Invalid("fileSize must be at least 1")
    if size > MAX_BYTES:
        raise FileTooLarge(MAX_BYTES)


def issue(
    services: Services,
    account: str,
    original: str,
    content_type: str,
    size: int,
    parts: bool | None,
    once: Once | None = None,
) -> Ticket:
    """A link that writes one object of exactly `size` bytes; with `parts`, or above the threshold, part links too.

    No AWS call, two with parts (CreateMultipartUpload, and a row that remembers the size). With `once`, a repeat names
    the same object, and the same multipart upload, with links signed afresh.

    Raises as `check` does, and IdempotencyConflict.
    """
    check(original, content_type, size)
    in_parts = size > services.settings.part_threshold_bytes if parts is None else parts
    name, s3_id = _name(services, account, original, size if in_parts else 0, once)
    key = upload_key(account, upload_id(name))
    seconds = services.settings.upload_ttl_seconds
    created = services.now_ms()
    return Ticket(
        name=name,
        original=original,
        content_type=content_type,
        size=size,
        url=services.storage.presign_put(key, seconds, size),
        created=created,
        expires=created + seconds * SECONDS,
        multipart=multiparts.links(services, key, s3_id, size, seconds) if s3_id else None,
    )


def _name(services: Services, account: str, original: str, in_parts: int, once: Once | None) -> tuple[str, str]:
    """A name, and the id of a multipart upload of so many bytes, none for 0: new, or those that `once` has seen."""
    if once and (first := once.recall(services.table.get(once.key), services.now_ms())):
        return first["name"], first["s3_id"]
    name = new_name(services, original)
    s3_id = multiparts.begin(services, account, upload_id(name), in_parts) if in_parts else ""
    if once:
        try:
            services.table.update(once.claim(services.now_ms(), name=name, s3_id=s3_id))
        except ConditionFailed as failed:  # a twin of this request was faster; cleanup aborts what was begun here
            if first := once.recall(failed.item, services.now_ms()):
                return first["name"], first["s3_id"]
            raise
    return name, s3_id


def complete(services: Services, account: str, s3_id: str, key: str, parts: tuple[Part, ...]) -> None:
    """Makes one object of the parts. Raises UploadIncomplete, alike for a foreign key and an unknown id."""
    numbers = [part.number for part in parts]
    if len(set(numbers)) != len(numbers):
        raise UploadIncomplete("a PartNumber is given twice")
    owner = parse_upload_key(key)
    if owner is None or owner[0] != account:
        raise UploadIncomplete("unknown key or uploadId")
    try:
        services.storage.complete_multipart(key, s3_id, sorted(parts, key=lambda part: part.number))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchUpload":
            if services.storage.head(key) is not None:
                return  # completed by a call whose answer was lost
            raise UploadIncomplete("unknown key or uploadId") from error
        if code in INCOMPLETE:
            raise UploadIncomplete(f"the parts do not fit together ({code})") from error
        raise


def store(services: Services, account: str, original: str, body: bytes) -> str:
    """Writes a file that came inside a request; returns its name. From there on it is an upload like any other."""
    name = new_name(services, original[-MAX_NAME:] or "upload")  # the end, which has the suffix
    services.storage.write(upload_key(account, upload_id(name)), body)
    return name


def usable(now_ms: int, max_pixels: int, formats: Sequence[SourceFormat]) -> ConditionBase:
    """True on the row of an upload that a task may use without asking S3 first."""
    fits = Attr("pixels").lte(max_pixels) & Attr("format").is_in(list(formats))
    return Attr("state").eq("uploaded") & Attr("expires").gt(now_ms) & fits


def use(
    services: Services, account: str, upload: str, now_ms: int, max_pixels: int, formats: Sequence[SourceFormat]
) -> Update:
    """Marks an uploaded picture as used by a task, and keeps it until no task can need it."""
    hold = now_ms + services.settings.upload_hold_ms
    used = {"used": True, "expires": hold, "due_ms": hold, "ttl": _ttl(hold)}
    return Update(row_key(account, upload), usable(now_ms, max_pixels, formats), set=used, add={"uses": 1})


def use_seen(services: Services, account: str, upload: str, facts: ObjectFacts, now_ms: int, ref: FileRef) -> Update:
    """The same for one whose event has not come yet: pins its ETag and says which file waits."""
    hold = now_ms + services.settings.upload_hold_ms
    return Update(
        row_key(account, upload),
        Attr("state").not_exists() | Attr("state").eq("seen"),
        set={
            "state": "seen",
            "used": True,
            "expires": hold,
            "due_pk": _due_pk(upload),
            "due_ms": hold,
            "ttl": _ttl(hold),
        },
        set_once={"etag": facts.etag, "size": facts.size},
        add={"wanted": {f"{ref.task}#{ref.nn}"}, "uses": 1},
    )


def use_fetched(services: Services, account: str, upload: str, url: str, now_ms: int, ref: FileRef) -> Update:
    """The same for a picture that is still to be fetched, for this one file."""
    hold = now_ms + services.settings.upload_hold_ms
    return Update(
        row_key(account, upload),
        Attr("pk").not_exists(),
        set={
            "state": "fetching",
            "url": url,
            "tries": 0,
            "lease": 0,
            "used": True,
            "expires": hold,
            "due_pk": _due_pk(upload),
            "due_ms": hold,
            "ttl": _ttl(hold),
            "created": now_ms,
        },
        add={"wanted": {f"{ref.task}#{ref.nn}"}, "uses": 1},
    )


def release(account: str, upload: str) -> Update:
    """A file less that uses it."""
    return Update(row_key(account, upload), Attr("pk").exists(), add={"uses": -1})


def delete_unused(services: Services, account: str, upload: str) -> None:
    """Deletes one that no file uses. From the first write on no start accepts it; cleanup finishes what is cut here."""
    key, now_ms = row_key(account, upload), services.now_ms()
    unused = Attr("pk").exists() & (Attr("uses").not_exists() | Attr("uses").lte(0))
    try:
        services.table.update(Update(key, unused, set={"expires": now_ms, "due_pk": _due_pk(upload), "due_ms": now_ms}))
    except ConditionFailed:
        return
    services.storage.delete_many([upload_key(account, upload)])
    services.table.delete_many([key])


def find(services: Services, account: str, upload: str) -> Upload | None:
    row = services.table.get(row_key(account, upload))
    return Upload.model_validate(row) if row else None


def arrived(services: Services, account: str, upload: str) -> Upload | None:
    """An S3 event: probes the object as it is now and records it.

    None where there is nothing to record: the object is gone, or it is not the one that a task has accepted.
    """
    storage, key = services.storage, upload_key(account, upload)
    got = storage.read_range(key, 0, images.HEAD_BYTES)
    if got is None:
        return None
    head, facts = got

    now_ms = services.now_ms()
    expires = now_ms + services.settings.upload_ttl_ms
    record = Update(
        row_key(account, upload),
        Attr("used").not_exists() | Attr("etag").eq(facts.etag) | Attr("state").eq("fetching"),
        set={"etag": facts.etag, "size": facts.size, "due_pk": _due_pk(upload)}
        | _probed(services, head, storage.reader(key)),
        # An upload that a task holds already keeps its longer life.
        set_once={"expires": expires, "due_ms": expires, "ttl": _ttl(expires), "created": now_ms},
    )
    try:
        return Upload.model_validate(services.table.update(record))
    except ConditionFailed:
        return None


def _probed(services: Services, head: bytes, read: images.ReadRange) -> dict[str, object]:
    limit = services.settings.max_input_pixels
    kind = images.recognised(head)
    if kind is None:
        return {"state": "rejected"}
    try:
        header = images.probe(head, read)
        if header.pixels > limit:
            raise images.NotAPicture(f"{header.width} x {header.height} pixels are more than the {limit:,} allowed")
    except images.NotAPicture as refused:
        return {"state": "rejected", "format": kind, "reason": refused.reason}
    return {"state": "uploaded", "format": kind, "pixels": header.pixels}


def _ttl(expires_ms: int) -> int:
    """Seconds: DynamoDB's own deletion, the net below cleanup as the lifecycle rules are for objects."""
    return (expires_ms + DAYS) // SECONDS


def _due_pk(upload: str) -> str:
    return f"EXPIRES#{due_shard(upload)}"
