"""When to try again, and waiting that a cancel ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tessera_client.errors import Cancelled, TesseraError

T = TypeVar("T")

RETRY_DELAYS = (0.5, 1.0, 2.0)  # seconds before the second, third and fourth try


class Pace:
    """Shared by all threads of one client: after `cancel`, every pause and every check raises `Cancelled`."""

    def __init__(self, sleep: Callable[[float], object] | None = None) -> None:
        self._cancelled = threading.Event()
        self._sleep = sleep or self._cancelled.wait

    def cancel(self) -> None:
        self._cancelled.set()

    def check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("cancelled")

    def pause(self, seconds: float) -> None:
        self.check()
        self._sleep(seconds)
        self.check()

    def retry(self, action: Callable[[], T], wait_after: Callable[[TesseraError, float], float | None]) -> T:
        """Run the action up to four times. `wait_after(error, delay)` says how long to wait, or None to give up."""
        for delay in RETRY_DELAYS:
            try:
                return action()
            except TesseraError as error:
                seconds = wait_after(error, delay)
                if seconds is None:
                    raise
            self.pause(seconds)
        return action()


def parse_retry_after(value: str | None) -> float | None:
    """Seconds from now; the header holds seconds or an HTTP date. None where it is absent or unreadable."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
