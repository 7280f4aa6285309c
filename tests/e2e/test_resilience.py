"""Processes that die, and a stack that is stopped in the middle of a task."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from infra.local.stack import Stack
from tests.e2e.conftest import Session, picture, session_of

WORKER = "UpscaleWorkerFunction"


@pytest.fixture(scope="module")
def parameters() -> dict[str, str]:
    return {"LeaseSeconds": "2", "ResultRetentionSeconds": "5"}


def test_a_worker_killed_three_times_ends_in_a_refund(stack: Stack, session: Session) -> None:
    upload = session.upload(picture(900, 900))
    stack.pause(WORKER)
    task = session.start(upload, scale="8")
    stack.resume(WORKER)

    def kill() -> None:
        stack.kill(WORKER)
        stack.invoke("WatchdogFunction", {})

    status = session.ended(task, meanwhile=kill)
    assert status["status"] == "failed"
    assert status["error"]
    assert (status["creditsDeducted"], status["deductedCredits"]) == (False, 0)


def test_a_worker_killed_once_is_followed_by_one_that_ends_the_task(stack: Stack, session: Session) -> None:
    upload = session.upload(picture(300, 300))
    task = session.start(upload)
    while session.status(task)["status"] == "pending":
        time.sleep(0.02)
    stack.kill(WORKER)
    status = session.ended(task, meanwhile=lambda: stack.invoke("WatchdogFunction", {}))
    assert status["status"] == "completed"
    assert status["deductedCredits"] == 1


def test_ups_29_a_link_ends_with_its_result(stack: Stack, session: Session) -> None:
    task = session.start(session.upload(picture()))
    file = session.ended(task)["files"][0]
    assert session.http.get(file["downloadLink"]).status_code == 200
    time.sleep(max(0, file["expiresAt"] / 1000 - time.time()) + 1.1)
    assert session.http.get(file["downloadLink"]).status_code == 403
    assert session.http.get(file["thumbnailLink"]).status_code == 403
    assert "downloadLink" not in session.status(task)["files"][0]


def test_a_stack_stopped_in_the_middle_of_a_task_ends_it_after_the_next_start(
    stack: Stack, tmp_path: Path, http: httpx.Client
) -> None:
    stack.__exit__(None, None, None)  # moto has one state per process
    with Stack(state_dir=tmp_path, api_key="test", parameters={"LeaseSeconds": "2"}) as first:
        session = session_of(first, http)
        task = session.start(session.upload(picture(700, 700)), scale="4")
        while session.status(task)["status"] == "pending":
            time.sleep(0.02)
        link = session.ticket(5)["uploadURL"]
    with Stack(state_dir=tmp_path, api_key="test", parameters={"LeaseSeconds": "2"}) as second:
        session = session_of(second, http)
        status = session.ended(task, meanwhile=lambda: second.invoke("WatchdogFunction", {}))
        assert status["status"] == "completed"
        assert session.http.get(status["files"][0]["downloadLink"]).status_code == 200
        assert http.put(link, content=b"abcde").status_code == 200
