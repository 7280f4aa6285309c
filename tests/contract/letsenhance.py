"""A caller of Let's Enhance's dialect, and what its document shows of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image
from tessera import accounts, tasks, usage

from tests.served import Answer as Served
from tests.world import World, encoded, key_of

Body = dict[str, Any]

PIPELINE = "/v1/pipeline"
USAGE = "/v1/me/usage/"
# a JSON object of the document, without its address
MARKETPLACE: Body = {
    "op": "preset/marketplace",
    "width": 1800,
    "height": 1200,
    "restoration_level": 4,
    "lightai_intensity": 1.0,
    "toneai_intensity": 0.5,
    "image_format": "JPEG",
    "quality": 75,
}
REALESTATE: Body = MARKETPLACE | {"op": "preset/realestate", "width": 1600, "height": 900}
PRINT: Body = {
    "op": "preset/print",
    "width": 1600,
    "height": 1065,
    "restoration_level": 2,
    "lightai_intensity": 1.0,
    "toneai_intensity": 0.5,
    "dpi": 300,
    "image_format": "JPEG",
    "quality": 85,
}
SAMPLES = {sample["op"]: sample for sample in (MARKETPLACE, REALESTATE, PRINT)}

PIPELINE_NAMES = {
    *("id", "sink", "error", "errors", "source", "status", "results", "notify_url", "operations"),
    *("started_at", "finished_at", "submitted_at"),
}
PICTURE_NAMES = {
    *("ext", "mps", "url", "mime", "size", "width", "format", "height", "s3_key", "tmp_url", "basename", "filename"),
    *("interpret", "s3_bucket", "s3_key_prefix"),
}
ALIASES = {"temp_url"}  # ours, beside the document's names
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Body
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        """Of a refusal, which says nothing else."""
        assert set(self.body) == {"status", "reason"} and self.body["status"] == "REJECTED", self.body
        return str(self.body["reason"])


@dataclass
class Pictures:
    """What the server that pictures are fetched from has, by path; `url` is its address."""

    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=lambda: {"/burger.jpg": photo()})

    def answer(self, path: str) -> Served:
        body = self.bodies.get(path)
        return Served(404) if body is None else Served.of(body)


@dataclass
class Api:
    world: World
    pictures: Pictures
    key: str | None

    # ------------------------------------------------------------ sending

    def send(self, method: str, path: str, raw: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        sent = {"content-type": "application/json"} | dict(headers or {})
        answer = self.world.request(path, raw, sent, self.key, method)
        assert answer["headers"]["Content-Type"] == "application/json"
        return Answer(answer["statusCode"], json.loads(answer["body"]), answer["headers"])

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def wish(self, *paths: str, **changes: Any) -> Body:
        """The document's request, with these differences."""
        urls = [f"{self.pictures.url}{path}" for path in paths or ("/burger.jpg",)]
        body = {
            "source": {"http": {"url": urls if len(urls) > 1 else urls[0]}},
            "operations": [MARKETPLACE],
            "sink": {"temp_store": True},
        }
        return {name: value for name, value in (body | changes).items() if value is not ...}

    def post(self, body: Any, path: str = PIPELINE) -> Answer:
        return self.send("POST", path, json.dumps(body).encode())

    def submit(self, *paths: str, **changes: Any) -> int:
        """The id of an accepted pipeline."""
        answer = self.post(self.wish(*paths, **changes))
        assert (answer.status, answer.body["status"]) == (200, "ACCEPTED"), answer.body
        return int(answer.body["pipeline"]["id"])

    def operation(self, **changes: Any) -> Answer:
        """The answer to a request whose operation has these differences; `...` leaves a field out."""
        operation = {name: value for name, value in (MARKETPLACE | changes).items() if value is not ...}
        return self.post(self.wish(operations=[operation]))

    # ------------------------------------------------------------ reading

    def shown(self, number: int) -> Body:
        """A whole GET answer, which has been checked for all names of the document."""
        answer = self.get(f"{PIPELINE}/{number}")
        assert answer.status == 200, answer.body
        checked(answer.body)
        return answer.body

    def pipeline(self, number: int) -> Body:
        pipeline: Body = self.shown(number)["pipeline"]
        return pipeline

    def done(self, *paths: str, **changes: Any) -> Body:
        """A pipeline that has come to its end."""
        number = self.submit(*paths, **changes)
        self.world.run()
        return self.pipeline(number)

    def result(self, *paths: str, **changes: Any) -> Body:
        (result,) = self.done(*paths, **changes)["results"]
        read: Body = result
        return read

    def download(self, link: str) -> bytes:
        """The object behind a link. Expiry and signature are checked by the guarded storage only."""
        body = self.world.services.storage.read(key_of(link))
        assert body is not None, f"nothing lies behind {link}"
        return body

    def task(self, number: int) -> tasks.View:
        return tasks.get(self.world.services, self.account, number)

    # ------------------------------------------------------------ the account

    @property
    def account(self) -> str:
        assert self.key is not None
        return accounts.credential(self.world.services, self.key).account

    @property
    def balance(self) -> int:
        assert self.key is not None
        return self.world.balance(self.key)

    def limit(self, quota: int | None) -> None:
        """The account's pictures a month."""
        usage.set_quota(self.world.services, accounts.account_key(self.account), quota)


def checked(body: Body) -> None:
    """Of what a GET and a webhook tell: every name of the document, and in what kind of value."""
    pipeline = body["pipeline"]
    assert set(body) == {"pipeline", "status", "results"}
    assert set(pipeline) == PIPELINE_NAMES
    assert type(pipeline["id"]) is int
    assert pipeline["status"] in ("PROCESSING", "DONE", "ERROR")
    assert pipeline["error"] is None or isinstance(pipeline["error"], str)
    assert isinstance(pipeline["errors"], list)
    assert isinstance(pipeline["source"]["http"]["url"], list)
    for name in ("started_at", "finished_at", "submitted_at"):
        assert pipeline[name] is None or TIMESTAMP.fullmatch(pipeline[name]), pipeline[name]
    for result in pipeline["results"]:
        assert set(result) == {"created_at", "input_object", "output_object"}
        assert TIMESTAMP.fullmatch(result["created_at"])
        assert set(result["input_object"]) == PICTURE_NAMES
        assert set(result["output_object"]) == PICTURE_NAMES | ALIASES


def photo(width: int = 900, height: int = 600, kind: str = "jpeg") -> bytes:
    """As large as the document's burger."""
    return encoded(Image.linear_gradient("L").resize((width, height)).convert("RGB"), kind)


def query(link: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
