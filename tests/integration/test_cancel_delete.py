"""Cancelling and deleting at each state of a task, twice, and beside everything else that moves files on."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from tessera import accounts, cleanup, deletion, ids, lifecycle
from tessera.dispatch import FileRef
from tessera.errors import NotFound
from tessera.storage import AttemptKey

from tests.world import InjectedFaultError, World, key_of, png

LAST = 13  # AWS calls of a deletion of two files, the cancellation included


def started(world: World, files: int = 1, credits: int = 5) -> tuple[str, str]:
    key = world.account(credits)
    return key, world.start(key, *(world.upload(key, png(6 + n, 4)) for n in range(files)))


def number(task: str) -> int:
    found = ids.from_uuid(task)
    assert found is not None
    return found


def account_of(world: World, key: str) -> str:
    return accounts.credential(world.services, key).account


def cancel(world: World, key: str, task: str) -> str:
    return lifecycle.cancel(world.services, account_of(world, key), number(task)).state


def delete(world: World, key: str, task: str) -> int:
    return deletion.delete(world.services, account_of(world, key), number(task))


def objects(world: World, prefix: str = "") -> list[str]:
    listed = world.services.storage.client.list_objects_v2(Bucket="tessera-test", Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def rows(world: World, task: str) -> list[dict[str, Any]]:
    return list(world.services.table.query_partition(f"TASK#{number(task)}"))


def accounted(world: World, key: str, balance: int) -> None:
    assert world.balance(key) == balance == sum(row["amount"] for row in world.ledger(key))


# ---------------------------------------------------------------- cancel


def test_a_queued_task_is_cancelled_and_paid_back_once(world: World) -> None:
    key, task = started(world, files=3)
    assert cancel(world, key, task) == cancel(world, key, task) == "cancelled"
    accounted(world, key, 5)
    assert world.dispatch_all() == []  # its work messages claim nothing
    status = world.status(key, task)
    assert (status["status"], status["progress"], status["deductedCredits"]) == ("failed", "100", 0)
    assert [file["error"] for file in status["files"]] == ["Cancelled"] * 3
    world.clock.forward(61)
    assert world.watchdog() == 0


def test_a_late_result_of_a_cancelled_file_changes_nothing_visible(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    cancel(world, key, task)
    before = world.status(key, task)
    world.work(job)
    world.clock.forward(61)
    world.watchdog()
    assert world.status(key, task) == before
    assert "downloadLink" not in before["files"][0]
    accounted(world, key, 5)


def test_files_that_have_ended_stay_as_they_are(world: World) -> None:
    key, task = started(world, files=3)
    jobs = world.dispatch_all()
    world.work(jobs[0])
    assert cancel(world, key, task) == "partially_cancelled"
    status = world.status(key, task)
    assert status["status"] == "completed"
    assert [file["status"] for file in status["files"]] == ["completed", "failed", "failed"]
    assert status["deductedCredits"] == 1
    accounted(world, key, 4)


def test_a_finished_task_is_not_cancelled(world: World) -> None:
    key, task = started(world)
    world.run()
    before = rows(world, task)
    assert cancel(world, key, task) == "completed"
    assert rows(world, task) == before
    accounted(world, key, 4)


def test_a_file_that_ends_while_it_is_cancelled_stays_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key, task = started(world, files=2)
    first, _ = world.dispatch_all()
    real = world.services.table.transact

    def ends_first(*writes: Any) -> None:
        monkeypatch.setattr(type(world.services.table), "transact", lambda self, *more: real(*more))
        world.work(first)
        real(*writes)

    monkeypatch.setattr(type(world.services.table), "transact", lambda self, *writes: ends_first(*writes))
    assert cancel(world, key, task) == "partially_cancelled"
    assert [file["status"] for file in world.status(key, task)["files"]] == ["completed", "failed"]
    accounted(world, key, 4)


def test_the_call_of_a_cancelled_file_is_ended_by_the_watchdog_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, task = started(world)
    world.dispatch_all()
    ended: list[str] = []
    monkeypatch.setattr(world.services.dispatcher, "cancel", ended.append)
    cancel(world, key, task)
    assert ended == []
    for _ in range(2):
        world.clock.forward(61)
        world.watchdog()
    assert len(ended) == 1


def test_a_provider_that_cannot_be_reached_is_asked_again_to_end_a_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, task = started(world)
    world.dispatch_all()
    cancel(world, key, task)

    def unreachable(call: str) -> None:
        raise OSError(call)

    with monkeypatch.context() as outage:
        outage.setattr(world.services.dispatcher, "cancel", unreachable)
        with pytest.raises(ExceptionGroup):
            world.watchdog()
    assert world.watchdog() == 1
    assert world.watchdog() == 0


def test_a_call_handed_over_while_its_file_is_cancelled_is_ended_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, task = started(world)
    ended: list[str] = []

    def spawn(job: Any) -> str:
        cancel(world, key, task)
        return "call"

    monkeypatch.setattr(world.services.dispatcher, "spawn", spawn)
    monkeypatch.setattr(world.services.dispatcher, "cancel", ended.append)
    (message,) = world.take(world.services.settings.work_queue_url)
    lifecycle.dispatch(world.services, FileRef.model_validate_json(message))
    assert ended == ["call"]
    accounted(world, key, 5)


# ---------------------------------------------------------------- delete


def test_a_deleted_task_has_nothing_behind_it_and_stays_in_the_history(world: World) -> None:
    key, task = started(world, files=2)
    world.run()
    link = world.status(key, task)["files"][0]["downloadLink"]
    assert world.services.storage.head(key_of(link)) is not None
    assert delete(world, key, task) == 2
    assert objects(world) == []
    assert delete(world, key, task) == 0
    status = world.status(key, task)
    assert (status["status"], status["deductedCredits"]) == ("completed", 2)
    assert status["deletedAt"] == world.clock.ms
    assert not any("downloadLink" in file for file in status["files"])
    assert world.post("/get-upscayl-history", {}, key)[1]["pagination"]["total"] == 1
    account = account_of(world, key)
    uploads = [row for row in world.services.table.query_partition(f"ACCOUNT#{account}") if "UPLOAD#" in row["sk"]]
    assert uploads == []
    accounted(world, key, 3)


def test_an_open_task_is_cancelled_before_and_what_its_worker_still_writes_is_swept(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    assert delete(world, key, task) == 0
    accounted(world, key, 5)
    world.services.storage.write(key_of(job.result_url), png())  # its links are good until the deadline
    world.result_event(key_of(job.result_url))
    assert objects(world)
    world.clock.forward(world.services.settings.task_deadline_seconds + 61)
    cleanup.sweep(world.services)
    assert objects(world) == []
    assert world.status(key, task)["status"] == "failed"


def test_an_upload_that_another_task_uses_is_kept_until_that_is_deleted_too(world: World) -> None:
    key = world.account(5)
    upload = world.upload(key, png())
    first, second = world.start(key, upload), world.start(key, upload, scale="2")
    delete(world, key, first)
    delete(world, key, first)
    assert len(objects(world, "uploads/")) == 1
    world.run()
    assert world.status(key, second)["status"] == "completed"
    delete(world, key, second)
    assert objects(world) == []
    files = [{name: upload[name] for name in ("fileName", "fileType", "fileSize")}]
    assert world.post("/start-task", {"files": files}, key)[0] == 400


def test_an_upload_whose_event_has_not_come_is_counted_as_well(world: World) -> None:
    key = world.account(5)
    upload = world.upload(key, png(), event=False)
    first, second = world.start(key, upload), world.start(key, upload)
    delete(world, key, first)
    assert len(objects(world, "uploads/")) == 1
    delete(world, key, second)
    assert objects(world, "uploads/") == []
    world.upload_event(f"uploads/{account_of(world, key)}/{'0' * 32}")


def test_a_repeat_is_not_answered_from_what_was_deleted(world: World) -> None:
    key = world.account(5)
    upload = world.upload(key, png())
    first, kept = world.start(key, upload), world.start(key, upload, scale="2")
    world.run()
    delete(world, key, first)
    again = world.start(key, upload)
    world.run()
    assert world.status(key, again)["files"][0]["cache"] == "miss"
    assert "downloadLink" in world.status(key, kept)["files"][0]


def test_an_expired_task_is_deleted_without_harm_and_forgotten_in_time(world: World) -> None:
    key, task = started(world)
    world.run()
    world.clock.forward(86_400 + 1800 + 61)
    cleanup.sweep(world.services)
    assert delete(world, key, task) == 0
    cleanup.sweep(world.services)
    world.clock.forward(world.services.settings.history_retention_days * 86_400)
    cleanup.sweep(world.services)
    assert world.post("/get-upscayl-history", {}, key)[1]["pagination"]["total"] == 0


@pytest.mark.parametrize("act", [cancel, delete])
def test_a_foreign_task_is_not_touched(world: World, act: Any) -> None:
    key, task = started(world)
    stranger = world.account(1)
    with pytest.raises(NotFound):
        act(world, stranger, task)
    world.run()
    assert world.status(key, task)["status"] == "completed"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", range(1, LAST + 1))
def test_a_deletion_that_is_cut_anywhere_is_made_good_by_asking_again(world: World, call: int, moment: str) -> None:
    key, task = started(world, files=2)
    jobs = world.dispatch_all()
    world.work(jobs[0])
    other = world.start(key, world.upload(key, png(9, 9)))
    first = len(world.calls)

    def fault(made: int, operation: str, when: str) -> None:
        if made == first + call and when == moment:
            world.fault = None
            raise InjectedFaultError(operation) if call % 2 else EndpointConnectionError(endpoint_url=operation)

    world.fault = fault
    with pytest.raises((InjectedFaultError, EndpointConnectionError)):
        delete(world, key, task)
    world.fault = None
    delete(world, key, task)
    at = AttemptKey(account_of(world, key), number(task), 0, 1)
    assert world.services.storage.head(at.key("results")) is None
    assert len(objects(world, "uploads/")) == 1
    assert world.status(key, task)["deletedAt"]
    world.run()
    assert world.status(key, other)["status"] == "completed"
    accounted(world, key, 3)


def test_a_deletion_makes_as_many_calls_as_are_cut_in_turn(world: World) -> None:
    key, task = started(world, files=2)
    world.work(world.dispatch_all()[0])
    with world.counted() as calls:
        delete(world, key, task)
    assert len(calls) == LAST, calls
