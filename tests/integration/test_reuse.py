"""Repeats answered from storage: what counts as a repeat, and how each copy ends when something is lost or fails."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from tessera import accounts, cleanup, ids, lifecycle, tasks, uploads
from tessera.dispatch import FileRef
from tessera.job import Job, Outcome, Picture, Report
from tessera.storage import AttemptKey, upload_key

from infra import admin
from tests.integration.test_lifecycle import CORRUPT, HICCUP, settled
from tests.world import World, key_of, png

COPIES, EVENT = 10, 3  # AWS calls of a work message that is answered from storage, and of its result's event


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"engine": "layer:1"}


def start(world: World, key: str, body: bytes | None = None, **fields: Any) -> str:
    return world.start(key, world.upload(key, body or png()), **fields)


def finish(world: World, key: str, body: bytes | None = None, **fields: Any) -> str:
    """A task whose one file a worker has done."""
    task = start(world, key, body, **fields)
    (job,) = world.dispatch_all()
    world.work(job)
    return task


def repeat(world: World, key: str, body: bytes | None = None, **fields: Any) -> str:
    """A task that needs no worker."""
    task = start(world, key, body, **fields)
    assert world.dispatch_all() == []
    world.result_event(result_of(world, key, task))
    return task


def result_of(world: World, key: str, task: str, attempt: int = 1) -> str:
    account = accounts.credential(world.services, key).account
    return AttemptKey(account, ids.from_uuid(task) or 0, 0, attempt).key("results")


def later_than_s3(world: World) -> None:
    """Past the real clock, by which S3 dates objects."""
    world.clock.forward(2 * 3600)


def file_of(world: World, key: str, task: str) -> dict[str, Any]:
    status = world.status(key, task)
    assert status["status"] == "completed", status
    file: dict[str, Any] = status["files"][0]
    return file


def test_a_repeat_is_a_copy_with_the_same_facts_that_costs_the_same(world: World) -> None:
    key = world.account(5)
    first, second = finish(world, key), repeat(world, key)
    made, copied = file_of(world, key, first), file_of(world, key, second)
    assert (made["cache"], copied["cache"]) == ("miss", "hit")
    for fact in ("dimensions", "finalFileSize", "engineModel", "standIn", "notes"):
        assert made[fact] == copied[fact]
    assert made["path"] != copied["path"]
    for link in ("downloadLink", "thumbnailLink"):
        original, copy = (world.services.storage.read(key_of(file[link])) for file in (made, copied))
        assert original is not None
        assert original == copy
    assert world.balance(key) == 3
    settled(world, key, 5)


def test_a_first_time_costs_dispatch_two_small_calls_and_completion_none(world: World) -> None:
    key = world.account()
    start(world, key)
    with world.counted() as calls:
        (job,) = world.dispatch_all()
    assert calls == ["GetItem", "GetItem", "UpdateItem", "GetItem", "PutItem", "SendMessage", "UpdateItem"]
    result = world.work(job, event=False)
    with world.counted() as calls:
        world.result_event(result)
    assert calls == ["GetObject", "GetObject", "TransactWriteItems"]


@pytest.mark.parametrize(
    "other",
    [{"scale": "2"}, {"saveImageAs": "webp"}, {"model": "digital-art-4x"}, {"enhanceFace": True}, {"body": png(7, 4)}],
)
def test_another_recipe_or_other_bytes_are_no_repeat(world: World, other: dict[str, Any]) -> None:
    key = world.account()
    finish(world, key)
    task = finish(world, key, **other)
    assert file_of(world, key, task)["cache"] == "miss"


@pytest.mark.parametrize("change", [{"engine": "layer:2"}, {"stand_in": "refuse"}, {"engine": ""}, {"reuse": False}])
def test_another_engine_or_setting_makes_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    key = world.account()
    finish(world, key)
    changed = world.services.settings.model_copy(update=change)
    monkeypatch.setitem(world.services.__dict__, "settings", changed)
    finish(world, key)


def test_what_stood_in_is_shown_again_only_where_the_engine_says_what_is_installed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = world.services.settings.model_copy(update={"worker": "elsewhere"})
    monkeypatch.setitem(world.services.__dict__, "settings", elsewhere)
    key = world.account()
    finish(world, key)
    task = start(world, key)
    (job,) = world.dispatch_all()  # made by a stand-in: not again
    result = world.work(job, event=False)
    real = Outcome(status="done", model="realesrgan-x4plus")
    world.services.storage.write(key_of(job.report_url), Report(progress=1, outcome=real).model_dump_json().encode())
    world.result_event(result)
    assert not file_of(world, key, task)["standIn"]
    assert file_of(world, key, repeat(world, key))["cache"] == "hit"


def test_sup_09_facts_are_kept_and_go_with_a_copy(world: World) -> None:
    key = world.account()
    task = start(world, key)
    (job,) = world.dispatch_all()
    result = world.work(job, event=False)
    facts = Picture(
        format="png",
        width=8,
        height=6,
        bytes=99,
        sha1="0" * 40,
        colorspace="gray",
        depth=16,
        interlaced=True,
        alpha=False,
    )
    told = Outcome(status="done", source=facts, result=facts.model_copy(update={"format": "jpeg", "quality": 92}))
    world.services.storage.write(key_of(job.report_url), Report(progress=1, outcome=told).model_dump_json().encode())
    world.result_event(result)
    for done in (task, repeat(world, key)):
        (file,) = tasks.get(
            world.services, accounts.credential(world.services, key).account, ids.from_uuid(done) or 0
        ).files
        assert (file.source, file.result) == (told.source, told.result)


def test_another_account_is_never_shown_a_result(world: World) -> None:
    """G10."""
    finish(world, world.account())
    finish(world, world.account())


def test_an_account_can_differ_from_the_deployment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def operator(*words: str) -> None:
        admin.run(world.services, admin.parser().parse_args(["--stack", "x", "reuse", key, *words]), {})

    key = world.account()
    finish(world, key)
    operator("off")
    finish(world, key)
    off = world.services.settings.model_copy(update={"reuse": False})
    monkeypatch.setitem(world.services.__dict__, "settings", off)
    operator("on")
    repeat(world, key)


def test_the_uploads_pinned_bytes_count_not_what_lies_there_now(world: World) -> None:
    key = world.account()
    finish(world, key)
    upload = world.upload(key, png(9, 9))
    world.start(key, upload)
    account = accounts.credential(world.services, key).account
    world.services.storage.write(upload_key(account, uploads.upload_id(upload["fileName"])), png())
    assert len(world.dispatch_all()) == 1  # whose If-Match the worker will find broken


# ---------------------------------------------------------------- one after the other


def test_a_copy_outlives_its_original_and_is_copied_in_turn(world: World) -> None:
    key = world.account()
    later_than_s3(world)
    first = finish(world, key)
    world.clock.forward(80_000)
    second = repeat(world, key)
    assert file_of(world, key, second)["expiresAt"] >= file_of(world, key, first)["expiresAt"]
    world.clock.forward(1800 + 6400 + 61)
    assert cleanup.sweep(world.services)["tasks"] == 1
    assert world.services.storage.head(result_of(world, key, first)) is None
    assert world.services.storage.head(result_of(world, key, second)) is not None
    assert file_of(world, key, repeat(world, key))["cache"] == "hit"


def test_an_expired_result_is_not_copied_though_it_still_lies_there(world: World) -> None:
    key = world.account()
    task = finish(world, key)
    world.clock.forward(86_400 + 1)
    assert world.services.storage.head(result_of(world, key, task)) is not None
    finish(world, key)


def test_the_row_goes_with_what_it_names(world: World) -> None:
    key = world.account()
    finish(world, key)
    account = f"ACCOUNT#{accounts.credential(world.services, key).account}"

    def rows() -> int:
        return sum(row["sk"].startswith("REUSE#") for row in world.services.table.query_partition(account))

    assert rows() == 1
    world.clock.forward(world.services.settings.result_retention_seconds + 120)
    cleanup.sweep(world.services)
    assert rows() == 0


@pytest.mark.parametrize("kind", ["results", "reports"])
def test_a_result_that_was_deleted_is_made_again_and_that_one_is_reused(world: World, kind: str) -> None:
    key = world.account()
    task = finish(world, key)
    result = result_of(world, key, task)
    suffix = ".json" if kind == "reports" else ""
    world.services.storage.delete_many([result.replace("results", kind) + suffix])
    assert file_of(world, key, finish(world, key))["cache"] == "miss"
    repeat(world, key)
    settled(world, key, 100)


def test_repeats_while_the_first_is_at_work_run_and_do_not_take_its_place(world: World) -> None:
    key = world.account()
    start(world, key)
    (slow,) = world.dispatch_all()
    start(world, key)
    (beside,) = world.dispatch_all()
    world.work(slow)
    repeat(world, key)
    world.work(beside)
    settled(world, key, 100)


def test_a_failure_is_not_reused_and_loses_its_place(world: World) -> None:
    key = world.account()
    failed = start(world, key)
    (job,) = world.dispatch_all()
    world.work(job, CORRUPT)
    assert world.status(key, failed)["status"] == "failed"
    finish(world, key)
    repeat(world, key)
    settled(world, key, 100)


def test_the_attempt_that_succeeds_is_the_one_that_is_reused(world: World) -> None:
    key = world.account()
    start(world, key)
    (first,) = world.dispatch_all()
    world.work(first, HICCUP)
    (second,) = world.dispatch_all()
    world.work(second)
    repeat(world, key)


# ---------------------------------------------------------------- what is lost, doubled or broken


def test_every_message_twice_changes_nothing(world: World) -> None:
    key = world.account(5)
    finish(world, key)
    task = repeat(world, key)
    number = ids.from_uuid(task) or 0
    after = world.services.table.query_partition(f"TASK#{number}")
    for _ in range(2):
        lifecycle.dispatch(world.services, FileRef(task=number, nn=0))
        world.result_event(result_of(world, key, task))
        world.watchdog()
    assert world.services.table.query_partition(f"TASK#{number}") == after
    settled(world, key, 5)


def test_a_lost_event_of_a_copy_heals_without_a_worker(world: World) -> None:
    key = world.account(5)
    finish(world, key)
    task = start(world, key)
    assert world.dispatch_all() == []
    world.clock.forward(61)
    world.watchdog()
    assert file_of(world, key, task)["cache"] == "hit"
    settled(world, key, 5)


def test_a_copy_that_is_no_picture_is_followed_by_a_worker(world: World) -> None:
    key = world.account(5)
    original = finish(world, key)
    world.services.storage.write(result_of(world, key, original), b"damaged on its way")
    task = start(world, key)
    assert world.dispatch_all() == []
    world.result_event(result_of(world, key, task))
    (job,) = world.dispatch_all()
    assert job.attempt == 2
    world.work(job)
    assert file_of(world, key, task)["cache"] == "miss"
    repeat(world, key)
    settled(world, key, 5)


def test_a_copy_that_fails_costs_a_run_at_once_and_no_attempt(world: World) -> None:
    key = world.account(5)
    finish(world, key)
    task = start(world, key)

    def fault(_: int, operation: str, when: str) -> None:
        if operation == "CopyObject":
            raise EndpointConnectionError(endpoint_url=operation)

    world.fault = fault
    (job,) = world.dispatch_all()
    world.fault = None
    assert job.attempt == 1
    world.work(job)
    assert file_of(world, key, task)["cache"] == "miss"
    settled(world, key, 5)


def test_a_job_that_was_handed_over_without_an_answer_does_not_copy_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.account(5)
    task = start(world, key)
    real = world.services.dispatcher.spawn

    def unanswered(job: Job) -> str:
        real(job)
        raise OSError("no answer")

    (message,) = world.take(world.services.settings.work_queue_url)
    with monkeypatch.context() as outage:
        outage.setattr(world.services.dispatcher, "spawn", unanswered)
        with pytest.raises(OSError, match="no answer"):
            lifecycle.dispatch(world.services, FileRef.model_validate_json(message))
    (job,) = world.dispatch_all()
    world.work(job, event=False)
    with world.counted() as calls:
        lifecycle.dispatch(world.services, FileRef.model_validate_json(message))
    assert "CopyObject" not in calls
    (again,) = world.dispatch_all()
    world.result_event(key_of(again.result_url))
    assert file_of(world, key, task)["cache"] == "miss"
    settled(world, key, 5)


def test_a_repeat_costs_so_many_calls(world: World) -> None:
    key = world.account()
    finish(world, key)
    task = start(world, key)
    with world.counted() as calls:
        world.dispatch_all()
        world.result_event(result_of(world, key, task))
    assert len(calls) == COPIES + EVENT, calls
