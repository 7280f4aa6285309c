"""What a caller does: each step is one small value, and a flow is a row of them.

A request whose answer never came, or was a server error, is sent again: at most a few times, as any client does it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import pytest
from tessera import accounts, audit, budget, credits, deletion, idempotency, ids, outbound, starts, usage
from tessera.errors import TesseraError
from tessera.recipe import WEB, Encode, Recipe, SourceFormat, Upscale
from tessera.settings import SECONDS
from tessera.storage import upload_key
from tessera.table import ConditionFailed

from infra.admin import create_account, redrive, replay, settle_vocabulary, show, spend
from tests.crashlab.gpu import Gpu
from tests.crashlab.invariants import require
from tests.crashlab.pictures import LONG_SOURCE, OTHER, PHOTO
from tests.crashlab.receiver import URL, Receiver
from tests.crashlab.simulation import BUCKET, Simulation, objects
from tests.world import key_of

TRIES = 4
SOURCE_URL = "https://pictures.example/a.png"
RECIPE = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png")))


class Step(Protocol):
    def do(self, client: Client) -> None: ...


@dataclass
class Client:
    simulation: Simulation
    key: str
    receiver: Receiver
    patch: pytest.MonkeyPatch
    gpu: Gpu | None = None  # with Worker=modal
    names: list[dict[str, Any]] = field(default_factory=list)  # what get-upload-url answered
    tasks: list[str] = field(default_factory=list)  # that were confirmed
    unsure: int = 0  # starts whose answer never came
    refused: list[int] = field(default_factory=list)  # statuses of refused starts

    def post(self, path: str, body: Any, again: bool = True, **headers: str) -> tuple[int, Any]:
        return self.ask("POST", path, body, again, **headers)

    def ask(self, method: str, path: str, body: Any = b"", again: bool = True, **headers: str) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        for _ in range(TRIES):
            status, answer = self._once(method, path, raw, sent)
            if status < 500:
                return status, answer
            self.unsure += path in ("/start-task", "/v1/tasks")
            if not again:
                return status, answer
            self.simulation.world.clock.forward(1)
        raise AssertionError(f"{path} was not answered after one fault")

    def _once(self, method: str, path: str, raw: bytes, headers: Mapping[str, str]) -> tuple[int, Any]:
        world = self.simulation.world
        done, answer = self.simulation.process(lambda: world.request(path, raw, dict(headers), self.key, method))
        if not done:
            return 504, {}
        status: int = answer["statusCode"]
        require("G22", status < 500 or self.simulation.recorder.in_fault, f"{path} answers {status} without a fault")
        return status, json.loads(answer["body"])

    def store(self, url: str, body: bytes, event_after: float | None) -> None:
        key = key_of(url)
        self.simulation.backend.put_object(BUCKET, key, body)
        if event_after is not None:
            self.simulation.stored(key, event_after)

    def accept(self) -> None:
        """The bytes that are there when a start is asked for are those that it is about."""
        for key, stored in objects().items():
            self.simulation.accepted.setdefault(key, stored.etag)


@dataclass(frozen=True)
class Upload:
    """A link, and the bytes sent to it; the event comes so many seconds later, or never."""

    body: bytes = PHOTO
    event_after: float | None = 0
    once: str = ""

    def do(self, client: Client) -> None:
        wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": len(self.body)}
        status, answer = client.post("/get-upload-url", wish, **_once(self.once))
        assert status == 200, answer
        client.names.append(answer["data"])
        client.store(answer["data"]["uploadURL"], self.body, self.event_after)


@dataclass(frozen=True)
class Overwrite:
    """Other bytes through a link that has been used."""

    n: int = 0
    body: bytes = OTHER

    def do(self, client: Client) -> None:
        client.store(client.names[self.n]["uploadURL"], self.body, 0)


@dataclass(frozen=True)
class Multipart:
    """One part, completed `completes` times; 0 leaves it behind."""

    completes: int = 1
    once: str = ""

    def do(self, client: Client) -> None:
        wish = {"originalFileName": "b.png", "fileType": "image/png", "fileSize": len(PHOTO), "multipart": True}
        status, answer = client.post("/get-upload-url", wish, **_once(self.once))
        assert status == 200, answer
        data = answer["data"]
        part = client.simulation.backend.upload_part(BUCKET, data["uploadId"], 1, PHOTO)
        body = {
            "uploadId": data["uploadId"],
            "key": data["key"],
            "parts": [{"PartNumber": 1, "ETag": part.etag}],
        }
        for _ in range(self.completes):
            status, answer = client.post("/complete-multipart-upload", body)
            assert status == 200, answer
        if self.completes:
            client.names.append(data)


@dataclass(frozen=True)
class CompleteUnknown:
    """A key of this account under which nothing was ever begun."""

    def do(self, client: Client) -> None:
        account = accounts.credential(client.simulation.world.services, client.key).account
        part = {"PartNumber": 1, "ETag": "e"}
        body = {"uploadId": "unknown", "key": upload_key(account, "0" * 32), "parts": [part]}
        status, answer = client.post("/complete-multipart-upload", body)
        assert status == 400, answer


@dataclass(frozen=True)
class Start:
    """A task of uploads (all by default); sent `times` times with one Idempotency-Key, or once without. With `delay`
    in seconds it is one of our own API's with a webhook."""

    uploads: tuple[int, ...] | None = None
    once: str = ""
    times: int = 1
    status: int = 200
    fields: Mapping[str, str] = field(default_factory=dict)
    delay: int | None = None

    def do(self, client: Client) -> None:
        client.accept()
        names = client.names if self.uploads is None else [client.names[n] for n in self.uploads]
        files = [{name: data[name] for name in ("fileName", "fileType", "fileSize")} for data in names]
        path, more = "/start-task", dict[str, Any](self.fields)
        if self.delay is not None:
            path, more["webhook"] = "/v1/tasks", {"url": URL, "delay": self.delay}
        for _ in range(self.times):
            _started(client, client.post(path, {"files": files, **more}, **_once(self.once)), self.status)


