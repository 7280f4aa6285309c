"""The state machine of lifecycle.py: duplicates, late and lost events, dead workers. tests/crashlab fails each call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest
from tessera import accounts, ids, lifecycle, starts, tasks
from tessera.dispatch import FileRef
from tessera.errors import InsufficientCredits
from tessera.job import JobError, Outcome
from tessera.recipe import Encode, Recipe, Upscale
from tessera.table import Update

from tests.world import World, key_of, png

RECIPE = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png")))
CORRUPT = Outcome(
    status="failed", error=JobError(code="corrupt_image", message="The picture is damaged", retryable=False)
)
HICCUP = Outcome(status="failed", error=JobError(code="internal", message="Something broke", retryable=True))


def settled(world: World, key: str, granted: int) -> None:
    """At rest every credit is either on the balance or paid for a finished file."""
    who = accounts.check(world.services, accounts.credential(world.services, key)).account
    page = tasks.history(world.services, who, None, 100, lambda view: True)
    finished = sum(view.task.done for view in page.views)
    assert all(view.task.left == 0 for view in page.views)
    assert who.balance == granted - finished
    assert who.balance == sum(row["amount"] for row in world.ledger(key))


def started(world: World, credits: int = 5, files: int = 1) -> tuple[str, str]:
    key = world.account(credits)
    return key, world.start(key, *(world.upload(key, png()) for _ in range(files)))


def rows(world: World, task: str) -> list[dict[str, Any]]:
    return list(world.services.table.query_partition(f"TASK#{ids.from_uuid(task)}"))


# ---------------------------------------------------------------- events


def test_every_event_delivered_twice_changes_nothing_the_second_time(world: World) -> None:
    key, task = started(world)
    ref = FileRef(task=ids.from_uuid(task) or 0, nn=0)
    world.services.work.send([ref])
    (job,) = world.dispatch_all()
    result = world.work(job)
    after = rows(world, task)
    for _ in range(2):
        world.result_event(result)
        world.upload_event(key_of(job.source_url))
        lifecycle.dispatch(world.services, ref)
        world.watchdog()
    assert rows(world, task) == after
    assert world.dispatch_all() == []
    settled(world, key, 5)


def test_the_upload_event_after_the_start_sends_the_work_again_and_harms_nothing(world: World) -> None:
    key = world.account(5)
    upload = world.upload(key, png(), event=False)
    task = world.start(key, upload)
    (job,) = world.dispatch_all()
    world.upload_event(key_of(job.source_url))
    assert world.dispatch_all() == []
    world.work(job)
    assert world.status(key, task)["status"] == "completed"
    settled(world, key, 5)


def test_a_lost_upload_event_keeps_nobody_waiting(world: World) -> None:
    key = world.account(5)
    task = world.start(key, world.upload(key, png(), event=False))
    world.run()
    assert world.status(key, task)["status"] == "completed"


def test_a_lost_work_message_is_sent_again_by_the_watchdog(world: World) -> None:
    key, task = started(world)
    world.take(world.services.settings.work_queue_url)
    world.clock.forward(61)
    assert world.watchdog() == 1
    world.run()
    assert world.status(key, task)["status"] == "completed"


def test_a_lost_result_event_heals_within_two_minutes_without_a_second_run(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    world.work(job, event=False)
    world.clock.forward(61)
    world.watchdog()
    assert world.status(key, task)["status"] == "completed"
    assert world.dispatch_all() == []
    settled(world, key, 5)


def test_a_lost_failure_event_heals_too(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    world.work(job, CORRUPT, event=False)
    world.clock.forward(61)
    world.watchdog()
    assert world.status(key, task)["error"] == "The picture is damaged"
    settled(world, key, 5)


def test_a_late_result_of_a_superseded_attempt_changes_nothing(world: World) -> None:
    key, task = started(world)
    (first,) = world.dispatch_all()
    world.work(first, HICCUP)
    (second,) = world.dispatch_all()
    before = rows(world, task)
    world.work(first)
    assert rows(world, task) == before
    world.work(second)
    assert world.status(key, task)["files"][0]["path"] == key_of(second.result_url)
    settled(world, key, 5)


def test_a_result_after_the_refund_changes_nothing(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    world.clock.forward(1801)
    world.watchdog()
    assert world.status(key, task)["status"] == "failed"
    world.work(job)
    assert world.status(key, task)["status"] == "failed"
    settled(world, key, 5)


# ---------------------------------------------------------------- workers


def test_a_worker_that_dies_is_replaced_three_times_at_most_and_then_the_credit_goes_back(world: World) -> None:
    key, task = started(world)
    jobs = []
    for _ in range(3):
        (job,) = world.dispatch_all()
        jobs.append(job)
        world.clock.forward(world.services.settings.lease_seconds + 1)
        world.watchdog()
    assert [job.attempt for job in jobs] == [1, 2, 3]
    assert world.dispatch_all() == []
    status = world.status(key, task)
    assert (status["status"], status["deductedCredits"]) == ("failed", 0)
    settled(world, key, 5)


def test_a_worker_that_reports_keeps_its_file(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    world.clock.forward(world.services.settings.lease_seconds + 1)
    world.services.storage.write(key_of(job.report_url), b'{"progress": 0.5}')
    world.watchdog()
    assert world.dispatch_all() == []
    assert world.status(key, task)["progress"] == "50"


def test_a_job_that_still_waits_in_the_queue_keeps_its_file(world: World) -> None:
    key, _ = started(world, files=1)
    for body in world.take(world.services.settings.work_queue_url):
        lifecycle.dispatch(world.services, FileRef.model_validate_json(body))
    world.clock.forward(world.services.settings.lease_seconds + 1)
    world.watchdog()
    assert world.take(world.services.settings.work_queue_url) == []
    settled_balance = world.balance(key)
    assert settled_balance == 4


def test_a_failure_that_may_pass_is_tried_again_and_one_that_cannot_is_not(world: World) -> None:
    key, task = started(world, files=2)
    first, second = world.dispatch_all()
    world.work(first, HICCUP)
    world.work(second, CORRUPT)
    world.run()
    status = world.status(key, task)
    assert status["status"] == "completed"
    assert [file["status"] for file in status["files"]] == ["completed", "failed"]
    assert status["deductedCredits"] == 1
    settled(world, key, 5)


def test_an_outage_of_the_provider_is_no_attempt_at_the_picture(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key, task = started(world)
    (message,) = world.take(world.services.settings.work_queue_url)
    ref = FileRef.model_validate_json(message)
    with monkeypatch.context() as outage:
        outage.setattr(world.services.dispatcher, "spawn", fails)
        for _ in range(5):
            with pytest.raises(OSError, match="provider"):
                lifecycle.dispatch(world.services, ref)
    world.clock.forward(61)
    world.watchdog()
    world.run()
    assert world.status(key, task)["status"] == "completed"
    settled(world, key, 5)


def fails(*_: Any) -> Any:
    raise OSError("the provider is down")


def test_a_job_that_the_queue_gave_up_is_tried_again_at_once(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    for _ in range(2):  # the dead letter is read twice
        lifecycle.job_lost(world.services, job)
    (second,) = world.dispatch_all()
    assert second.attempt == 2
    lifecycle.job_lost(world.services, job)
    world.work(second)
    assert world.status(key, task)["status"] == "completed"


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b'{"progress": 2}', b'{"progress": 0.5, "new": 1}', b"\xff"])
def test_a_report_that_cannot_be_read_stops_nothing(world: World, written: bytes) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    world.services.storage.write(key_of(job.report_url), written)
    assert world.status(key, task)["status"] == "processing"
    result = world.work(job, event=False)
    world.services.storage.write(key_of(job.report_url), written)
    world.result_event(result)
    assert world.status(key, task)["status"] == "completed"
    settled(world, key, 5)


@pytest.mark.parametrize("written", [b"", b"null", b'{"status": "failed", "error": {"code": "new"}}'])
def test_a_failure_that_cannot_be_read_is_a_failure_all_the_same(world: World, written: bytes) -> None:
    key, _ = started(world)
    for _ in range(3):
        (job,) = world.dispatch_all()
        world.services.storage.write(key_of(job.failure_url), written)
        world.result_event(key_of(job.failure_url))
    assert world.balance(key) == 5


def test_an_outcome_without_times_is_taken(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    result = world.work(job, event=False)
    world.services.storage.write(key_of(job.report_url), b'{"progress": 1, "outcome": {"status": "done"}}')
    world.result_event(result)
    assert world.status(key, task)["status"] == "completed"


def test_a_duplicate_work_message_leaves_a_lease_that_ran_out_to_the_watchdog(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    world.work(job, event=False)
    world.clock.forward(world.services.settings.lease_seconds + 1)
    lifecycle.dispatch(world.services, FileRef(task=int(job.task), nn=0))
    assert world.take(world.services.settings.job_queue_url) == []
    world.watchdog()
    assert world.status(key, task)["files"][0]["path"] == key_of(job.result_url)


def test_a_result_whose_event_comes_late_is_promised_no_longer_than_it_is_kept(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    result = world.work(job, event=False)
    written = world.services.storage.head(result)
    assert written is not None
    world.clock.ms = written.modified_ms + 600_000
    world.result_event(result)
    retention = world.services.settings.result_retention_ms
    assert world.status(key, task)["files"][0]["expiresAt"] == written.modified_ms + retention


def test_one_file_that_cannot_be_looked_after_keeps_no_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account(5)
    tasks_made = [world.start(key, world.upload(key, png())) for _ in range(3)]
    world.take(world.services.settings.work_queue_url)
    world.clock.forward(61)
    real, broken = lifecycle.look_after, ids.from_uuid(tasks_made[1])

    def look_after(services: Any, ref: FileRef) -> None:
        if ref.task == broken:
            raise OSError
        real(services, ref)

    monkeypatch.setattr(lifecycle, "look_after", look_after)
    with pytest.raises(ExceptionGroup, match="1 of 3"):
        world.watchdog()
    assert len(world.dispatch_all()) == 2


def test_nothing_outlives_its_deadline(world: World) -> None:
    key, task = started(world, files=3)
    world.dispatch_all()
    world.clock.forward(world.services.settings.task_deadline_seconds + 1)
    world.watchdog()
    assert world.status(key, task)["status"] == "failed"
    settled(world, key, 5)


def test_progress_never_goes_back_when_a_file_is_tried_again(world: World) -> None:
    key, task = started(world)
    (job,) = world.dispatch_all()
    world.services.storage.write(key_of(job.report_url), b'{"progress": 0.7}')
    assert world.status(key, task)["progress"] == "70"
    world.work(job, HICCUP)
    world.dispatch_all()
    assert world.status(key, task)["progress"] == "70"


# ---------------------------------------------------------------- money


def test_g2_a_hundred_parallel_starts_with_credit_for_one_make_one_task_and_one_charge(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account(1)
    upload = world.upload(key, png())
    who = accounts.credential(world.services, key)

    def start(_: int) -> int | None:
        try:
            return starts.start(world.services, who, (starts.Wanted.of(upload["fileName"]),), RECIPE)
        except InsufficientCredits:
            return None

    lock = Lock()  # moto is not thread-safe; the guarded stack runs the same test without this lock
    real = world.services.table.client.transact_write_items

    def one_at_a_time(**items: Any) -> Any:
        with lock:
            return real(**items)

    monkeypatch.setattr(world.services.table.client, "transact_write_items", one_at_a_time)
    with ThreadPoolExecutor(16) as pool:
        accepted = [task for task in pool.map(start, range(100)) if task is not None]
    assert len(accepted) == 1
    assert world.balance(key) == 0
    world.run()
    settled(world, key, 1)


def test_a_start_whose_answer_was_lost_is_repeated_without_a_second_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account(3)
    upload = world.upload(key, png())
    real = world.services.table.client.transact_write_items

    def twice(**items: Any) -> Any:
        real(**items)
        return real(**items)

    monkeypatch.setattr(world.services.table.client, "transact_write_items", twice)
    who = accounts.credential(world.services, key)
    starts.start(world.services, who, (starts.Wanted.of(upload["fileName"]),), RECIPE)
    assert world.balance(key) == 2


def test_a_file_of_an_earlier_version_keeps_its_result_as_long_as_the_deployment_says(world: World) -> None:
    key = world.account()
    task = world.start(key, world.upload(key, png()))
    number = ids.from_uuid(task)
    assert number is not None
    world.services.table.update(Update(tasks.file_key(number, 0), remove=("retention",)))
    world.run()
    (file,) = world.status(key, task)["files"]
    ends = file["expiresAt"] - world.services.settings.result_retention_ms
    assert 0 <= world.clock.ms - ends < 60_000
