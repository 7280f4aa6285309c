"""Functions, queues and schedules of a running stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.local import schedules
from infra.local.deployment import Schedule
from infra.local.stack import FunctionError, Stack
from infra.local.template import TemplateError
from tests.integration.local.support import tiny_stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with tiny_stack(retry_seconds=1) as made:
        yield made


def until(true: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


def tell(stack: Stack, *told: dict[str, Any]) -> None:
    sqs = stack.client("sqs")
    entries = [{"Id": str(n), "MessageBody": json.dumps(body)} for n, body in enumerate(told)]
    sqs.send_message_batch(QueueUrl=stack.outputs["Queue"], Entries=entries)
    sqs.close()


def notes(stack: Stack) -> list[str]:
    client = stack.client("dynamodb")
    items = client.scan(TableName=stack.table)["Items"]
    client.close()
    return sorted(item["pk"]["S"] for item in items)


def waiting(stack: Stack, queue: str) -> list[str]:
    """Bodies of all messages of a queue, visible or not."""
    messages = stack._guard.queues()[f"tessera-{queue}"]._messages
    return [message.body for message in messages]


def test_a_batch_is_deleted_when_it_succeeds(stack: Stack) -> None:
    tell(stack, {"name": "one"}, {"name": "two"})
    until(lambda: {"one#1", "two#1"} <= set(notes(stack)))
    until(lambda: not waiting(stack, "Queue"))


def test_only_the_failures_of_a_batch_come_again_and_end_in_the_dead_letters(stack: Stack) -> None:
    stack.pause("Work")
    tell(stack, {"name": "good"}, {"name": "bad", "fail": True})
    stack.resume("Work")
    until(lambda: "bad#2" in notes(stack))
    until(lambda: [json.loads(body)["name"] for body in waiting(stack, "Dead")] == ["bad"])
    seen = [note for note in notes(stack) if note.startswith(("good", "bad"))]
    assert seen == ["bad#1", "bad#2", "good#1"]
    assert not waiting(stack, "Queue")


def test_a_function_that_raises_fails_the_whole_batch(stack: Stack) -> None:
    stack.pause("Work")
    tell(stack, {"name": "innocent"}, {"name": "raiser", "raise": True})
    stack.resume("Work")
    until(lambda: {"innocent#2", "raiser#2"} <= set(notes(stack)))
    until(lambda: not waiting(stack, "Queue"))


def test_a_killed_process_leaves_its_message_to_the_next(stack: Stack) -> None:
    tell(stack, {"name": "victim", "sleep": 2})
    until(lambda: "victim#1" in notes(stack))
    assert stack.kill("Work") >= 1
    until(lambda: "victim#2" in notes(stack))
    until(lambda: not waiting(stack, "Queue"))


def test_a_stored_object_reaches_the_function(stack: Stack) -> None:
    s3 = stack.client("s3")
    before = len(stack.hops())
    s3.put_object(Bucket=stack.bucket, Key="in/a.jpg", Body=b"x")
    s3.put_object(Bucket=stack.bucket, Key="out/a.jpg", Body=b"x")
    s3.close()
    hops = until(lambda: [hop.what for hop in stack.hops()[before:] if hop.what.startswith("sqs")])
    assert hops[0].startswith("sqs tessera-Queue -> Work (1 record) ")
    assert "s3 PUT in/a.jpg 1 B -> 200" in [hop.what for hop in stack.hops()]


def test_a_paused_function_is_fed_nothing(stack: Stack) -> None:
    stack.pause("Work")
    time.sleep(0.3)
    tell(stack, {"name": "later"})
    time.sleep(0.5)
    assert "later#1" not in notes(stack)
    stack.resume("Work")
    until(lambda: "later#1" in notes(stack))
    with pytest.raises(KeyError):
        stack.pause("Nothing")


def test_processes_stay_warm_and_know_their_time(stack: Stack) -> None:
    first, second = stack.invoke("Slow", {}), stack.invoke("Slow", {})
    assert first["pid"] == second["pid"]
    assert first["id"] != second["id"]
    assert 0 < first["left"] <= 2000


def test_a_function_is_killed_at_its_time_out_with_its_children(stack: Stack) -> None:
    before = stack.invoke("Slow", {})["pid"]
    started = time.monotonic()
    with pytest.raises(FunctionError, match=r"Task timed out after 2\.00 seconds"):
        stack.invoke("Slow", {"child": True})
    assert time.monotonic() - started < 5
    child = int(next(note for note in notes(stack) if note.startswith("child#")).partition("#")[2])
    until(lambda: not running(child))
    until(lambda: not running(before))
    assert stack.invoke("Slow", {})["pid"] != before


def test_one_at_a_time_where_the_template_says_so(stack: Stack) -> None:
    stack.invoke("Slow", {})
    started = time.monotonic()
    threads = [threading.Thread(target=stack.invoke, args=("Slow", {"sleep": 0.3})) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= 0.6


# ---------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    ("expression", "following"),
    [
        ("rate(1 minute)", "2026-11-20T10:31:05"),
        ("rate(5 minutes)", "2026-11-20T10:35:05"),
        ("rate(2 hours)", "2026-11-20T12:30:05"),
        ("cron(0 12 * * ? *)", "2026-11-20T12:00:00"),
        ("cron(30 10 * * ? *)", "2026-11-21T10:30:00"),
        ("cron(0/15 * * * ? *)", "2026-11-20T10:45:00"),
        ("cron(0 8 ? * MON-FRI *)", "2026-11-23T08:00:00"),
        ("cron(0 8 ? * 1 *)", "2026-11-22T08:00:00"),
        ("cron(5,35 10 1 JAN ? 2027)", "2027-01-01T10:05:00"),
        ("cron(0 0 29 2 ? *)", "2028-02-29T00:00:00"),
    ],
)
def test_the_next_time_of_a_schedule(expression: str, following: str) -> None:
    now = datetime(2026, 11, 20, 10, 30, 5, tzinfo=UTC)  # a Friday
    assert schedules.next_time(expression, now).isoformat().removesuffix("+00:00") == following


@pytest.mark.parametrize(
    "expression",
    [
        "rate(x minutes)",
        "cron(* * * *)",
        "cron(0 0 L * ? *)",
        "cron(0 99 * * ? *)",
        "cron(0 0 31 2 ? *)",
        "at(2026-01-01T00:00:00)",
    ],
)
def test_a_schedule_that_cannot_be_read_raises(expression: str) -> None:
    with pytest.raises(TemplateError):
        schedules.next_time(expression, datetime.now(UTC))


def test_a_tick_calls_the_function_with_aws_event(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(schedules.UNITS, "minute", 0.2)
    arn = "arn:aws:scheduler:us-east-1:123456789012:schedule/default/Often"
    schedule = Schedule("Often", "Tick", "rate(1 minute)", arn, "aws.scheduler", None)
    ticker = schedules.Ticker(schedule, "123456789012", "us-east-1", stack._runtime, stack._hop)
    until(lambda: any(note.startswith("tick#") for note in notes(stack)))
    ticker.stop()
    ticker.join()
    event = json.loads(next(note for note in notes(stack) if note.startswith("tick#")).partition("#")[2])
    assert (event["source"], event["detail-type"], event["detail"]) == ("aws.scheduler", "Scheduled Event", "{}")
    assert event["resources"] == [arn]


# ---------------------------------------------------------------------- the end


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_no_process_outlives_the_stack(tmp_path: Path, end: str) -> None:
    script = """
import sys, threading, signal
from pathlib import Path
from tests.integration.local.support import tiny_stack
with tiny_stack(state_dir=Path(sys.argv[1])) as stack:
    print(stack.invoke("Slow", {})["pid"], flush=True)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    print("ready", flush=True)
    done.wait()
"""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.stdout.readline()
        assert running(worker)
        getattr(process, {"SIGKILL": "kill", "SIGTERM": "terminate"}[end])()
        process.wait(10)
    until(lambda: not running(worker), 5)
