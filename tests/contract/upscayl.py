"""A caller of Upscayl's dialect whose every answer is held against the vendor's document."""

from __future__ import annotations

import json
import uuid
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.contract import reference
from tests.contract.contract import Contract
from tests.world import World, png

DOCUMENT = Path(__file__).parent / "upscayl.openapi.yaml"
OBSERVED_WORDS = ("PENDING", "ENHANCING", "PROCESSED", "PROCESSING_FAILED")
DOCUMENTED = Contract.load(DOCUMENT)
OBSERVED = Contract.load(DOCUMENT, {"TaskState": OBSERVED_WORDS})

UPLOAD, COMPLETE, START, STATUS, HISTORY = (
    "/get-upload-url",
    "/complete-multipart-upload",
    "/start-task",
    "/get-task-status",
    "/get-upscayl-history",
)
ROUTES = (UPLOAD, COMPLETE, START, STATUS, HISTORY)
MODELS: tuple[str, ...] = tuple(DOCUMENTED.document["components"]["schemas"]["Model"]["enum"])

Body = dict[str, Any]

UNAUTHORIZED = {"error": "UNAUTHORIZED", "message": "Invalid or missing API key"}
BAD_REQUEST = {"error": "BAD_REQUEST", "message": "Invalid request parameters provided"}
NOT_FOUND = {"error": "NOT_FOUND", "message": "Requested resource could not be found"}
NO_CREDITS = {"error": "INSUFFICIENT_CREDITS", "message": "Not enough credits to process request"}
TOO_MANY = {"error": "RATE_LIMIT_EXCEEDED", "message": "Too many requests. Try again in 1 hour"}
BROKEN = {"error": "INTERNAL_SERVER_ERROR", "message": "An unexpected error occurred"}
COMPLETE_BAD_REQUEST = {"error": "BAD_REQUEST", "message": "Bad Request: Missing required parameters"}
COMPLETE_BROKEN = {"error": "INTERNAL_SERVER_ERROR", "message": "Error completing multipart upload"}


@dataclass(frozen=True)
class Part:
    """One part of a form. With a `file_name` it is a file to the receiver."""

    name: str
    body: bytes
    file_name: str | None = None
    content_type: str | None = None

    @classmethod
    def text(cls, name: str, text: str) -> Part:
        return cls(name, text.encode())

    @classmethod
    def json(cls, name: str, value: Any, file_name: str | None = None) -> Part:
        return cls(name, json.dumps(value).encode(), file_name, "application/json")

    @classmethod
    def file(cls, body: bytes, name: str = "file", file_name: str = "photo.png") -> Part:
        return cls(name, body, file_name, "image/png")


def form(*parts: Part) -> tuple[bytes, str]:
    """(body, content type) of multipart/form-data."""
    boundary = "----formboundary7MA4YWxkTrZu0gW"
    lines: list[bytes] = []
    for part in parts:
        saved = "" if part.file_name is None else f'; filename="{part.file_name}"'
        lines += [f"--{boundary}".encode(), f'Content-Disposition: form-data; name="{part.name}"{saved}'.encode()]
        lines += [] if part.content_type is None else [f"Content-Type: {part.content_type}".encode()]
        lines += [b"", part.body]
    return b"\r\n".join([*lines, f"--{boundary}--".encode(), b""]), f"multipart/form-data; boundary={boundary}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    raw: str
    body: Body


