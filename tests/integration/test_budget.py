"""G28: the pause and the daily cap on what costs money by the second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import pytest
from tessera import budget
from tessera.dispatch import NotNow, OutcomeUnknown, Refused
from tessera.job import Job, JobError

from tests.integration.conftest import Lines
from tests.world import World

DAY = 24 * 3600


class Provider:
    """Takes each job, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def spawn(self, job: Job) -> str:
        if self.error:
            raise self.error
        return "call"

    def ended(self, call: str, began: bool) -> JobError | None:
        return None

    def cancel(self, call: str) -> None:
        pass


def take(world: World) -> str:
    return budget.take(world.services.table, world.clock.ms)


def jobs(world: World) -> int:
    return budget.read(world.services.table, world.clock.ms).jobs


def test_no_more_than_the_cap_and_again_the_next_day(world: World) -> None:
    budget.set_cap(world.services.table, 2)
    assert take(world) == take(world) == budget.day_of(world.clock.ms)
    with pytest.raises(NotNow, match="2 jobs"):
        take(world)
    world.clock.forward(DAY)
    assert jobs(world) == 0
    take(world)
    assert jobs(world) == 1


def test_the_first_job_of_all_needs_no_preparation(world: World) -> None:
    take(world)
    assert budget.read(world.services.table, world.clock.ms) == budget.Budget(day=budget.day_of(world.clock.ms), jobs=1)


def test_a_cap_of_none_takes_none(world: World) -> None:
    budget.set_cap(world.services.table, 0)
    with pytest.raises(NotNow):
        take(world)
    assert jobs(world) == 0


def test_a_pause_holds_until_it_ends_over_midnight_too(world: World) -> None:
    take(world)
    budget.pause(world.services.table, True)
    for _ in range(2):
        with pytest.raises(NotNow, match="paused"):
            take(world)
        world.clock.forward(DAY)
    budget.pause(world.services.table, False)
    take(world)
    assert jobs(world) == 1


def test_a_clock_that_is_behind_counts_in_the_day_that_has_begun(world: World) -> None:
    budget.set_cap(world.services.table, 2)
    world.clock.forward(DAY)
    ahead = take(world)
    world.clock.forward(-DAY)
    assert take(world) == ahead
    with pytest.raises(NotNow):
        take(world)


def test_a_hundred_at_once_get_past_neither_cap_nor_midnight(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    budget.set_cap(world.services.table, 17)
    take(world)
    world.clock.forward(DAY)
    lock, real = Lock(), world.services.table.client.update_item

    def one_at_a_time(**write: object) -> object:
        with lock:  # moto is not thread-safe
            return real(**write)

    monkeypatch.setattr(world.services.table.client, "update_item", one_at_a_time)

    def taken(_: int) -> bool:
        try:
            take(world)
        except NotNow:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(taken, range(100))) == 17
    assert jobs(world) == 17


@pytest.mark.parametrize(("error", "counted"), [(NotNow("x"), 0), (Refused("x"), 0), (OutcomeUnknown("x"), 1)])
def test_what_was_not_taken_is_not_counted_and_what_may_have_been_is(
    world: World, error: Exception, counted: int
) -> None:
    metered = budget.Metered(Provider(error), world.services.table, world.clock)
    with pytest.raises(type(error)):
        metered.spawn(None)  # type: ignore[arg-type]
    assert jobs(world) == counted


def test_what_is_given_back_after_midnight_changes_no_other_day(world: World) -> None:
    day = take(world)
    world.clock.forward(DAY)
    take(world)
    budget.give_back(world.services.table, day)
    assert jobs(world) == 1


def test_the_share_of_the_cap_is_told_with_each_job_and_when_it_is_used_up(world: World, lines: Lines) -> None:
    budget.set_cap(world.services.table, 4)
    shares = []
    for _ in range(5):
        try:
            budget.take(world.services.table, world.clock.ms)
        except NotNow:
            shares.append("not now")
        shares += [line["SpendShare"] for line in lines() if "SpendShare" in line]
    assert shares == [[25.0], [50.0], [75.0], [100.0], "not now", [100.0]]
    budget.set_cap(world.services.table, 0)
    with pytest.raises(NotNow):
        budget.take(world.services.table, world.clock.ms)
    assert [line["SpendShare"] for line in lines()] == [[100.0]]
