"""The bucket: its key layout, pre-signed links, and the few object calls that functions make.

    uploads/<slot>/<account>/<upload>             what a caller sent; slot: when its link was issued, see uploads.py
    results/<task>/<account>/<nn>/<attempt>       what a worker made; its ObjectCreated event completes the file
    thumbnails/<task>/<account>/<nn>/<attempt>
    reports/<task>/<account>/<nn>/<attempt>.json  progress, then the outcome
    failures/<task>/<account>/<nn>/<attempt>.json its ObjectCreated event fails the attempt

Keys hold ids only; names of files live in rows. Pre-signing is local arithmetic and calls nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote

from botocore.exceptions import ClientError

from tessera import ids

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DELETE_BATCH = 1000  # S3
MAX_PARTS = 10_000  # S3
MIN_PART_BYTES = 5 * 1024 * 1024  # S3, for every part but the last
STREAM_PART_BYTES = 8 * 1024 * 1024
MISSING = {"404", "NoSuchKey", "NotFound"}

UPLOADS = "uploads/"
UPLOAD_KEY = re.compile(UPLOADS + r"(?P<slot>[0-9a-f])/(?P<account>[0-9a-f]+)/(?P<upload>(?P=slot)[0-9a-f]+)")
ATTEMPT_KEY = re.compile(
    r"(?P<kind>results|failures|reports|thumbnails)/(?P<task>[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f-]{27})"
    r"/(?P<account>[0-9a-f]+)/(?P<nn>\d+)/(?P<attempt>\d+)(\.json)?"
)

Kind = Literal["results", "thumbnails", "reports", "failures"]


@dataclass(frozen=True)
class AttemptKey:
    """Names one attempt at one file of a task."""

    account: str
    task: int
    nn: int
    attempt: int

    def key(self, kind: Kind) -> str:
        """Begins with the task's UUID, whose first digits make four folders: clients of some services expect that."""
        suffix = ".json" if kind in ("reports", "failures") else ""
        head, _, tail = ids.to_uuid(self.task).partition("-")
        folders = "/".join(head[first : first + 2] for first in range(0, 8, 2))
        return f"{kind}/{folders}/{tail}/{self.account}/{self.nn:02d}/{self.attempt}{suffix}"

    @classmethod
    def parse(cls, key: str) -> tuple[str, AttemptKey] | None:
        """(kind, attempt), or None for a key of another layout."""
        match = ATTEMPT_KEY.fullmatch(key)
        task = ids.from_uuid(match["task"].replace("/", "", 3).replace("/", "-")) if match else None
        if match is None or task is None:
            return None
        return match["kind"], cls(match["account"], task, int(match["nn"]), int(match["attempt"]))


def upload_key(account: str, upload: str) -> str:
    return f"{UPLOADS}{upload[0]}/{account}/{upload}"


def parse_upload_key(key: str) -> tuple[str, str] | None:
    match = UPLOAD_KEY.fullmatch(key)
    return (match["account"], match["upload"]) if match else None


class Readable(Protocol):
    def read(self, amount: int) -> bytes:
        """So many bytes, fewer at the end alone."""


@dataclass(frozen=True)
class ObjectFacts:
    etag: str  # with its quotes
    size: int  # bytes
    modified_ms: int


@dataclass(frozen=True)
class Part:
    number: int
    etag: str


@dataclass(frozen=True)
class StoredPart:
    """A part that S3 has; its ETag with the quotes."""

    number: int
    etag: str
    size: int  # bytes


@dataclass(frozen=True)
class Form:
    """Where a browser POSTs a form, and its fields; the file comes last."""

    url: str
    fields: dict[str, str]


