"""`Ticker`: calls a function on its schedule, with the event that AWS sends. Times are UTC.

`next_time` reads rate(...) and cron(...); the cron letters L, W and # raise, they are not read.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from .deployment import Schedule
from .runtime import Runtime
from .template import TemplateError

RETRY_AFTER = (60, 120)  # seconds; Lambda's for asynchronous calls, unless the next tick comes first
UNITS = {"minute": 60, "hour": 3600, "day": 86_400}
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
LONGEST_SEARCH = timedelta(days=5 * 366)


def next_time(expression: str, after: datetime) -> datetime:
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        return after + timedelta(seconds=int(rate[1]) * UNITS[rate[2]])
    fields = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)", expression)
    if fields is None:
        raise TemplateError(f"unknown schedule {expression}")
    minutes, hours = _numbers(fields[1], 0, 59), _numbers(fields[2], 0, 23)
    days, months = _numbers(fields[3], 1, 31), _numbers(fields[4], 1, 12, MONTHS)
    weekdays, years = _numbers(fields[5], 1, 7, DAYS), _numbers(fields[6], 1970, 2199)
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while moment - after < LONGEST_SEARCH:
        weekday = moment.isoweekday() % 7 + 1  # AWS counts from Sunday = 1
        if not (moment.day in days and moment.month in months and weekday in weekdays and moment.year in years):
            moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
        elif moment.hour not in hours:
            moment = moment.replace(minute=0) + timedelta(hours=1)
        elif moment.minute not in minutes:
            moment += timedelta(minutes=1)
        else:
            return moment
    raise TemplateError(f"{expression} never comes")


def _numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    numbers: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, low, names)
            end = _number(last, low, names) if last else (high if step else start)
        if not low <= start <= end <= high or (step and not step.isdigit()):
            raise TemplateError(f"cannot read {field} in a schedule")
        numbers |= set(range(start, end + 1, int(step or 1)))
    return numbers


def _number(text: str, low: int, names: tuple[str, ...]) -> int:
    if text.upper() in names:
        return names.index(text.upper()) + low
    if not text.isdigit():
        raise TemplateError(f"cannot read {text} in a schedule")
    return int(text)


def event(schedule: Schedule, moment: datetime, account: str, region: str) -> bytes:
    if schedule.input is not None:
        return schedule.input.encode()
    body = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": schedule.source,
        "account": account,
        "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [schedule.arn],
        "detail": "{}" if schedule.source == "aws.scheduler" else {},
    }
    return json.dumps(body).encode()


class Ticker:
    def __init__(
        self, schedule: Schedule, account: str, region: str, runtime: Runtime, observe: Callable[[str], None]
    ) -> None:
        self.schedule = schedule
        self._account = account
        self._region = region
        self._runtime = runtime
        self._observe = observe
        self._stopped = threading.Event()
        self._running = threading.Event()
        self._running.set()
        next_time(schedule.expression, datetime.now(UTC))  # raises now, not in the thread
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """The ticks that come are left out."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def stop(self) -> None:
        self._stopped.set()

    def join(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def _loop(self) -> None:
        tick = next_time(self.schedule.expression, datetime.now(UTC))
        while not self._stopped.wait(max(0.0, (tick - datetime.now(UTC)).total_seconds())):
            following = next_time(self.schedule.expression, max(tick, datetime.now(UTC) - timedelta(seconds=1)))
            if self._running.is_set():
                self._call(tick, following)
            tick = following

    def _call(self, tick: datetime, following: datetime) -> None:
        payload = event(self.schedule, tick, self._account, self._region)
        for pause in (*RETRY_AFTER, None):
            result = self._runtime.invoke(self.schedule.function, payload)
            outcome = f" failed ({result.error})" if result.error is not None else ""
            what = f"schedule {self.schedule.expression} -> {self.schedule.function}"
            self._observe(f"{what} {result.seconds * 1000:,.0f} ms{outcome}")
            if result.error is None or pause is None:
                return
            if datetime.now(UTC) + timedelta(seconds=pause) >= following or self._stopped.wait(pause):
                return