@dataclass(frozen=True)
class StartForm:
    """A task of one file that comes inside the request."""

    once: str = ""
    times: int = 1
    body: bytes = PHOTO

    def do(self, client: Client) -> None:
        mark = "----7MA4YWxkTrZu0gW"
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="c.png"\r\nContent-Type: image/png'
        raw = f"{head}\r\n\r\n".encode() + self.body + f"\r\n--{mark}--\r\n".encode()
        headers = {"content_type": f"multipart/form-data; boundary={mark}"} | _once(self.once)
        for _ in range(self.times):
            _started(client, client.post("/start-task", raw, **headers), 200)


@dataclass(frozen=True)
class StartByUrl:
    """A task of one picture by its URL, whose server gives `answers` in turn, the last for ever: a body, or the status
    of an error; one that is LONG_SOURCE breaks off after its first part, but for the last. `deleted`: the owner deletes
    the task while the server answers."""

    answers: tuple[bytes | int, ...] = (PHOTO,)
    times: int = 1
    formats: tuple[SourceFormat, ...] = WEB
    deleted: bool = False

    def do(self, client: Client) -> None:
        services = client.simulation.world.services
        source = Source(list(self.answers), (lambda: _deleted(client)) if self.deleted else lambda: None)
        client.patch.setattr(outbound, "client", source.client)
        who = accounts.credential(services, client.key)
        once = idempotency.once(who.account, "by-url", "start", lambda: {"url": SOURCE_URL})

        def start() -> None:
            wanted = (starts.Wanted.fetched(services, SOURCE_URL),)
            task = ids.to_uuid(
                starts.start(services, who, wanted, RECIPE, once, terms=starts.Terms(formats=self.formats))
            )
            if task not in client.tasks:
                client.tasks.append(task)

        for _ in range(self.times):
            command(client, start)


def _deleted(client: Client) -> None:
    """Another process, whose own calls do not fail."""
    services, recorder = client.simulation.world.services, client.simulation.recorder
    account = accounts.credential(services, client.key).account
    recorder.paused = True
    try:
        for task in client.tasks:
            deletion.delete(services, account, ids.from_uuid(task) or 0)
    finally:
        recorder.paused = False


@dataclass
class Source:
    """The server of a picture, with no network between."""

    answers: list[bytes | int]
    meanwhile: Callable[[], None]

    def client(self, *_: Any, **__: Any) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.meanwhile()
        last = len(self.answers) == 1
        said = self.answers[0] if last else self.answers.pop(0)
        if isinstance(said, int):
            return httpx.Response(said)
        return httpx.Response(200, content=self._pieces(said, broken=said == LONG_SOURCE and not last))

    def _pieces(self, body: bytes, broken: bool) -> Iterator[bytes]:
        yield body
        if broken:
            raise httpx.ReadError("cut off")


@dataclass(frozen=True)
class Cancel:
    """Task n, so many times."""

    n: int = 0
    times: int = 1

    def do(self, client: Client) -> None:
        for _ in range(self.times):
            status, answer = client.post("/v1/tasks/cancel", {"taskId": client.tasks[self.n]})
            assert status == 200, answer


