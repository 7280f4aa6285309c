"""What is told about a file's way, and that it is told once: whoever changes nothing tells nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tessera import cleanup, events, ids, lifecycle
from tessera.dispatch import FileRef
from tessera.job import Job, JobError, Outcome
from tessera.metrics import Metric

from tests.integration.conftest import Lines
from tests.world import CONTEXT, World, key_of, png, s3_message

CORRUPT = Outcome(
    status="failed", error=JobError(code="corrupt_image", message="The picture is damaged", retryable=False)
)
HICCUP = Outcome(status="failed", error=JobError(code="internal", message="Something broke", retryable=True))
MINE = "my-own.id=7"


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"worker_price": 0.5}


class Told:
    """The metric lines since the last look."""

    def __init__(self, lines: Lines) -> None:
        self.all = lines

    def lines(self) -> list[dict[str, Any]]:
        return [line for line in self.all() if "_aws" in line]

    def sums(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for line in self.lines():
            for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                name = metric["Name"]
                assert name in set(Metric)
                found[name] = found.get(name, 0) + sum(line[name])
        return found


@pytest.fixture
def told(lines: Lines) -> Told:
    return Told(lines)


def begun(world: World, files: int = 1, credits: int = 5) -> tuple[str, str]:
    key = world.account(credits)
    return key, world.start(key, *(world.upload(key, png()) for _ in range(files)))


def test_a_finished_file_is_told_once_whatever_comes_twice(world: World, told: Told) -> None:
    _, task = begun(world)
    assert told.sums() == {"FilesAccepted": 1}
    (job,) = world.dispatch_all()
    assert told.sums().keys() == {"QueueSeconds"}
    result = world.work(job)
    sums = told.sums()
    assert sums["FilesCompleted"] == sums["CreditsCharged"] == 1
    assert sums["MegapixelsOut"] == 24 * 16 / 1e6
    assert sums["EstimatedCost"] == 0.1 * 0.5
    assert sums["WorkerSeconds"] == 0.1
    assert sums["TotalSeconds"] >= sums["SettleSeconds"] == 0
    world.result_event(result)
    world.upload_event(key_of(job.source_url))
    lifecycle.dispatch(world.services, FileRef(task=ids.from_uuid(task) or 0, nn=0))
    lifecycle.job_lost(world.services, job)
    world.clock.forward(3600)
    world.watchdog()
    assert told.sums() == {}


def test_a_failed_file_is_refunded_and_told_once(world: World, told: Told) -> None:
    begun(world)
    (job,) = world.dispatch_all()
    told.sums()
    failure = world.work(job, CORRUPT)
    assert told.sums() == {"FilesFailed": 1, "Refunds": 1}
    world.result_event(failure)
    world.clock.forward(3600)
    world.watchdog()
    assert told.sums() == {}


def test_a_retry_is_told_once_and_its_waiting_is_not_the_queues(world: World, told: Told) -> None:
    begun(world)
    (job,) = world.dispatch_all()
    told.sums()
    failure = world.work(job, HICCUP)
    world.result_event(failure)
    assert told.sums() == {"Retries": 1}
    assert len(world.dispatch_all()) == 1
    assert told.sums() == {}


def test_a_file_past_its_deadline_is_told_as_such(world: World, told: Told) -> None:
    begun(world, files=2)
    told.sums()
    world.clock.forward(1801)
    world.watchdog()
    world.watchdog()
    assert told.sums() == {"FilesFailed": 2, "Refunds": 2, "PastDeadline": 2}


def test_what_is_cancelled_is_refunded_and_told_once(world: World, told: Told) -> None:
    key, task = begun(world, files=3)
    world.dispatch_all()
    told.sums()
    for _ in range(2):
        assert world.post("/v1/tasks/cancel", {"taskId": task}, key)[0] == 200
    world.watchdog()
    assert told.sums() == {"Refunds": 3}


def test_a_file_refused_at_the_start_is_told_with_it(world: World, told: Told) -> None:
    key = world.account(5)
    upload = world.upload(key, b"no picture at all")
    told.sums()
    world.start(key, upload)
    assert told.sums() == {"FilesAccepted": 1, "FilesFailed": 1}


def test_a_start_that_is_repeated_is_told_once(world: World, told: Told) -> None:
    key = world.account(5)
    upload = world.upload(key, png())
    file = {name: upload[name] for name in ("fileName", "fileType", "fileSize")}
    told.sums()
    for _ in range(2):
        headers = {"content-type": "application/json", "idempotency-key": "one"}
        assert world.request("/start-task", json.dumps({"files": [file]}).encode(), headers, key)["statusCode"] == 200
    assert told.sums() == {"FilesAccepted": 1}


def test_no_dimension_tells_accounts_or_tasks_apart(world: World, told: Told) -> None:
    begun(world)
    world.run()
    lines = told.lines()
    assert lines
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Tessera"
        assert directive["Dimensions"] == [["service"]]


@pytest.mark.parametrize(
    ("dialect", "core", "route", "body"),
    [
        ("upscayl", "tasks.history", "/get-upscayl-history", {}),
        ("companion", "tokens.create", "/v1/upload-tokens", {}),
        ("native", "estimates.estimate", "/v1/estimate", {"files": [{"width": 6, "height": 4}]}),
    ],
)
def test_an_error_at_the_edge_is_told_by_dialect(
    dialect: str, core: str, route: str, body: Any, world: World, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account(1)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(f"{dialect}.app.{core}", broken)
    assert world.post(route, body, key)[0] == 500
    (line,) = told.lines()
    assert line["ServerErrors"] == [1.0]
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"], ["service", "dialect"]]
    assert (line["dialect"], line["correlation_id"]) == (dialect, "test")


def test_a_record_that_fails_is_told(told: Told) -> None:
    def broken(body: str) -> None:
        raise OSError("no")

    record = {"messageId": "1", "body": "x", "eventSource": "aws:sqs", "receiptHandle": "r"}
    answer = events.each_record({"Records": [record]}, CONTEXT, broken)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert told.sums() == {"RecordsFailed": 1}


# ---------------------------------------------------------------- correlation


def started_with(world: World, header: str) -> tuple[str, str, list[Job]]:
    """The id in the answer, the account's key, and the jobs of the task."""
    key = world.account(5)
    upload = world.upload(key, png())
    file = {name: upload[name] for name in ("fileName", "fileType", "fileSize")}
    headers = {"content-type": "application/json", "x-request-id": header}
    answer = world.request("/start-task", json.dumps({"files": [file]}).encode(), headers, key)
    assert answer["statusCode"] == 200
    return answer["headers"]["X-Request-Id"], key, world.dispatch_all()


