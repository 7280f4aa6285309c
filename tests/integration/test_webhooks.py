"""SUP-10, LE-29, LE-30: a task's end is told where its start has asked for it, to a real server on this machine."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from deliver_webhook import bodies, post
from deliver_webhook.app import lambda_handler
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from tessera import accounts, cleanup, ids, lifecycle, starts, tasks, webhooks
from tessera.errors import Invalid, NotFound
from tessera.job import JobError, Outcome
from tessera.observability import RedactingFormatter, logger
from tessera.recipe import Encode, Recipe, Thumbnail, Upscale
from tessera.settings import HOURS, MINUTES, SECONDS, Settings
from tessera.table import Item
from tessera.webhooks import Delivery, Hook

from infra import admin
from tests.receiver import Receiver, plain, receiving
from tests.world import CONTEXT, World, png

RECIPE = Recipe(operations=(Upscale(model="tessera-photo", scale=2), Thumbnail(), Encode(format="png")))
CORRUPT = Outcome(status="failed", error=JobError(code="corrupt_image", message="Damaged", retryable=False))
SECRET, ROTATE, ASK = "/v1/webhook-secret", "/v1/webhook-secret/rotate", "/v1/tasks/webhook"


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.clock = world.clock
        yield receiver


@pytest.fixture
def key(world: World) -> str:
    return world.account(credits=100)


def start(world: World, key: str, hook: Hook | None, files: int = 1, event: bool = True, body: bytes = b"") -> int:
    uploads = [world.upload(key, body or png(6 + nn, 4), event=event) for nn in range(files)]
    wanted = tuple(starts.Wanted.of(upload["fileName"]) for upload in uploads)
    who = accounts.credential(world.services, key)
    return starts.start(world.services, who, wanted, RECIPE, terms=starts.Terms(hook=hook))


def ended(world: World, key: str, hook: Hook) -> int:
    task = start(world, key, hook)
    world.run()
    return task


def row(world: World, task: int) -> Delivery:
    found = webhooks.find(world.services, task)
    assert found is not None
    return found


def answer(world: World, path: str, key: str, body: Any = None, status: int = 200) -> Any:
    code, said = world.post(path, body or {}, key)
    assert code == status, said
    return said.get("data")


# ---------------------------------------------------------------- once, and its words


def test_le_29_sup_10_the_end_of_a_task_is_told_once(world: World, key: str, receiver: Receiver) -> None:
    task = start(world, key, Hook.after(receiver.url("/hook?a=b")))
    world.tell(600)
    assert receiver.got == []
    world.run()
    world.tell(3600)
    world.watchdog()
    world.tell(3600)
    (got,) = receiver.got
    assert got.path == "/hook?a=b"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("Tessera")
    assert got.json["type"] == "task.completed"
    told = got.json["data"]
    assert (told["taskId"], told["status"], told["deductedCredits"]) == (ids.to_uuid(task), "completed", 1)
    (file,) = told["files"]
    assert (file["state"], file["width"], file["height"], file["format"]) == ("done", 12, 8, "png")
    assert "X-Amz-Signature" in file["downloadLink"] and "X-Amz-Signature" in file["thumbnailLink"]
    assert (row(world, task).state, row(world, task).attempt) == ("delivered", 1)


def test_sup_10_links_in_the_body_are_as_fresh_as_the_attempt(world: World, key: str, receiver: Receiver) -> None:
    receiver.answers = [500, 200]
    ended(world, key, Hook.after(receiver.url()))
    world.tell(1200)
    lives = [
        got.json["data"]["files"][0]["downloadLink"].partition("X-Amz-Expires=")[2].partition("&")[0]
        for got in receiver.got
    ]
    assert int(lives[0]) - int(lives[1]) == 180


def test_a_dialects_own_words_are_told_of_its_tasks(
    world: World, key: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bodies.BODIES, "another", lambda services, view: {"pipeline": view.task.memo})
    upload = world.upload(key, png())
    who = accounts.credential(world.services, key)
    terms = starts.Terms(dialect="another", memo="m", hook=Hook.after(receiver.url()))
    starts.start(world.services, who, (starts.Wanted.of(upload["fileName"]),), RECIPE, terms=terms)
    world.run()
    world.tell()
    assert [got.json for got in receiver.got] == [{"pipeline": "m"}]


# ---------------------------------------------------------------- schedule


def test_le_30_attempts_at_0_3_9_and_19_minutes_and_no_fifth(world: World, key: str, receiver: Receiver) -> None:
    receiver.answers = [500, 404, 302, 500]
    task = ended(world, key, Hook.after(receiver.url()))
    began = world.clock.ms
    for _ in range(60):
        world.tell(60)
        world.watchdog()
    assert [at - began for at in receiver.times] == [0, 3 * MINUTES, 9 * MINUTES, 19 * MINUTES]
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert (row(world, task).state, [made.status for made in row(world, task).log]) == ("dead", [500, 404, 302, 500])


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_le_30_no_attempt_follows_one_that_was_answered(
    world: World, key: str, receiver: Receiver, failures: int
) -> None:
    receiver.answers = [*([503] * failures), 204, 500]
    task = ended(world, key, Hook.after(receiver.url()))
    world.tell(7200)
    assert len(receiver.got) == failures + 1
    assert row(world, task).state == "delivered"


@pytest.mark.parametrize("delay", [0, 1, 900])
def test_sup_10_a_delay_is_kept_to_the_second(world: World, key: str, receiver: Receiver, delay: int) -> None:
    ended(world, key, Hook.after(receiver.url(), delay * SECONDS))
    began = world.clock.ms
    world.tell(3600)
    assert [at - began for at in receiver.times] == [delay * SECONDS]


def test_sup_10_a_delay_beyond_that_of_a_queue_is_kept_by_the_watchdog(
    world: World, key: str, receiver: Receiver
) -> None:
    ended(world, key, Hook.after(receiver.url(), 86_400 * SECONDS))
    began = world.clock.ms
    world.tell(86_340)
    world.watchdog()
    world.tell(59)
    assert receiver.got == []
    world.tell(1)
    world.watchdog()
    world.tell()
    assert [at - began for at in receiver.times] == [86_400 * SECONDS]


def test_le_30_a_lost_message_costs_two_minutes(world: World, key: str, receiver: Receiver) -> None:
    receiver.answers = [500, 200]
    ended(world, key, Hook.after(receiver.url()))
    began = world.clock.ms
    for attempt in (1, 2):
        world.waiting += world.hook_messages()
        assert world.waiting
        world.waiting.clear()
        while len(receiver.got) < attempt:
            world.tell(60)
            world.watchdog()
            world.tell()
    late = [at - began for at in receiver.times]
    assert late[0] <= 2 * MINUTES
    assert late[1] - late[0] <= 5 * MINUTES


# ---------------------------------------------------------------- which ends are told, and once


def statuses(receiver: Receiver) -> list[str]:
    return [got.json["data"]["status"] for got in receiver.got]


def test_sup_10_one_of_three_files_fails_and_one_webhook_tells_of_all(
    world: World, key: str, receiver: Receiver
) -> None:
    task = start(world, key, Hook.after(receiver.url()), files=3)
    first, second, third = world.dispatch_all()
    for job, outcome in ((second, CORRUPT), (first, None)):
        world.work(job, outcome)
        world.tell()
        assert receiver.got == []
    world.work(third)
    world.tell()
    assert statuses(receiver) == ["partially_failed"]
    assert [file["state"] for file in receiver.got[0].json["data"]["files"]] == ["done", "failed", "done"]
    assert row(world, task).state == "delivered"


@pytest.mark.parametrize("files", [1, 3])
def test_a_failed_task_is_told(world: World, key: str, receiver: Receiver, files: int) -> None:
    start(world, key, Hook.after(receiver.url()), files=files)
    for job in world.dispatch_all():
        world.work(job, CORRUPT)
    world.tell()
    assert statuses(receiver) == ["failed"]
    assert receiver.got[0].json["data"]["files"][0]["error"] == "Damaged"


def test_a_cancelled_task_is_told_once(world: World, key: str, receiver: Receiver) -> None:
    task = start(world, key, Hook.after(receiver.url()), files=3)
    account = accounts.credential(world.services, key).account
    world.work(world.dispatch_all()[0])
    for _ in range(2):
        lifecycle.cancel(world.services, account, task)
        world.tell(60)
    assert statuses(receiver) == ["partially_cancelled"]


def test_a_task_whose_files_are_all_refused_is_told_at_its_start(world: World, key: str, receiver: Receiver) -> None:
    task = start(world, key, Hook.after(receiver.url()), files=2, body=b"no picture")
    world.tell()
    assert statuses(receiver) == ["failed"]
    assert row(world, task).state == "delivered"


def test_a_task_whose_files_turn_out_to_be_no_pictures_is_told(world: World, key: str, receiver: Receiver) -> None:
    start(world, key, Hook.after(receiver.url()), event=False, body=b"no picture")
    for entry in world.services.storage.client.list_objects_v2(Bucket="tessera-test")["Contents"]:
        world.upload_event(entry["Key"])
    world.tell()
    assert statuses(receiver) == ["failed"]


def test_a_task_past_its_deadline_is_told(world: World, key: str, receiver: Receiver) -> None:
    start(world, key, Hook.after(receiver.url()))
    world.clock.forward(1801)
    world.watchdog()
    world.tell()
    assert statuses(receiver) == ["failed"]


def test_events_and_messages_that_come_twice_tell_it_once(world: World, key: str, receiver: Receiver) -> None:
    start(world, key, Hook.after(receiver.url()))
    (job,) = world.dispatch_all()
    result = world.work(job)
    world.result_event(result)
    world.waiting = 3 * list(world.hook_messages())
    world.tell(1)
    world.result_event(result)
    world.tell(3600)
    assert len(receiver.got) == 1


def test_two_messages_at_once_make_one_attempt(
    world: World, key: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G31: both have read the row before either claims it."""
    receiver.answers = [500, 200]
    task = ended(world, key, Hook.after(receiver.url()))
    stale = row(world, task)
    world.tell()
    monkeypatch.setattr(webhooks, "find", lambda services, task: stale)
    webhooks.deliver(world.services, stale.ref, lambda delivery: post.post(world.services, delivery))
    assert len(receiver.got) == 1