@dataclass(frozen=True)
class Delete:
    """Task n and what belongs to it, so many times: nothing that was shown is there after the first."""

    n: int = 0
    times: int = 1

    def do(self, client: Client) -> None:
        task = client.tasks[self.n]
        for _ in range(self.times):
            status, answer = client.post("/v1/tasks/delete", {"taskId": task})
            assert status == 200, answer
            left = [key for key in objects() if f"/{ids.from_uuid(task)}/" in key and not key.startswith("uploads/")]
            require("G15", not left, f"left of a deleted task: {left[:3]}")


@dataclass(frozen=True)
class PartByPart:
    """One part: its link is signed afresh, the part listed; then completed, or given up `aborts` times."""

    aborts: int = 0

    def do(self, client: Client) -> None:
        wish = {"originalFileName": "d.png", "fileType": "image/png", "fileSize": len(PHOTO), "multipart": True}
        status, begun = client.post("/get-upload-url", wish)
        assert status == 200, begun
        of = {name: begun["data"][name] for name in ("uploadId", "key")}
        signed = client.post("/v1/uploads/parts", {**of, "partNumbers": [1]})
        assert signed[0] == 200 and key_of(signed[1]["data"]["parts"][0]["url"]) == of["key"], signed
        part = client.simulation.backend.upload_part(BUCKET, of["uploadId"], 1, PHOTO)
        listed = client.post("/v1/uploads/parts/list", of)
        assert [each["Size"] for each in listed[1]["data"]["parts"]] == [len(PHOTO)], listed
        for _ in range(self.aborts):
            assert client.post("/v1/uploads/abort", of)[0] == 200
        status, answer = client.post(
            "/complete-multipart-upload", {**of, "parts": [{"PartNumber": 1, "ETag": part.etag}]}
        )
        assert status == (400 if self.aborts else 200), answer
        assert client.post("/v1/uploads/parts/list", of)[0] == 404
        if not self.aborts:
            client.names.append(begun["data"])


@dataclass(frozen=True)
class PageForm:
    """A web page with an upload token sends a picture by a form."""

    body: bytes = PHOTO

    def do(self, client: Client) -> None:
        status, form = client.ask("GET", f"{_page(client)}/params?filename=e.png&type=image/png")
        assert status == 200, form
        key = form["fields"]["key"]
        client.simulation.backend.put_object(BUCKET, key, self.body)
        client.simulation.stored(key)
        client.names.append({"fileName": key, "fileType": "image/png", "fileSize": len(self.body)})


@dataclass(frozen=True)
class PageParts:
    """The same in one part; completed twice, or refused as too large, or given up `aborts` times."""

    max_bytes: int | None = None
    aborts: int = 0

    def do(self, client: Client) -> None:
        page = _page(client, **({} if self.max_bytes is None else {"maxBytes": self.max_bytes}))
        wish = {"filename": "e.png", "type": "image/png"}
        status, begun = client.post(f"{page}/multipart", wish)
        assert status == 200, begun
        upload, of = f"{page}/multipart/{begun['uploadId']}", f"key={begun['key']}"
        assert client.ask("GET", f"{upload}/1?{of}")[0] == 200
        part = client.simulation.backend.upload_part(BUCKET, begun["uploadId"], 1, PHOTO)
        status, listed = client.ask("GET", f"{upload}?{of}")
        assert [each["Size"] for each in listed] == [len(PHOTO)], listed
        for _ in range(self.aborts):
            assert client.ask("DELETE", f"{upload}?{of}")[0] == 200
        expected = 404 if self.aborts else 200 if self.max_bytes is None else 413
        for _ in range(2):
            parts = [{"PartNumber": 1, "ETag": part.etag.strip('"')}]
            status, answer = client.post(f"{upload}/complete?{of}", {"parts": parts})
            # One that was thrown away as too large by a call whose answer was lost is not there for the next.
            assert status == expected or (expected, status) == (413, 404), answer
        if expected == 200:
            client.names.append({"fileName": begun["key"], "fileType": "image/png", "fileSize": len(PHOTO)})


def _page(client: Client, **limits: int) -> str:
    """The path of a page's calls."""
    status, answer = client.post("/v1/upload-tokens", limits)
    assert status == 200, answer
    return f"/u/{answer['data']['token']}/s3"


@dataclass(frozen=True)
class Pause:
    seconds: float

    def do(self, client: Client) -> None:
        client.simulation.run_until(client.simulation.world.clock.ms + int(self.seconds * SECONDS))


