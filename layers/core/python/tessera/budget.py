"""The operator's hand on what costs money by the second: a pause, and how many jobs may be handed over in a day.

    OPERATOR | GPU    paused, cap, day (UTC), jobs

`jobs` counts what was handed over on `day`, or may have been. One conditional write checks the pause and the cap and
counts, so that no number of dispatchers at once gets past either.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict

from tessera.dispatch import Dispatcher, NotNow, Refused
from tessera.errors import Invalid
from tessera.job import Job, JobError
from tessera.table import ConditionFailed, Key, Table, Update

KEY = Key("OPERATOR", "GPU")
JOBS_A_DAY = 1000  # until an operator says otherwise
RACES = 8  # lost in a row before a job is left for later

RUNNING = Attr("paused").not_exists() | Attr("paused").eq(False)


class Budget(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    paused: bool = False
    cap: int = JOBS_A_DAY
    day: str = ""
    jobs: int = 0


def read(table: Table, now_ms: int) -> Budget:
    """As it stands today: yesterday's jobs count no more."""
    budget = Budget.model_validate(table.get(KEY) or {})
    today = day_of(now_ms)
    return budget if budget.day == today else budget.model_copy(update={"day": today, "jobs": 0})


def pause(table: Table, paused: bool) -> None:
    """Nothing more is handed over while it is paused. What is under way goes on."""
    table.update(Update(KEY, set={"paused": paused}))


def set_cap(table: Table, jobs: int) -> None:
    """Acts on the next job, today's count included. Raises Invalid for a negative number."""
    if jobs < 0:
        raise Invalid("a cap is 0 or more jobs a day")
    table.update(Update(KEY, set={"cap": jobs}))


def take(table: Table, now_ms: int) -> str:
    """Counts one job and returns the day that it counts for. Raises NotNow when paused or used up."""
    today = day_of(now_ms)
    for _ in range(RACES):
        try:
            table.update(Update(KEY, RUNNING & Attr("day").eq(today) & Attr("jobs").lt(Attr("cap")), add={"jobs": 1}))
            return today
        except ConditionFailed as failed:
            budget = Budget.model_validate(failed.item or {})
        today = max(today, budget.day)  # another's clock may be ahead: a day that has begun does not end again
        spent = budget.jobs if budget.day == today else 0
        if budget.paused:
            raise NotNow("paused by the operator")
        if spent >= budget.cap:
            raise NotNow(f"the day's {budget.cap} jobs are used up")
        if budget.day != today and _begin(table, budget, today):
            return today
    raise NotNow("the day's count is being written by others")


def give_back(table: Table, day: str) -> None:
    """A job that was counted and is known not to have been taken."""
    try:
        table.update(Update(KEY, Attr("day").eq(day) & Attr("jobs").gt(0), add={"jobs": -1}))
    except ConditionFailed:
        return  # that day is over


def _begin(table: Table, budget: Budget, today: str) -> bool:
    """Today's first job; False where another's was faster, or the operator has changed something."""
    same_day = Attr("day").eq(budget.day) if budget.day else Attr("day").not_exists()
    same_cap = Attr("cap").eq(budget.cap) | Attr("cap").not_exists()
    first = Update(KEY, RUNNING & same_day & same_cap, set={"day": today, "jobs": 1}, set_once={"cap": budget.cap})
    try:
        table.update(first)
    except ConditionFailed:
        return False
    return True


def day_of(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()


class Metered:
    """A dispatcher that hands over no more than the budget allows."""

    def __init__(self, inner: Dispatcher, table: Table, now_ms: Callable[[], int]) -> None:
        self.inner = inner
        self.table = table
        self.now_ms = now_ms

    def spawn(self, job: Job) -> str:
        day = take(self.table, self.now_ms())
        try:
            return self.inner.spawn(job)
        except (NotNow, Refused):
            give_back(self.table, day)
            raise

    def ended(self, call: str, began: bool) -> JobError | None:
        return self.inner.ended(call, began)

    def cancel(self, call: str) -> None:
        self.inner.cancel(call)