@dataclass
class Api:
    world: World
    key: str | None

    # ------------------------------------------------------------ sending

    def send(self, route: str, raw: bytes, content_type: str = "application/json", enveloped: bool = False) -> Answer:
        """Any bytes to a route; the answer has been checked against the document."""
        return checked(route, self.world.request(route, raw, {"content-type": content_type}, self.key), enveloped)

    def ask(self, route: str, body: Any) -> Answer:
        enveloped = isinstance(body, dict) and isinstance(body.get("data"), dict)
        return self.send(route, json.dumps(body).encode(), enveloped=enveloped)

    def post(self, route: str, body: Any, status: int = 200) -> Body:
        answer = self.ask(route, body)
        assert answer.status == status, answer.raw
        return answer.body

    def form(self, *parts: Part, status: int = 200) -> Body:
        """A form to start-task."""
        raw, content_type = form(*parts)
        answer = self.send(START, raw, content_type)
        assert answer.status == status, answer.raw
        return answer.body

    # ------------------------------------------------------------ the walk

    def ticket(self, **fields: Any) -> Body:
        body = {"originalFileName": "photo.png", "fileType": "image/png", "fileSize": 64} | fields
        data: Body = self.post(UPLOAD, body)["data"]
        return data

    def upload(self, body: bytes | None = None, event: bool = True, **fields: Any) -> Body:
        """An uploaded file, as start-task wants it listed."""
        body = png() if body is None else body
        ticket = self.ticket(**{"fileSize": len(body), **fields})
        key = self.world.put(ticket["uploadURL"], body)
        if event:
            self.world.upload_event(key)
        return {name: ticket[name] for name in ("fileName", "fileType", "fileSize")}

    def start(self, *files: Body, **fields: Any) -> str:
        return str(self.post(START, {"files": list(files), **fields})["data"]["taskId"])

    def status(self, task: str) -> Body:
        data: Body = self.post(STATUS, {"taskId": task})["data"]
        return data

    def observed_status(self, task: str) -> Body:
        data: Body = self.post(STATUS, {"data": {"taskId": task}})["data"]
        return data

    def history(self, **fields: Any) -> list[Body]:
        data: list[Body] = self.post(HISTORY, fields)["data"]
        return data

    def total(self) -> int:
        return int(self.post(HISTORY, {})["pagination"]["total"])

    def pages(self, limit: int, **fields: Any) -> list[list[str]]:
        """The ids of all tasks by page, walked as the document says: by nextOffset while hasMore."""
        pages: list[list[str]] = []
        more = dict(fields)
        while True:
            answer = self.post(HISTORY, {"limit": limit, **more})
            pages.append([task["taskId"] for task in answer["data"]])
            if not answer["pagination"]["hasMore"]:
                return pages
            assert len(pages) < 200, "the walk never ends"
            more["timestampOffset"] = answer["pagination"]["nextOffset"]

    @property
    def balance(self) -> int:
        assert self.key is not None
        return self.world.balance(self.key)

    def deliver_uploads(self) -> None:
        """S3's events of everything that lies under uploads/."""
        storage = self.world.services.storage
        listed = storage.client.list_objects_v2(Bucket=storage.bucket, Prefix="uploads/")
        for entry in listed.get("Contents", ()):
            self.world.upload_event(entry["Key"])

    def run(self) -> None:
        """All that is outstanding, until every task has ended."""
        self.deliver_uploads()
        self.world.run()

    def download(self, link: str) -> bytes:
        """The object behind a link. Expiry and signature are checked by the guarded storage only."""
        body = self.world.services.storage.read(unquote(urlsplit(link).path).lstrip("/"))
        assert body is not None, f"nothing lies behind {link}"
        return body


def checked(route: str, answer: dict[str, Any], enveloped: bool = False) -> Answer:
    """Lambda's answer, after the document has been asked."""
    raw = b64decode(answer["body"]).decode() if answer["isBase64Encoded"] else answer["body"]
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert headers["content-type"] == "application/json"
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    body = json.loads(raw)
    (OBSERVED if enveloped else DOCUMENTED).check(route, answer["statusCode"], body)
    reference.check(route, "POST", answer["statusCode"], body)
    return Answer(answer["statusCode"], headers, raw, body)


def task_rows(world: World) -> list[Body]:
    """Rows of tasks and their files, of all accounts."""
    rows: list[Body] = world.services.table.client.scan(TableName=world.services.table.name)["Items"]
    return [row for row in rows if row["pk"]["S"].startswith("TASK#")]


def signed(link: str) -> dict[str, str]:
    """The query of a pre-signed link, names in lower case."""
    return {name.lower(): values[0] for name, values in parse_qs(urlsplit(link).query).items()}


def is_uuid4(text: str) -> bool:
    return str(uuid.UUID(text)) == text and uuid.UUID(text).version == 4
