"""G15, G19: what cleanup costs, what a kill at any call leaves behind, and two sweepers at once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from tessera import accounts, cleanup, ids, uploads
from tessera.settings import DAYS, HOURS
from tessera.table import DUE_SHARDS, Item

from infra.local import multiparts
from tests.integration.crowd import living, put, task_rows, upload_row
from tests.world import World, key_of, png

DAY = 86_400  # seconds
WITHOUT_ROW = {"ListObjectsV2": 1, "ListMultipartUploads": 1}  # where nothing is left over
A_PAGE_EACH = {"Query": DUE_SHARDS}


class Killed(BaseException):
    """Not even a handler of all exceptions runs after it."""


def cost(world: World) -> dict[str, int]:
    with world.counted() as calls:
        cleanup.sweep(world.services)
    return dict(Counter(calls))


# ---------------------------------------------------------------- cost


def test_g15_the_cost_is_the_same_beside_a_hundred_and_ten_thousand_living_rows(world: World) -> None:
    now_ms, costs = world.clock.ms, []
    put(world.services, living(world.clock.ms, 100))
    for base in (0, 1000):
        put(world.services, [upload_row(base + number, now_ms - HOURS) for number in range(60)])
        put(
            world.services,
            [row for number in range(60) for row in task_rows(base + number, now_ms - DAYS, now_ms - HOURS)],
        )
        costs.append(cost(world))
        put(world.services, living(world.clock.ms, 10_000))
    assert costs[0] == costs[1]
    objects = {"DeleteObjects": 1 + 1}  # 60 uploads; 60 files of 12 possible objects
    rows = {"BatchWriteItem": 3, "TransactWriteItems": 1}  # 60 uploads in 25s; 60 tasks
    assert costs[0] == A_PAGE_EACH | WITHOUT_ROW | objects | rows


@pytest.mark.parametrize(("count", "deletes", "writes"), [(0, 0, 0), (1, 1, 1), (1000, 1, 40), (2500, 3, 100)])
def test_g19_objects_go_by_the_thousand_and_rows_by_25(world: World, count: int, deletes: int, writes: int) -> None:
    put(world.services, [upload_row(number, world.clock.ms - HOURS) for number in range(count)])
    expected = A_PAGE_EACH | WITHOUT_ROW | {"DeleteObjects": deletes, "BatchWriteItem": writes}
    assert cost(world) == {name: calls for name, calls in expected.items() if calls}
    assert cost(world) == A_PAGE_EACH | WITHOUT_ROW


def test_g19_more_than_a_page_of_every_shard_goes_in_one_round(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessera.table.DUE_PAGE", 10)
    put(world.services, [upload_row(number, world.clock.ms - HOURS) for number in range(200)])
    assert cleanup.sweep(world.services)["uploads"] == 200


def test_tasks_leave_the_history_together(world: World) -> None:
    key = world.account()
    account = accounts.credential(world.services, key).account
    made = [world.start(key, world.upload(key, png()), saveImageAs="png") for _ in range(3)]
    world.run()
    world.clock.forward(2 * DAY)
    cleanup.sweep(world.services)
    world.clock.forward(90 * DAY)
    calls = cost(world)
    assert (calls["TransactWriteItems"], calls["BatchWriteItem"]) == (1, 2)  # files, then tasks
    assert accounts.find(world.services, account).tasks == 0  # type: ignore[union-attr]
    assert not any(world.services.table.query_partition(f"TASK#{ids.from_uuid(task)}") for task in made)


# ---------------------------------------------------------------- kills, and company


class Estate:
    """One of everything that a sweep may end, all of it over."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.key = world.account()
        self.account = accounts.credential(world.services, self.key).account
        self.forgotten = self._done()
        world.clock.forward(2 * DAY)
        cleanup.sweep(world.services)  # its results; its row is due again with the history's end
        world.clock.forward(89 * DAY)
        self.kept = self._done()
        world.upload(self.key, png())
        world.upload(self.key, png(), event=False)
        wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": 9}
        assert world.post("/get-upload-url", wish | {"multipart": True}, self.key)[0] == 200
        once = {"content-type": "application/json", "idempotency-key": "k"}
        assert world.request("/get-upload-url", json.dumps(wish).encode(), once, self.key)["statusCode"] == 200
        world.clock.forward(2 * DAY + 7200)  # not a whole number of turns of the slots

    def _done(self) -> str:
        task = self.world.start(self.key, self.world.upload(self.key, png()))
        self.world.run()
        return task

    def assert_settled(self) -> None:
        client = self.world.services.storage.client
        assert "Contents" not in client.list_objects_v2(Bucket="tessera-test")
        assert "Uploads" not in client.list_multipart_uploads(Bucket="tessera-test")
        rows = self.world.services.table.query_partition(f"ACCOUNT#{self.account}")
        assert {row["sk"].partition("#")[0] for row in rows} == {"ACCOUNT", "CREDIT"}
        assert accounts.find(self.world.services, self.account).tasks == 1  # type: ignore[union-attr]
        assert self._rows(self.forgotten) == []
        assert [row["sk"] for row in self._rows(self.kept)] == ["FILE#00", "TASK"]
        assert self.world.status(self.key, self.kept)["status"] == "completed"
        with self.world.counted() as calls:
            assert not any(cleanup.sweep(self.world.services).values())
        assert dict(Counter(calls)) == A_PAGE_EACH | WITHOUT_ROW

    def _rows(self, task: str) -> list[Item]:
        return list(self.world.services.table.query_partition(f"TASK#{ids.from_uuid(task)}"))


