"""SUP-10, LE-29: the running stack tells a server on this machine that a task has ended, in time and signed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from standardwebhooks.webhooks import Webhook

from tests.e2e.conftest import PATIENCE, Session, picture
from tests.receiver import Receiver, receiving


@pytest.fixture(scope="module")
def parameters() -> dict[str, str]:
    return {"AllowedAddresses": "127.0.0.1/32"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.clock = lambda: time.time_ns() // 1_000_000
        yield receiver


def test_the_end_of_a_task_is_told_with_a_link_that_works(session: Session, receiver: Receiver) -> None:
    secret = session.post("/v1/webhook-secret", {}).json()["data"]["secret"]
    source = session.upload(picture())
    webhook = {"url": receiver.url(credentials="me:you"), "delay": 1}
    wish = {"files": [{"fileName": source["fileName"]}], "scale": 2, "saveImageAs": "png", "webhook": webhook}
    task = session.post("/v1/tasks", wish).json()["data"]["taskId"]
    session.ended(task)
    until = time.monotonic() + PATIENCE
    while not receiver.got and time.monotonic() < until:
        time.sleep(0.05)
    (got,) = receiver.got
    assert Webhook(secret).verify(got.body, got.headers) == got.json
    assert got.headers["authorization"].startswith("Basic ")
    assert got.json["data"]["taskId"] == task
    answer = session.http.get(got.json["data"]["files"][0]["downloadLink"])
    assert answer.status_code == 200 and answer.content.startswith(b"\x89PNG")
    while (told := session.post("/v1/tasks/webhook", {"taskId": task}).json()["data"])["state"] == "pending":
        time.sleep(0.05)
    assert (told["state"], told["attempts"][0]["status"]) == ("delivered", 200)
