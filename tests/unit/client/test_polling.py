from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from tessera_client import Client, NotFound, Progress, TaskFailed, Unreachable, WaitTimeout
from tessera_client.pace import parse_retry_after

from tests.unit.client.conftest import FakeTime
from tests.unit.client.fake_server import FakeServer, error


def silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectTimeout("nobody there")


def test_pauses_grow_to_five_seconds(client: Client, server: FakeServer, time: FakeTime) -> None:
    server.statuses = [{"status": "processing", "progress": "1"}] * 9
    client.wait("t")
    assert time.slept[:3] == [0.5, 0.75, 1.125]
    assert time.slept[-1] == 5.0
    assert time.slept == sorted(time.slept)


def test_progress_tells_the_phase_and_the_task(client: Client, server: FakeServer) -> None:
    server.statuses = [{"status": "pending", "progress": "0"}, {"status": "processing", "progress": "40"}]
    seen: list[Progress] = []
    client.wait("t", on_progress=seen.append)
    assert seen == [Progress("queued", 0, 100, "t"), Progress("upscale", 40, 100, "t")]


def test_a_failed_task_is_told_in_the_servers_words(client: Client, server: FakeServer) -> None:
    server.statuses = [{"status": "failed", "error": None, "files": [{"error": "corrupt image"}]}]
    with pytest.raises(TaskFailed, match="corrupt image") as caught:
        client.wait("t")
    assert caught.value.task_id == "t"


@pytest.mark.parametrize(
    ("headers", "pause"), [({"Retry_After": "1800"}, 1800.0), ({}, 60.0), ({"Retry_After": "0"}, 0.5)]
)
def test_a_rate_limit_only_slows_the_asking(
    client: Client, server: FakeServer, time: FakeTime, headers: dict[str, str], pause: float
) -> None:
    server.next("get-task-status", lambda _: error(429, "RATE_LIMIT_EXCEEDED", "x", **headers))
    seen: list[Progress] = []
    assert client.wait("t", on_progress=seen.append).state == "completed"
    assert time.slept == [pause]
    assert "rate limited" in seen[0].note


def test_a_short_outage_is_survived_a_long_one_is_not(client: Client, server: FakeServer, time: FakeTime) -> None:
    server.next("get-task-status", silent, lambda _: error(503, "INTERNAL_SERVER_ERROR", "x", Retry_After="9"), silent)
    assert client.wait("t").state == "completed"
    assert time.slept[1] == 9.0
    server.next("get-task-status", *[silent] * 30)
    with pytest.raises(Unreachable):
        client.wait("t")


def test_an_unknown_task_ends_the_wait(client: Client, server: FakeServer) -> None:
    server.next("get-task-status", lambda _: error(404, "NOT_FOUND", "Requested resource could not be found"))
    with pytest.raises(NotFound):
        client.wait("t")


def test_a_wait_never_sleeps_past_its_timeout(client: Client, server: FakeServer, time: FakeTime) -> None:
    server.statuses = [{"status": "processing"}] * 99
    with pytest.raises(WaitTimeout, match="after 12 s"):
        client.wait("t", timeout=12)
    assert 6 < sum(time.slept) <= 12


def test_retry_after_is_seconds_or_a_date() -> None:
    assert parse_retry_after("12") == 12
    later = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=90)))
    assert later is not None and 85 < later <= 90
    assert parse_retry_after(format_datetime(datetime.now(UTC) - timedelta(seconds=90))) == 0
    assert parse_retry_after(None) is parse_retry_after("soon") is None
