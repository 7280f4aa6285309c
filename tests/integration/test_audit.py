"""The books are checked as they are: a wrong row is found, a service at work raises no false alarm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from boto3.dynamodb.conditions import Attr
from tessera import accounts, audit, ids
from tessera.job import JobError, Outcome
from tessera.table import Key, Update

from tests.integration.conftest import Lines
from tests.world import World, png

FAILED = Outcome(status="failed", error=JobError(code="corrupt_image", message="no", retryable=False))


def no_pause(seconds: float) -> None:
    pass


def account_of(world: World, key: str) -> str:
    return accounts.credential(world.services, key).account


def busy(world: World) -> tuple[str, str]:
    """An account with a finished, a failed and an open file; its id and the task that is open."""
    key = world.account(9)
    world.start(key, world.upload(key, png()))
    world.run()
    world.start(key, world.upload(key, png(7, 5)))
    (job,) = world.dispatch_all()
    world.work(job, FAILED)
    task = world.start(key, *(world.upload(key, png(8, side)) for side in (6, 7)))
    return account_of(world, key), task


def test_right_books_are_found_right(world: World) -> None:
    busy(world)
    world.account(0)
    found = audit.audit(world.services, no_pause)
    assert found == audit.Audit(2, {}, ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"balance": 1}, "balance 7, ledger 6"),
        ({"balance": -7}, "balance -1 is below 0"),
        ({"granted": 2}, "granted 11, ledger 9"),
    ],
)
def test_a_wrong_account_is_found(world: World, change: dict[str, int], said: str) -> None:
    account, _ = busy(world)
    world.services.table.update(Update(accounts.account_key(account), add=change))
    found = audit.audit(world.services, no_pause)
    assert said in found.mismatches[account]


def test_a_lost_ledger_row_and_credits_held_for_nothing_are_found(world: World) -> None:
    account, task = busy(world)
    number = ids.from_uuid(task)
    world.services.table.delete_many([Key(f"TASK#{number}", "TASK")])
    assert audit.check(world.services, account, no_pause) == (f"task {number}: 2 held, 0 for open files",)
    world.services.table.delete_many([Key(f"ACCOUNT#{account}", f"CREDIT#{number}#hold")])
    assert audit.check(world.services, account, no_pause) == ("balance 6, ledger 8",)


def test_a_mismatch_raises_the_metric_and_a_line_without_a_key(world: World, lines: Lines) -> None:
    key = world.account(3)
    account = account_of(world, key)
    world.services.table.update(Update(accounts.account_key(account), add={"balance": -1}))
    audit.tell(audit.audit(world.services, no_pause))
    said = lines()
    assert [line["LedgerMismatch"] for line in said if "LedgerMismatch" in line] == [[1.0]]
    (line,) = [line for line in said if line.get("message") == "ledger mismatch"]
    assert (line["account"], line["wrong"]) == (account, ["balance 2, ledger 3"])
    assert key not in str(said)


@contextmanager
def at_work(world: World, key: str) -> Iterator[None]:
    """Tasks are started and their files fail, as fast as they can, while the block runs.

    One lock around every call makes moto's transactions whole to those who read, as the one-machine stack's guard does.
    """
    stop, whole = threading.Event(), threading.Lock()
    for client in (world.services.table.client, world.services.storage.client, world.services.work.client):
        client.meta.events.register("before-call.*.*", lambda **_: whole.acquire() and None)
        client.meta.events.register("after-call.*.*", lambda **_: whole.release())
    uploads = [world.upload(key, png(6, side)) for side in range(4, 8)]

    def run() -> None:
        while not stop.is_set():
            world.start(key, *uploads)
            for job in world.dispatch_all():
                world.work(job, FAILED)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_service_at_work_raises_no_false_alarm(world: World) -> None:
    key = world.account(50)
    account = account_of(world, key)
    with at_work(world, key):
        for _ in range(15):
            assert not audit.check(world.services, account, no_pause)
    assert audit.check(world.services, account, no_pause) == ()


def test_a_transaction_seen_in_half_is_looked_at_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads that are no transaction may find one row of a transaction before the other."""
    account, _ = busy(world)
    half = Update(accounts.account_key(account), Attr("pk").exists(), add={"balance": 1})
    world.services.table.update(half)

    def rest(seconds: float) -> None:
        world.services.table.update(Update(accounts.account_key(account), add={"balance": -1}))

    assert audit.check(world.services, account, rest) == ()


def test_an_account_that_never_stands_still_is_not_judged(world: World) -> None:
    from tessera import credits

    account, _ = busy(world)
    world.services.table.update(Update(accounts.account_key(account), add={"balance": 1}))

    def moves(seconds: float) -> None:
        world.clock.forward(1)
        credits.grant(world.services, account, 1)

    assert audit.check(world.services, account, moves) is None
