"""A client of SupaRes, as the vendor's document has it: Basic or Bearer auth, Image Upload, Image Fetch, results."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from tessera_engine import worker
from tessera_engine.transfer import Storage

from tests.contract.upscayl import Part, form
from tests.world import World, key_of

BASE = "/supares/1.0"
ACCOUNT, UPLOAD, FETCH = f"{BASE}/account", f"{BASE}/upload", f"{BASE}/fetch"
URL = "https://pictures.example/photo.png"


@dataclass(frozen=True)
class Answer:
    """`headers` by their lower-case names."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def id(self) -> str:
        return str(self.body["id"])


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def bearer(key: str) -> str:
    return f"Bearer {key}"


@dataclass(frozen=True)
class Api:
    """`more`: headers of every call."""

    world: World
    key: str
    authorization: str = ""
    more: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, world: World, key: str | None = None, **account: Any) -> Api:
        key = world.account(**account) if key is None else key
        return cls(world, key, basic(key))

    def saying(self, **headers: str) -> Api:
        return replace(self, more=tuple((name.replace("_", "-"), value) for name, value in headers.items()))

    def call(self, method: str, path: str, raw: bytes = b"", kind: str = "application/json") -> Answer:
        sent = {"authorization": self.authorization} if self.authorization else {}
        answer = self.world.request(path, raw, {**sent, "content-type": kind, **dict(self.more)}, method=method)
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        assert headers["content-type"] == "application/json"
        body = json.loads(answer["body"])
        assert body["code"] == answer["statusCode"]
        assert body["success"] is (body["code"] < 400)
        return Answer(answer["statusCode"], body, headers)

    def account(self) -> Answer:
        return self.call("GET", ACCOUNT)

    def fetch(self, url: Any = URL, **steps: Any) -> Answer:
        return self.call("POST", FETCH, json.dumps({"url": url, **steps}).encode())

    def upload(self, image: bytes, name: str = "photo.png", **steps: Any) -> Answer:
        return self.form(Part("data", json.dumps(steps).encode()), Part("file", image, name))

    def form(self, *parts: Part) -> Answer:
        raw, kind = form(*parts)
        return self.call("POST", UPLOAD, raw, kind)

    def results(self, number: str) -> Answer:
        return self.call("GET", f"{BASE}/results/{number}")


class InWorld(Storage):
    """The real worker's storage: the world's bucket."""

    bucket: Any

    def __init__(self, world: World) -> None:
        super().__init__()
        object.__setattr__(self, "bucket", world.services.storage)  # the class is frozen

    def read(self, url: str, etag: str) -> bytes:
        body = self.bucket.read(key_of(url))
        assert body is not None
        return body

    def write(self, url: str, body: bytes | BinaryIO, content_type: str) -> None:
        content = body if isinstance(body, bytes) else (body.seek(0), body.read())[1]
        self.bucket.write(key_of(url), content)

    def try_write(self, url: str, body: bytes, content_type: str) -> None:
        self.write(url, body, content_type)


def engine(world: World) -> None:
    """What is queued, carried out by the real engine."""
    for job in world.dispatch_all():
        outcome = worker.run(job, storage=InWorld(world), clock=lambda: world.clock() / 1000)
        world.result_event(key_of(job.result_url if outcome.status == "done" else job.failure_url))
