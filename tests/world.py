"""A whole deployment in this process: moto's AWS made from template.yaml's table, the real handlers called by hand.

Queues are pumped by the test, so each event can be delivered twice, late, out of order or never; the clock stands
still until it is moved; any AWS call can be made to fail. Links are not checked here: moto checks none, the guarded
stack does (tests/e2e).
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
import yaml
from moto.sqs.models import sqs_backends
from PIL import Image
from tessera import accounts, lifecycle, sources, webhooks
from tessera import services as composition
from tessera.dispatch import FileRef
from tessera.job import Job, Outcome, Report
from tessera.recipe import SourceFormat
from tessera.services import Services, build
from tessera.settings import Settings
from tessera.storage import upload_key
from tessera.tasks import File, file_key
from tessera_engine import facts

from infra.admin import create_account

ROOT = Path(__file__).resolve().parent.parent
REGION = "eu-central-1"
ACCOUNT = "123456789012"
HOUR_NS = 3_600_000_000_000
KINDS: dict[str | None, SourceFormat] = {
    "JPEG": "jpeg",
    "PNG": "png",
    "WEBP": "webp",
    "TIFF": "tiff",
    "BMP": "bmp",
    "GIF": "gif",
}  # Pillow's words to ours
EDGES = {  # path -> package of functions/; all others are Upscayl's
    "/v1/upload-tokens": "companion",
    "/v1/pipeline": "letsenhance",
    "/v1/me/": "letsenhance",
    "/letsenhance/": "letsenhance",
    "/supares/": "supares",
    "/u/": "companion",
    "/v1/": "native",
    "/openapi.json": "reference",
    "/reference": "reference",
}


class Clock:
    """Begins with the clock hour before the last: objects written during a test are always younger than its start."""

    def __init__(self) -> None:
        self.ms = (time.time_ns() // HOUR_NS - 1) * HOUR_NS // 1_000_000

    def __call__(self) -> int:
        return self.ms

    def forward(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class Loader(yaml.SafeLoader):
    """Reads a template; short intrinsics become {"Fn::Name": value}."""


Loader.add_multi_constructor(
    "!",
    lambda loader, suffix, node: {
        f"Fn::{suffix}": loader.construct_scalar(node)  # type: ignore[arg-type]
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
        if isinstance(node, yaml.SequenceNode)
        else loader.construct_mapping(node, deep=True)
    },
)


@cache
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader)
    return loaded


def edge(path: str) -> str:
    """The package of functions/ that answers this path."""
    return next((package for prefix, package in EDGES.items() if path.startswith(prefix)), "upscayl")


class InjectedFaultError(Exception):
    """What a killed process looks like from outside: nothing after this point happened."""


@dataclass
class World:
    services: Services
    clock: Clock
    poller: Any
    """Lambda's own SQS client: neither counted nor made to fail."""
    calls: list[str] = field(default_factory=list)
    waiting: list[tuple[int, str]] = field(default_factory=list)
    """Messages about webhooks."""
    fault: Callable[[int, str, str], None] | None = None
    """Called with (number of the call, operation, "before" or "after"); raises to make it fail."""

    # ------------------------------------------------------------ AWS

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """The AWS calls made meanwhile, by operation."""
        first = len(self.calls)
        made: list[str] = []
        yield made
        made += self.calls[first:]

    def _before(self, model: Any, **_: Any) -> None:
        self.calls.append(model.name)
        if self.fault:
            self.fault(len(self.calls), model.name, "before")

    def _after(self, model: Any, **_: Any) -> None:
        if self.fault:
            self.fault(len(self.calls), model.name, "after")

    def balance(self, key: str) -> int:
        return accounts.check(self.services, accounts.credential(self.services, key)).account.balance

    def ledger(self, key: str) -> list[dict[str, Any]]:
        account = accounts.credential(self.services, key).account
        rows = self.services.table.query_partition(f"ACCOUNT#{account}")
        return [row for row in rows if row["sk"].startswith("CREDIT#")]

    def account(self, credits: int = 100, key: str | None = None) -> str:
        return create_account(self.services, key, credits)

    # ------------------------------------------------------------ HTTP

    def post(self, path: str, body: Any = None, key: str | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
        """`body`: a JSON value, or bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.request(path, raw, {"content-type": "application/json"}, key, **more)
        return answer["statusCode"], json.loads(answer["body"])

    def get(self, path: str, key: str | None = None) -> tuple[int, dict[str, Any]]:
        answer = self.request(path, b"", {}, key, method="GET")
        return answer["statusCode"], json.loads(answer["body"])

    def request(
        self,
        path: str,
        raw: bytes,
        headers: dict[str, str],
        key: str | None = None,
        method: str = "POST",
        caller: str = "127.0.0.1",
    ) -> dict[str, Any]:
        from base64 import b64encode

        sent = headers | ({"x-api-key": key} if key is not None else {}) | {"content-length": str(len(raw))}
        path, _, query = path.partition("?")
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": f"{method} {path}",
            "rawPath": path,
            "rawQueryString": query,
            "headers": sent,
            "requestContext": {
                "http": {"method": method, "path": path, "sourceIp": caller},
                "stage": "$default",
                "requestId": "test",
                "domainName": "api.example.com",
            },
            "body": b64encode(raw).decode(),
            "isBase64Encoded": True,
        }
        if query:
            event["queryStringParameters"] = dict(parse_qsl(query))
        answer: dict[str, Any] = import_module(f"{edge(path)}.app").lambda_handler(event, CONTEXT)
        return answer

    def put(self, url: str, body: bytes) -> str:
        """What a browser does with an upload link; returns the key."""
        key = unquote(urlsplit(url).path).lstrip("/").removeprefix(f"{self.services.settings.bucket}/")
        self.services.storage.write(key, body)
        return key

    def upload(self, key: str, body: bytes, name: str = "photo.png", event: bool = True) -> dict[str, Any]:
        """Asks for a link, sends the bytes, delivers the event; returns the answer's data."""
        status, answer = self.post(
            "/get-upload-url", {"originalFileName": name, "fileType": "image/png", "fileSize": len(body)}, key
        )
        assert status == 200, answer
        data: dict[str, Any] = answer["data"]
        s3_key = self.put(data["uploadURL"], body)
        if event:
            self.upload_event(s3_key)
        return data

    def start(self, key: str, *uploads: dict[str, Any], **fields: Any) -> str:
        files = [{name: data[name] for name in ("fileName", "fileType", "fileSize")} for data in uploads]
        status, answer = self.post("/start-task", {"files": files, **fields}, key)
        assert status == 200, answer
        return str(answer["data"]["taskId"])

    def status(self, key: str, task: str) -> dict[str, Any]:
        status, answer = self.post("/get-task-status", {"taskId": task}, key)
        assert status == 200, answer
        data: dict[str, Any] = answer["data"]
        return data

    # ------------------------------------------------------------ events

    def upload_event(self, key: str) -> None:
        from on_upload.app import on_message

        on_message(s3_message(key))

    def result_event(self, key: str) -> None:
        from on_result.app import on_message

        on_message(s3_message(key))

    def take(self, url: str) -> list[str]:
        """Receives and deletes all messages of a queue."""
        bodies: list[str] = []
        while messages := self.poller.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                bodies.append(message["Body"])
                self.poller.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def dispatch_all(self) -> list[Job]:
        """Work messages -> jobs."""
        for body in self.take(self.services.settings.work_queue_url):
            lifecycle.dispatch(self.services, FileRef.model_validate_json(body))
        return [Job.model_validate_json(body) for body in self.take(self.services.settings.job_queue_url)]

    def fetch_all(self) -> int:
        """Fetch messages -> pictures in storage, and the events of their arrival; returns how many messages."""
        bodies = self.take(self.services.settings.fetch_queue_url)
        for body in bodies:
            ref = FileRef.model_validate_json(body)
            sources.fetch(self.services, ref)
            file = File.model_validate(self.services.table.get(file_key(ref.task, ref.nn)))
            if self.services.storage.head(upload_key(file.account, file.upload)):
                self.upload_event(upload_key(file.account, file.upload))
        return len(bodies)

    def work(self, job: Job, outcome: Outcome | None = None, event: bool = True) -> str:
        """A worker that enlarges by repeating pixels; with a failed `outcome`, one that writes that."""
        if outcome is None:
            source = self.services.storage.read(key_of(job.source_url))
            assert source is not None
            opened = Image.open(io.BytesIO(source))
            picture = opened.convert("RGB")
            large = picture.resize(job.recipe.size(*picture.size), Image.Resampling.NEAREST)
            encode = job.recipe.encode()
            body = encoded(large, encode.format)
            done = Outcome(
                status="done", width=large.width, height=large.height, format=encode.format, bytes=len(body),
                model="test", stand_in=True, seconds=0.1, fidelity=41.25, seam=1.0,
                source=facts.of(source, KINDS[opened.format], *picture.size),
                result=facts.of(body, encode.format, *large.size),
            )  # fmt: skip
            self.services.storage.write(key_of(job.thumbnail_url), encoded(picture, "webp"))
            self.services.storage.write(
                key_of(job.report_url), Report(progress=1, outcome=done).model_dump_json().encode()
            )
            key = key_of(job.result_url)
            self.services.storage.write(key, body)
        else:
            key = key_of(job.failure_url)
            self.services.storage.write(key, outcome.model_dump_json().encode())
        if event:
            self.result_event(key)
        return key

    def hook_messages(self) -> Iterator[tuple[int, str]]:
        """Messages about webhooks that were sent since the last time: when each may be received, and its body."""
        queue = sqs_backends[ACCOUNT][REGION].queues["hooks"]
        for message in queue._messages:
            delay = max(0, round((message.delayed_until - message.sent_timestamp) / 1000))
            yield self.clock.ms + 1000 * delay, message.body
        queue._messages.clear()

    def tell(self, seconds: float = 0) -> None:
        """Delivers messages about webhooks as they become due, for so many seconds."""
        from deliver_webhook.app import on_message

        end = self.clock.ms + int(seconds * 1000)
        self.waiting += self.hook_messages()
        while self.waiting and min(self.waiting)[0] <= end:
            at, body = min(self.waiting)
            self.waiting.remove((at, body))
            self.clock.ms = max(self.clock.ms, at)
            on_message(body)
            self.waiting += self.hook_messages()
        self.clock.ms = end

    def run(self) -> None:
        """Everything that is queued, until nothing is."""
        while (jobs := self.dispatch_all()) or self.fetch_all():
            for job in jobs:
                self.work(job)

    def watchdog(self) -> int:
        webhooks.look_after_all(self.services)
        return lifecycle.look_after_all(self.services)


class Context:
    """What Powertools reads of Lambda's context."""

    function_name = "test"
    memory_limit_in_mb = 512
    invoked_function_arn = f"arn:aws:lambda:{REGION}:123456789012:function:test"
    aws_request_id = "test"
    tenant_id = None

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


CONTEXT: Any = Context()


def key_of(url: str) -> str:
    """The object that a pre-signed link names."""
    return unquote(urlsplit(url).path).lstrip("/").removeprefix("tessera-test/")


def s3_message(*keys: str) -> str:
    from urllib.parse import quote_plus

    return json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(key, safe="/")}}} for key in keys]})


