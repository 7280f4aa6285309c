"""Let's Enhance's webhooks, told to a real server on this machine by a clock that is ours: LE-29, LE-30, C-19."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tessera.settings import MINUTES

from tests.contract.letsenhance import Api, checked
from tests.receiver import Receiver, receiving
from tests.world import World


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.clock = world.clock
        yield receiver


def hour(world: World) -> None:
    for _ in range(60):
        world.tell(60)
        world.watchdog()


def test_le_29_c_19_the_end_is_told_once_in_the_words_of_a_get(enhance: Api, world: World, receiver: Receiver) -> None:
    number = enhance.submit(notify_url=receiver.url("/path/to/webhook"))
    world.tell(60)
    assert receiver.got == []
    world.run()
    world.tell()
    shown = enhance.shown(number)
    hour(world)
    (got,) = receiver.got
    assert got.path == "/path/to/webhook"
    checked(got.json)
    assert got.json == shown
    assert (got.json["pipeline"]["id"], got.json["status"]) == (number, "DONE")
    assert enhance.download(got.json["results"][0]["output_object"]["tmp_url"])


def test_le_29_an_error_is_told_too(enhance: Api, world: World, receiver: Receiver) -> None:
    enhance.submit("/nothing.jpg", notify_url=receiver.url())
    world.run()
    hour(world)
    (got,) = receiver.got
    assert (got.json["status"], got.json["pipeline"]["errors"]) == (
        "ERROR",
        ["nothing.jpg: The picture's server answered 404"],
    )


def test_le_29_of_several_pictures_the_last_one_tells_of_all(enhance: Api, world: World, receiver: Receiver) -> None:
    enhance.submit(*["/burger.jpg"] * 3, notify_url=receiver.url())
    world.run()
    hour(world)
    (got,) = receiver.got
    assert len(got.json["results"]) == 3


def test_le_30_attempts_at_0_3_9_and_19_minutes_no_fifth_and_then_only_polling(
    enhance: Api, world: World, receiver: Receiver
) -> None:
    receiver.answers = [400, 404, 500, 503]
    number = enhance.submit(notify_url=receiver.url())
    world.run()
    ended = world.clock.ms
    hour(world)
    assert [at - ended for at in receiver.times] == [0, 3 * MINUTES, 9 * MINUTES, 19 * MINUTES]
    assert enhance.pipeline(number)["status"] == "DONE"


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_le_30_none_follows_the_one_that_was_taken(
    enhance: Api, world: World, receiver: Receiver, failures: int
) -> None:
    receiver.answers = [*[500] * failures, 200, 500]
    enhance.submit(notify_url=receiver.url())
    world.run()
    hour(world)
    assert len(receiver.got) == failures + 1


def test_le_29_nobody_is_told_where_nobody_asked(enhance: Api, world: World, receiver: Receiver) -> None:
    enhance.done()
    hour(world)
    assert receiver.got == []