@dataclass(frozen=True)
class Ask:
    """Status of every task, and the history."""

    def do(self, client: Client) -> None:
        for task in client.tasks:
            status, answer = client.post("/get-task-status", {"taskId": task})
            assert status == 200, answer
        status, answer = client.post("/get-upscayl-history", {})
        assert status == 200, answer


@dataclass(frozen=True)
class AskOfWebhooks:
    """What became of each, and the secret they are signed with, which is changed."""

    def do(self, client: Client) -> None:
        for task in client.tasks:
            status, answer = client.post("/v1/tasks/webhook", {"taskId": task})
            assert status == 200 and answer["data"]["url"] == URL.replace("me:you@", ""), answer
        secrets = [client.post(f"/v1/webhook-secret{path}", {})[1]["data"]["secret"] for path in ("", "/rotate", "")]
        assert secrets[0] != secrets[1] == secrets[2]


@dataclass(frozen=True)
class Replay:
    """The operator has every webhook told again."""

    def do(self, client: Client) -> None:
        for task in client.tasks:
            command(client, lambda task=task: replay(client.simulation.world.services, task))  # type: ignore[misc]


@dataclass(frozen=True)
class Operate:
    """An operator's day: an account with a key of its own form, credits, words, a key revoked."""

    def do(self, client: Client) -> None:
        services = client.simulation.world.services
        mine = "a-key-of-my-own"
        command(client, lambda: create_account(services, mine, 7))
        command(client, lambda: create_account(services, mine, 9))
        command(client, lambda: settle_vocabulary(services, mine, "observed"))
        command(client, lambda: accounts.set_reuse(services, accounts.credential(services, mine).account, False))
        row = accounts.account_key(accounts.credential(services, mine).account)
        command(client, lambda: usage.set_quota(services, row, 5))
        command(client, lambda: spend(services))
        command(client, lambda: credits.grant(services, accounts.credential(services, mine).account, -2))
        client.key, old = mine, client.key
        Ask().do(client)
        command(client, lambda: accounts.revoke_key(services, mine))
        assert client.post("/get-upscayl-history", {})[0] == 401
        client.key = old


@dataclass(frozen=True)
class Look:
    """The operator looks at every task, and the books are audited, while the service goes on."""

    def do(self, client: Client) -> None:
        services = client.simulation.world.services
        for task in client.tasks:
            command(client, lambda task=task: show(services, task))  # type: ignore[misc]
        command(client, lambda: agree(audit.audit(services, pause=lambda seconds: None)))


def agree(found: audit.Audit) -> None:
    assert not found.mismatches and not found.unsettled, found


@dataclass(frozen=True)
class Budget:
    """The operator's hand on what GPUs may cost."""

    paused: bool | None = None
    cap: int | None = None

    def do(self, client: Client) -> None:
        table = client.simulation.world.services.table
        if self.paused is not None:
            command(client, lambda: budget.pause(table, bool(self.paused)))
        if self.cap is not None:
            command(client, lambda: budget.set_cap(table, self.cap or 0))


@dataclass(frozen=True)
class Break:
    """The functions that read these queues do not work any more; of none, they do again."""

    queues: tuple[str, ...] = ()

    def do(self, client: Client) -> None:
        client.simulation.broken = set(self.queues)
        client.simulation.may_give_up = True


@dataclass(frozen=True)
class Redrive:
    """Everything that was given up comes back, twice."""

    times: int = 2

    def do(self, client: Client) -> None:
        for _ in range(self.times):
            for name in sorted(client.simulation.dead):
                command(client, lambda name=name: redrive(client.simulation.world.services, name))  # type: ignore[misc]


def command(client: Client, run: Any) -> None:
    """Repeated by the operator until it goes through. What it refuses then had been done by the try before."""
    for _ in range(TRIES):

        def tried() -> bool:
            try:
                run()
            except (TesseraError, ConditionFailed):
                assert client.simulation.recorder.injected is not None
            return True

        if client.simulation.process(tried)[0]:
            return
    raise AssertionError("a command did not go through after one fault")


def _once(key: str) -> dict[str, str]:
    return {"idempotency_key": key} if key else {}


def _started(client: Client, answered: tuple[int, dict[str, Any]], expected: int) -> None:
    status, answer = answered
    if status == 402 and client.unsure and expected == 200:
        return  # the credits went into the start whose answer never came
    assert status == expected, answer
    if status == 200:
        task = answer["data"]["taskId"]
        if task not in client.tasks:
            client.tasks.append(task)
    else:
        client.refused.append(status)