def interrupted(world: World, at: int, act: Callable[[], object]) -> bool:
    """A sweep during which `act` is done right after one call; False where it has fewer calls."""
    first, reached = len(world.calls), []

    def fault(number: int, operation: str, moment: str) -> None:
        if (number - first, moment) == (at, "after"):
            reached.append(operation)
            world.fault = None
            act()

    world.fault = fault
    try:
        cleanup.sweep(world.services)
    except Killed:
        pass
    finally:
        world.fault = None
    return bool(reached)


def kill() -> None:
    raise Killed


def test_g19_a_sweeper_that_is_killed_at_any_call_is_followed_by_one_that_ends_it(world: World) -> None:
    with multiparts.as_aws():
        at = 1
        while True:
            estate = Estate(world)
            if not interrupted(world, at, kill):
                break
            cleanup.sweep(world.services)
            estate.assert_settled()
            at += 2  # the crash lab kills the sweeper of its flows at every place
        estate.assert_settled()
    assert at > 20


def test_g19_a_second_sweeper_between_any_two_calls_of_the_first_does_no_harm(world: World) -> None:
    with multiparts.as_aws():
        at = 1
        while True:
            estate = Estate(world)
            second = interrupted(world, at, lambda: cleanup.sweep(world.services))
            estate.assert_settled()
            if not second:
                break
            at += 2
    assert at > 20


# ---------------------------------------------------------------- uploads whose event never comes


def objects(world: World) -> list[str]:
    listed = world.services.storage.client.list_objects_v2(Bucket="tessera-test")
    return [entry["Key"] for entry in listed.get("Contents", [])]


def as_old_as_its_link(world: World) -> None:
    """S3 dates objects by the real clock, links are issued by the test's: brings the two together."""
    world.clock.ms = max(world.clock.ms, time.time_ns() // 1_000_000)


def test_g15_an_upload_whose_event_is_lost_is_gone_within_an_hour_of_its_end(world: World) -> None:
    key = world.account()
    as_old_as_its_link(world)
    world.upload(key, png(), event=False)
    expiry = world.clock.ms + world.services.settings.upload_ttl_ms
    while objects(world):
        assert world.clock.ms <= expiry + HOURS, "still there"
        world.clock.forward(300)
        cleanup.sweep(world.services)
    assert world.clock.ms > expiry


def test_g15_an_upload_that_a_row_keeps_is_left_to_the_row(world: World) -> None:
    """Its event came two hours late, and a task has started with it since."""
    key = world.account(5)
    as_old_as_its_link(world)
    upload = world.upload(key, png(), event=False)
    world.clock.forward(110 * 60)
    world.upload_event(key_of(upload["uploadURL"]))
    task = world.start(key, upload)
    for _ in range(4):
        world.clock.forward(300)
        assert cleanup.sweep(world.services)["strays"] == 0
    world.run()
    assert world.status(key, task)["status"] == "completed"


@pytest.mark.parametrize("ttl", [5, 3600, 43_200])
def test_no_link_that_is_good_was_issued_in_a_slot_that_is_over(world: World, ttl: int) -> None:
    services = replace(world.services, settings=world.services.settings.model_copy(update={"upload_ttl_seconds": ttl}))
    issued: list[tuple[int, str]] = []
    for _ in range(400):
        world.clock.forward(max(300, ttl / 10))
        issued.append((world.clock.ms, uploads.new_name(services, "a.png")[0]))
        before = world.clock.ms - services.settings.upload_ttl_ms
        over = uploads.slots_over(services, before)
        assert not [slot for at, slot in issued if at >= before and slot in over]
        assert len(over) >= 8