def encoded(picture: Image.Image, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def png(width: int = 6, height: int = 4) -> bytes:
    return encoded(Image.new("RGB", (width, height), (200, 30, 60)))


class Session:
    """A boto3 session that makes each client once."""

    def __init__(self) -> None:
        self._session = boto3.Session("testing", "testing", region_name=REGION)
        self._clients: dict[str, Any] = {}

    def client(self, name: str, **options: Any) -> Any:
        if name not in self._clients:
            self._clients[name] = self._session.client(name, **options)
        return self._clients[name]


@cache
def outside() -> Session:
    """One for all worlds: reading the service models and making clients is half of what a world costs."""
    return Session()


@cache
def inside() -> Session:
    """The services' own, whose calls are counted and made to fail."""
    return Session()


def make_world(monkeypatch: Any, **settings: Any) -> World:
    """Inside moto's mock_aws."""
    sqs, s3, dynamodb = (outside().client(name) for name in ("sqs", "s3", "dynamodb"))
    s3.create_bucket(Bucket="tessera-test", CreateBucketConfiguration={"LocationConstraint": REGION})
    table = template()["Resources"]["Table"]["Properties"]
    made = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    dynamodb.create_table(TableName="tessera-test", **{name: table[name] for name in made})
    queues = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("work", "jobs", "fetches", "hooks")}
    clock = Clock()
    services = build(
        Settings(
            table="tessera-test", bucket="tessera-test", work_queue_url=queues["work"], job_queue_url=queues["jobs"],
            fetch_queue_url=queues["fetches"], hook_queue_url=queues["hooks"], **settings,
        ),
        inside(),
        now_ms=clock,
    )  # fmt: skip
    world = World(services, clock, sqs)
    for client in (services.work.client, services.table.client, services.storage.client):
        for event, handler in (("before-call.*.*", world._before), ("after-call.*.*", world._after)):
            client.meta.events.unregister(event, unique_id=event)  # the world's before this one
            client.meta.events.register(event, handler, unique_id=event)
    composition.services.cache_clear()
    events = ("on_upload", "fetch_source", "on_result", "deliver_webhook")
    for module in (*events, "upscayl", "native", "companion", "letsenhance", "supares"):
        monkeypatch.setattr(f"{module}.app.services", lambda: services)
    return world