def test_a_late_record_changes_nothing_of_the_attempt_after_it(world: World, key: str, receiver: Receiver) -> None:
    task = ended(world, key, Hook(url=receiver.url(), pauses=(0, MINUTES)))

    def slow(delivery: Delivery) -> webhooks.Attempt:
        world.clock.forward(61)  # longer than its lease
        world.watchdog()
        world.tell()
        return webhooks.Attempt(at=world.clock.ms, error="no answer in time")

    webhooks.deliver(world.services, row(world, task).ref, slow)
    assert (row(world, task).state, [made.status for made in row(world, task).log]) == ("delivered", [200])


def test_files_that_end_at_once_tell_it_once(
    world: World, key: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()  # moto is not thread-safe
    real = world.services.table.client.transact_write_items

    def one_at_a_time(**items: Any) -> Any:
        with lock:
            return real(**items)

    monkeypatch.setattr(world.services.table.client, "transact_write_items", one_at_a_time)
    task = start(world, key, Hook.after(receiver.url()), files=6)
    results = [world.work(job, event=False) for job in world.dispatch_all()]
    threads = [threading.Thread(target=world.result_event, args=(result,)) for result in results for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.tell(3600)
    assert statuses(receiver) == ["completed"]
    assert row(world, task).state == "delivered"


def test_a_task_without_a_webhook_costs_nothing_more(world: World, key: str) -> None:
    for hook, calls in ((None, 1), (Hook.after("https://example.com/"), 2)):
        task = start(world, key, hook)
        (job,) = world.dispatch_all()
        result = world.work(job, event=False)
        with world.counted() as made:
            world.result_event(result)
        assert made.count("TransactWriteItems") == calls
        assert len(made) == {1: 3, 2: 5}[calls]  # result, report, transactions, the webhook's message
        assert (webhooks.find(world.services, task) is None) == (hook is None)


# ---------------------------------------------------------------- interruptions


class Dead(BaseException):
    pass


def test_a_crash_before_the_record_tells_it_again_with_the_same_id(
    world: World, key: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ended(world, key, Hook(url=receiver.url(), pauses=(0,)))
    with monkeypatch.context() as patch, pytest.raises(Dead):
        patch.setattr(webhooks, "_record", lambda *args, **kwargs: (_ for _ in ()).throw(Dead))
        world.tell()
    assert row(world, task).state == "pending"
    for _ in range(4):
        world.watchdog()
        world.tell(60)
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert second.at - first.at <= 2 * MINUTES
    assert row(world, task).state == "delivered"


def test_an_attempt_that_dies_every_time_ends_as_one_that_failed(
    world: World, key: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ended(world, key, Hook(url=receiver.url(), pauses=(0, MINUTES)))
    monkeypatch.setattr("deliver_webhook.app.post", lambda *args: (_ for _ in ()).throw(MemoryError))
    for _ in range(60):
        event = {"Records": [{"messageId": "1", "body": body} for _, body in world.hook_messages()][:1]}
        if event["Records"]:
            lambda_handler(event, CONTEXT)
        world.clock.forward(60)
        world.watchdog()
    found = row(world, task)
    assert (found.state, [made.error for made in found.log]) == ("dead", ["interrupted", "interrupted"])
    assert receiver.got == []


def test_a_webhook_of_a_task_that_is_forgotten_goes_with_it(world: World, key: str, receiver: Receiver) -> None:
    task = ended(world, key, Hook.after(receiver.url()))
    world.tell()
    for days in (2, 90):
        assert webhooks.find(world.services, task) is not None
        world.clock.forward(days * 86_400)
        cleanup.sweep(world.services)
    assert world.services.table.query_partition(f"TASK#{task}") == ()


def test_a_webhook_that_outlives_its_task_is_given_up(world: World, key: str, receiver: Receiver) -> None:
    task = ended(world, key, Hook.after(receiver.url(), 86_400 * SECONDS))
    rows = world.services.table.query_partition(f"TASK#{task}")
    world.services.table.delete_many([tasks.task_key(task), tasks.file_key(task, 0)])
    world.clock.forward(86_400)
    world.watchdog()
    world.tell()
    assert len(rows) == 3 and receiver.got == []
    assert (row(world, task).state, row(world, task).log[0].error) == ("dead", "the task is gone")


# ---------------------------------------------------------------- signatures


@pytest.fixture
def now(world: World) -> None:
    """The library holds a timestamp against the real time."""
    world.clock.ms = time.time_ns() // 1_000_000


def test_sup_10_the_public_library_verifies_it(world: World, key: str, receiver: Receiver, now: None) -> None:
    ended(world, key, Hook.after(receiver.url()))
    world.tell()
    (got,) = receiver.got
    secret = answer(world, SECRET, key)
    assert secret["olderValidUntil"] is None
    assert len(base64.b64decode(secret["secret"].removeprefix("whsec_"))) == 24
    assert Webhook(secret["secret"]).verify(got.body, got.headers) == got.json
    with pytest.raises(WebhookVerificationError):
        Webhook(secret["secret"]).verify(got.body + b" ", got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(answer(world, SECRET, world.account())["secret"]).verify(got.body, got.headers)


def test_sup_10_both_secrets_verify_it_for_a_day_after_a_rotation(
    world: World, key: str, receiver: Receiver, now: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = answer(world, SECRET, key)["secret"]
    rotated = answer(world, ROTATE, key)
    new = rotated["secret"]
    assert rotated["olderValidUntil"] == world.clock.ms + 24 * HOURS
    assert answer(world, SECRET, key) == rotated
    ended(world, key, Hook.after(receiver.url()))
    world.tell()
    (got,) = receiver.got
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        assert Webhook(secret).verify(got.body, got.headers) == got.json
    world.clock.forward(24 * 3600)
    ended(world, key, Hook.after(receiver.url()))
    world.tell()
    got = receiver.got[1]
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda self, text: _moment(text))
    assert Webhook(new).verify(got.body, got.headers) == got.json
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(got.body, got.headers)


def _moment(text: str) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(float(text), UTC)


def test_rotations_beyond_eight_secrets_wait(world: World, key: str) -> None:
    made = {answer(world, SECRET, key)["secret"]} | {answer(world, ROTATE, key)["secret"] for _ in range(7)}
    assert len(made) == 8
    answer(world, ROTATE, key, status=429)
    world.clock.forward(24 * 3600)
    answer(world, ROTATE, key)


# ---------------------------------------------------------------- what a receiver may do


def test_sup_07_a_redirect_is_not_followed(world: World, key: str, receiver: Receiver) -> None:
    receiver.answers = [plain(307, location=receiver.url("/elsewhere"))]
    task = ended(world, key, Hook.after(receiver.url()))
    world.tell()
    assert [got.path for got in receiver.got] == ["/hook"]
    assert [made.status for made in row(world, task).log] == [307]


def test_a_huge_answer_is_not_read(world: World, key: str, receiver: Receiver) -> None:
    sent: list[int] = []

    def huge(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(bytes(1024 * 1024))
            sent.append(1)

    receiver.answers = [huge]
    task = ended(world, key, Hook.after(receiver.url()))
    world.tell()
    assert row(world, task).state == "delivered"
    assert len(sent) < 100


def drip(status: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(status)
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize(
    ("began", "state", "error"),
    [
        (b"", "pending", "no answer in time"),
        (b"HTTP/1.1 200 OK\r\nx-slow: ", "pending", "no answer in time"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "delivered", ""),
    ],
)
def test_a_slow_answer_is_cut_off(
    world: World,
    key: str,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    began: bytes,
    state: str,
    error: str,
) -> None:
    monkeypatch.setattr(post, "TOTAL", 0.5)
    receiver.answers = [drip(began)]
    task = ended(world, key, Hook.after(receiver.url()))
    world.tell()
    (made,) = row(world, task).log
    assert (row(world, task).state, made.error) == (state, error)
    assert 400 <= made.ms < 2000


def test_an_answer_that_is_none_is_a_failed_attempt(world: World, key: str, receiver: Receiver) -> None:
    receiver.answers = [lambda handler: handler.wfile.write(b"nonsense\r\n\r\n") and None]
    task = ended(world, key, Hook.after(receiver.url()))
    world.tell()
    assert [made.error for made in row(world, task).log] == ["the connection broke"]


def test_nobody_listens(world: World, key: str) -> None:
    with receiving() as gone:
        url = gone.url()
    task = ended(world, key, Hook.after(url))
    world.tell()
    assert [made.error for made in row(world, task).log] == ["no connection"]


def test_sup_10_credentials_of_the_address_are_sent_as_basic_authentication(
    world: World, key: str, receiver: Receiver
) -> None:
    url = receiver.url("/hook", credentials="me:s%40crEt")
    upload = world.upload(key, png())
    wish = {"files": [{"fileName": upload["fileName"]}], "webhook": {"url": url}}
    task = answer(world, "/v1/tasks", key, wish)["taskId"]
    world.run()
    world.tell()
    (got,) = receiver.got
    assert got.headers["authorization"] == f"Basic {base64.b64encode(b'me:s@crEt').decode()}"
    assert answer(world, ASK, key, {"taskId": task})["url"] == receiver.url()


# ---------------------------------------------------------------- the guard


def test_sup_07_a_private_address_is_refused_before_any_packet(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    with receiving() as receiver:
        closed = world.services.settings.model_copy(update={"allowed_addresses": ""})
        monkeypatch.setattr("deliver_webhook.app.services", lambda: replaced(world, closed))
        key = world.account()
        task = ended(world, key, Hook.after(receiver.url().replace("127.0.0.1", "localhost")))
        world.tell(7200)
        assert receiver.connections == 0
    found = row(world, task)
    assert (found.state, {made.error for made in found.log}) == ("dead", {"the address is not allowed"})
    assert len(found.log) == 4


def replaced(world: World, settings: Settings) -> Any:
    from dataclasses import replace

    return replace(world.services, settings=settings)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "http://10.0.0.1/", "http://me:you@10.0.0.1/", "http://[::1]/", "http:///path", "x", "",
        "http://a@b@example.com/", "http://a:b\\@example.com/", "http://example.com:22/", "https://" + "a" * 3000,
    ],
)  # fmt: skip
def test_sup_07_an_address_that_cannot_be_is_refused_at_the_start(world: World, key: str, url: str) -> None:
    with pytest.raises(Invalid):
        webhooks.check(url, world.services.settings)
    wish = {"files": [{"fileName": world.upload(key, png())["fileName"]}], "webhook": {"url": url}}
    answer(world, "/v1/tasks", key, wish, status=400)
    assert world.balance(key) == 100


@pytest.mark.parametrize(
    "url", ["https://example.com/a?b=c", "http://me:you@example.com:8080/", "https://me@example.com"]
)
def test_sup_10_addresses_that_can_be(world: World, url: str) -> None:
    webhooks.check(url, world.services.settings)


# ---------------------------------------------------------------- what is told of it


def test_the_owner_sees_every_attempt(world: World, key: str, receiver: Receiver) -> None:
    receiver.answers = [500, 200]
    upload = world.upload(key, png())
    wish = {"files": [{"fileName": upload["fileName"]}], "webhook": {"url": receiver.url(), "delay": 5}}
    task = answer(world, "/v1/tasks", key, wish)["taskId"]
    seen = answer(world, ASK, key, {"taskId": task})
    assert (seen["state"], seen["attempts"], seen["nextAttemptAt"], seen["webhookId"]) == ("waiting", [], None, None)
    world.run()
    seen = answer(world, ASK, key, {"taskId": task})
    assert (seen["state"], seen["nextAttemptAt"]) == ("pending", world.clock.ms + 5000)
    world.tell(5)
    seen = answer(world, ASK, key, {"taskId": task})
    assert (seen["state"], seen["nextAttemptAt"]) == ("pending", world.clock.ms + 180_000)
    world.tell(180)
    seen = answer(world, ASK, key, {"taskId": task})
    assert (seen["state"], seen["nextAttemptAt"]) == ("delivered", None)
    assert [(made["status"], made["error"]) for made in seen["attempts"]] == [(500, None), (200, None)]
    assert [made["at"] for made in seen["attempts"]] == receiver.times
    assert seen["webhookId"] == receiver.got[0].headers["webhook-id"]


def test_an_operator_has_it_told_again_as_often_as_they_like(
    world: World, key: str, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers = [500, 500, 500, 500, 200]
    task = ended(world, key, Hook.after(receiver.url()))
    world.tell(3600)
    assert row(world, task).state == "dead"
    uuid = ids.to_uuid(task)
    assert admin.show(world.services, uuid).endswith("webhook dead, attempt 4, answers 500, 500, 500, 500")
    for times in (1, 2):
        admin.replay(world.services, uuid if times == 1 else str(task))
        assert (row(world, task).state, row(world, task).attempt) == ("pending", 0)
        world.tell(3600)
        assert (row(world, task).state, len(receiver.got)) == ("delivered", 4 + times)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    told = capsys.readouterr().out
    assert (told.count('"WebhooksDead":'), told.count('"WebhooksDelivered":')) == (1, 2)
    for unknown in (start(world, key, None), start(world, key, Hook.after(receiver.url())), "nonsense"):
        with pytest.raises(NotFound):
            admin.replay(world.services, str(unknown))


def test_foreign_tasks_and_those_without_a_webhook_are_unknown(world: World, key: str) -> None:
    task = start(world, key, Hook.after("https://example.com/"))
    plain_task = start(world, key, None)
    other = world.account()
    answers = {
        json.dumps(world.post(ASK, {"taskId": name}, who), sort_keys=True)
        for name, who in (
            (ids.to_uuid(task), other),
            (ids.to_uuid(plain_task), key),
            ("30a89e69-c702-4247-9905-f0a53dfa45ab", key),
            ("nonsense", key),
        )
    }
    assert len(answers) == 1
    assert json.loads(answers.pop())[0] == 404
    assert answer(world, SECRET, key)["secret"] != answer(world, SECRET, other)["secret"]


def test_g25_no_secret_and_no_credential_is_logged(world: World, key: str) -> None:
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(RedactingFormatter())
    root = logging.getLogger()
    logger.addHandler(handler)
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        with receiving() as receiver:
            receiver.answers = [500, 200]
            secret = answer(world, SECRET, key)["secret"]
            ended(world, key, Hook.after(receiver.url(credentials="me:s3cr3t-pass")))
            world.tell(600)
            assert len(receiver.got) == 2
    finally:
        logger.removeHandler(handler)
        root.removeHandler(handler)
        root.setLevel(level)
    assert output.getvalue()
    for word in (secret.removeprefix("whsec_"), "s3cr3t-pass", base64.b64encode(b"me:s3cr3t-pass").decode()):
        assert word not in output.getvalue()


def test_the_history_shows_no_webhook_and_cleanup_finds_it(world: World, key: str, receiver: Receiver) -> None:
    task = ended(world, key, Hook.after(receiver.url()))
    (found,) = (each for each in world.services.table.query_partition(f"TASK#{task}") if each["sk"] == "HOOK")
    assert isinstance(found, dict) and "history_pk" not in found
    assert _due(found) == "HOOK"
    world.tell()
    (found,) = (each for each in world.services.table.query_partition(f"TASK#{task}") if each["sk"] == "HOOK")
    assert _due(found) == "EXPIRES"
    history = world.post("/get-upscayl-history", {}, key)[1]
    assert len(history["data"]) == 1


def _due(found: Item) -> str:
    return str(found["due_pk"]).partition("#")[0]