class Storage:
    def __init__(self, client: S3Client, bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    def presign_put(self, key: str, seconds: int, size: int | None = None) -> str:
        """A PUT of one object; with `size`, of exactly so many bytes: another Content-Length breaks the signature."""
        length = {} if size is None else {"ContentLength": size}
        return self._presign("put_object", seconds, Key=key, **length)

    def presign_part(self, key: str, upload_id: str, number: int, size: int | None, seconds: int) -> str:
        """A PUT of one part, of exactly `size` bytes where that is known."""
        length = {} if size is None else {"ContentLength": size}
        return self._presign("upload_part", seconds, Key=key, UploadId=upload_id, PartNumber=number, **length)

    def presign_form(self, key: str, seconds: int, largest: int) -> Form:
        """A POST of one object of 1 to `largest` bytes: a form, since only its policy can sign a range."""
        answer = self.client.generate_presigned_post(
            self.bucket, key, Conditions=[["content-length-range", 1, largest]], ExpiresIn=max(1, seconds)
        )
        return Form(answer["url"], answer["fields"])

    def address(self, key: str) -> str:
        """Names the object and opens nothing."""
        return self.presign_put(key, 1).partition("?")[0]

    def presign_get(self, key: str, seconds: int, content_type: str = "", file_name: str = "") -> str:
        """A GET. `file_name` is what a browser saves it as."""
        extra: dict[str, Any] = {}
        if content_type:
            extra["ResponseContentType"] = content_type
        if file_name:
            extra["ResponseContentDisposition"] = content_disposition(file_name)
        return self._presign("get_object", seconds, Key=key, **extra)

    def head(self, key: str) -> ObjectFacts | None:
        try:
            answer = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return None
            raise
        return ObjectFacts(answer["ETag"], answer["ContentLength"], _ms(answer["LastModified"]))

    def read_range(self, key: str, first: int, count: int) -> tuple[bytes, ObjectFacts] | None:
        """Bytes [first, first + count) as far as there are any, and the whole object's facts. None: no such object."""
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{first + count - 1}")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in MISSING:
                return None
            if code == "InvalidRange":  # an empty object, or a header that points past the end
                facts = self.head(key)
                return (b"", facts) if facts else None
            raise
        total = int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else answer["ContentLength"]
        return answer["Body"].read(), ObjectFacts(answer["ETag"], total, _ms(answer["LastModified"]))

    def reader(self, key: str) -> Callable[[int, int], bytes]:
        """(first, count) -> the bytes of an object there; none where it ends, or is gone."""

        def read(first: int, count: int) -> bytes:
            got = self.read_range(key, first, count)
            return got[0] if got else b""

        return read

    def read(self, key: str) -> bytes | None:
        """A small object whole. None: no such object."""
        try:
            return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return None
            raise

    def write(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def write_stream(self, key: str, body: Readable) -> None:
        """Writes what `body` gives, in parts where it is long: one of them is held at a time, and what breaks off
        leaves none behind. What `body` raises flies."""
        piece = body.read(STREAM_PART_BYTES)
        if len(piece) < STREAM_PART_BYTES:
            self.write(key, piece)
            return
        upload_id = self.start_multipart(key)
        parts: list[Part] = []
        try:
            while piece:
                parts.append(self._write_part(key, upload_id, len(parts) + 1, piece))
                piece = body.read(STREAM_PART_BYTES)
            self.complete_multipart(key, upload_id, parts)
        except Exception:
            self.abort_multipart(key, upload_id)
            raise

    def _write_part(self, key: str, upload_id: str, number: int, body: bytes) -> Part:
        answer = self.client.upload_part(Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body)
        return Part(number, answer["ETag"])

    def copy(self, source: str, target: str) -> bool:
        """Within the bucket, without a byte passing through here. False: no such object."""
        origin: Any = {"Bucket": self.bucket, "Key": source}
        try:
            self.client.copy_object(Bucket=self.bucket, Key=target, CopySource=origin)
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return False
            raise
        return True

    def start_multipart(self, key: str) -> str:
        return self.client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]

    def complete_multipart(self, key: str, upload_id: str, parts: Iterable[Part]) -> None:
        self.client.complete_multipart_upload(
            Bucket=self.bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
        )

    def list_parts(self, key: str, upload_id: str) -> tuple[StoredPart, ...] | None:
        """In the order of their numbers. None: there is no such upload, or it has been completed or aborted."""
        parts: list[StoredPart] = []
        try:
            for page in self.client.get_paginator("list_parts").paginate(
                Bucket=self.bucket, Key=key, UploadId=upload_id
            ):
                parts += (StoredPart(part["PartNumber"], part["ETag"], part["Size"]) for part in page.get("Parts", ()))
        except self.client.exceptions.NoSuchUpload:
            return None
        return tuple(parts)

    def abort_multipart(self, key: str, upload_id: str) -> bool:
        """False: there is no such upload, or it has been completed or aborted."""
        try:
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except self.client.exceptions.NoSuchUpload:
            return False
        return True

    def delete_many(self, keys: Iterable[str]) -> None:
        """Objects that are gone already are no error; one that cannot be deleted raises."""
        pending = list(keys)
        for first in range(0, len(pending), DELETE_BATCH):
            answer = self.client.delete_objects(
                Bucket=self.bucket,
                Delete={"Objects": [{"Key": key} for key in pending[first : first + DELETE_BATCH]], "Quiet": True},
            )
            if answer.get("Errors"):
                raise OSError(f"S3 kept {len(answer['Errors'])} objects, the first: {answer['Errors'][0]}")

    def folders(self, prefix: str) -> Iterator[str]:
        """The names below a prefix, each with its "/"; what is in them is not counted in calls."""
        paginator = self.client.get_paginator("list_objects_v2")
        for page in paginator.paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/"):
            yield from (entry["Prefix"].removeprefix(prefix) for entry in page.get("CommonPrefixes", ()))

    def modified(self, prefix: str) -> Iterator[tuple[str, int]]:
        """All objects below a prefix: key, and when it was written (ms). One AWS call for a thousand."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from ((entry["Key"], _ms(entry["LastModified"])) for entry in page.get("Contents", ()))

    def abort_multiparts(self, started_before_ms: int) -> int:
        """Frees the parts of uploads that nobody completed; returns how many."""
        aborted = 0
        paginator = self.client.get_paginator("list_multipart_uploads")
        for page in paginator.paginate(Bucket=self.bucket, Prefix=UPLOADS):
            for upload in page.get("Uploads", ()):
                if _ms(upload["Initiated"]) < started_before_ms:
                    aborted += self.abort_multipart(upload["Key"], upload["UploadId"])
        return aborted

    def _presign(self, operation: str, seconds: int, **parameters: Any) -> str:
        return self.client.generate_presigned_url(
            operation, Params={"Bucket": self.bucket, **parameters}, ExpiresIn=max(1, seconds)
        )


def content_disposition(file_name: str) -> str:
    """RFC 6266: an ASCII fallback beside the real name. Both are part of a link, so `file_name` should be short."""
    fallback = re.sub(r'[^\x20-\x7e]|["\\%]', "_", file_name)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
