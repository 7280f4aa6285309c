"""A month's quota: exact, given back for what has failed, and new on the first."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tessera import accounts, usage
from tessera.accounts import Account
from tessera.errors import NotFound

from tests.crashlab.pictures import NO_PICTURE
from tests.world import World, png


def ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc,arg-type]


@pytest.fixture
def key(world: World) -> str:
    """In the middle of a month, so that no test meets its end by chance."""
    world.clock.ms = ms(2026, 11, 15)
    return world.account(credits=10)


def account(world: World, key: str) -> Account:
    return accounts.check(world.services, accounts.credential(world.services, key)).account


def limit(world: World, key: str, quota: int | None) -> None:
    usage.set_quota(world.services, accounts.account_key(accounts.credential(world.services, key).account), quota)


def start(world: World, key: str, *pictures: bytes, event: bool = True) -> int:
    uploads = [world.upload(key, picture, event=event) for picture in pictures]
    files = [{name: data[name] for name in ("fileName", "fileType", "fileSize")} for data in uploads]
    return world.post("/start-task", {"files": files}, key)[0]


def test_le_32_months_end_at_midnight_utc() -> None:
    assert usage.next_month(ms(2026, 12, 31, 23, 59)) == ms(2027, 1, 1) == usage.next_month(ms(2026, 12, 1))
    assert usage.counter(ms(2026, 1, 31, 23, 59, 59)) == "used_2026-01" and usage.counter(ms(2026, 2, 1))[-2:] == "02"


def test_le_32_a_quota_blocks_when_it_is_reached_and_a_start_is_counted_whole_or_not_at_all(
    world: World, key: str
) -> None:
    limit(world, key, 3)
    assert start(world, key, png(), png()) == 200
    assert start(world, key, png(), png()) == 402  # room for one
    assert start(world, key, png()) == 200
    assert start(world, key, png()) == 402
    assert account(world, key).month(world.clock.ms) == usage.Usage(quota=3, used=3, reset=ms(2026, 12, 1))
    assert world.balance(key) == 7


def test_le_32_unused_files_do_not_roll_over_and_the_count_begins_anew_on_the_first(world: World, key: str) -> None:
    limit(world, key, 2)
    assert start(world, key, png()) == 200
    world.clock.ms = ms(2026, 12, 1)
    told = account(world, key).month(world.clock.ms)
    assert (told.used, told.remaining, told.reset) == (0, 2, ms(2027, 1, 1))
    assert start(world, key, png(), png(), png()) == 402
    assert start(world, key, png(), png()) == 200


def test_le_33_what_fails_is_not_counted_in_the_month_in_which_it_was_started(world: World, key: str) -> None:
    world.clock.ms = ms(2026, 10, 31, 23, 59, 50)  # objects are dated by the real clock, and not yet old then
    assert start(world, key, png(), NO_PICTURE) == 200  # known to be no picture: never counted
    assert account(world, key).used == {"used_2026-10": 1}
    assert start(world, key, NO_PICTURE, event=False) == 200
    assert account(world, key).used == {"used_2026-10": 2}
    world.clock.forward(60)
    for entry in world.services.storage.modified("uploads/"):
        world.upload_event(entry[0])
    assert account(world, key).used["used_2026-10"] == 1


def test_without_a_quota_the_balance_is_what_is_left(world: World, key: str) -> None:
    limit(world, key, 1)
    limit(world, key, None)
    assert start(world, key, png(), png()) == 200
    told = account(world, key).month(world.clock.ms)
    assert (told.quota, told.used, told.remaining) == (10, 2, 8)
    with pytest.raises(NotFound):
        usage.set_quota(world.services, accounts.account_key("0" * 16), 5)