def test_the_callers_id_goes_with_the_file_to_its_end(world: World, lines: Lines) -> None:
    answered, _, (job,) = started_with(world, MINE)
    assert answered == job.correlation == MINE
    world.work(job, HICCUP)
    world.clock.forward(61)
    world.watchdog()
    world.clock.forward(1800)
    world.watchdog()
    world.clock.forward(30 * 86_400)
    cleanup.sweep(world.services)
    said = [line["message"] for line in lines() if line.get("correlation_id") == MINE and "message" in line]
    assert said == ["task started", "handed over", "attempt failed", "sent again", "file failed", "results deleted"]


def test_the_callers_id_goes_with_our_own_start_and_its_cancellation(world: World, lines: Lines) -> None:
    key = world.account(5)
    body = json.dumps({"files": [{"fileName": world.upload(key, png())["fileName"]}]}).encode()
    headers = {"content-type": "application/json", "x-request-id": MINE}
    answer = world.request("/v1/tasks", body, headers, key)
    (job,) = world.dispatch_all()
    assert answer["headers"]["X-Request-Id"] == job.correlation == MINE
    task = {"taskId": json.loads(answer["body"])["data"]["taskId"]}
    for route in ("cancel", "delete"):
        assert world.post(f"/v1/tasks/{route}", task, key)[0] == 200
    said = [line["message"] for line in lines() if line.get("correlation_id") == MINE and "message" in line]
    assert said == ["task started", "handed over", "task cancelled", "deleted by its owner"]


@pytest.mark.parametrize(
    "header", ["", "a b", "x" * 65, "a\n", "ü", "-first", "tsr_0123456789abcdef_" + "a" * 32, "whsec_" + "a" * 20]
)
def test_an_id_that_is_unfit_or_looks_like_a_secret_is_replaced(world: World, header: str) -> None:
    answered, _, (job,) = started_with(world, header)
    assert answered == job.correlation == "test"  # the gateway's


def test_what_one_record_was_about_is_not_said_of_the_next(world: World, lines: Lines) -> None:
    from on_upload.app import lambda_handler

    started_with(world, MINE)
    key = world.account(1)
    lines()
    upload = world.upload(key, png(), event=False)
    name = key_of(upload["uploadURL"])
    record = {"messageId": "1", "body": s3_message(name), "eventSource": "aws:sqs", "receiptHandle": "r"}
    assert lambda_handler({"Records": [record]}, CONTEXT) == {"batchItemFailures": []}
    (line,) = [line for line in lines() if line.get("message") == "uploaded"]
    assert "correlation_id" not in line and "task" not in line
