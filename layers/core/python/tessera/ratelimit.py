"""Fixed windows of time per key and kind of call, kept on the account's row.

One conditional write both checks and counts, so a limit is exact however many calls arrive at once. A `Window` is that
write's part for one call; where the row still carries an earlier window, `fresh` starts the count anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from boto3.dynamodb.conditions import Attr, ConditionBase

from tessera.settings import SECONDS, Limit


class Allowance(NamedTuple):
    """What is left to a key in this window, and when the next begins (s)."""

    limit: int
    remaining: int
    reset: int


@dataclass(frozen=True)
class Window:
    """`turn`: the window's number since the Unix epoch."""

    turn: int
    limit: Limit
    turn_name: str
    count_name: str
    fresh: bool = False

    @classmethod
    def of(cls, kind: str, key_hash: str, limit: Limit, now_ms: int) -> Window:
        prefix = f"calls_{kind}_{key_hash[:12]}"
        return cls(now_ms // limit.interval_ms, limit, f"{prefix}_turn", f"{prefix}_count")

    def when(self) -> ConditionBase:
        if self.fresh:
            return Attr(self.turn_name).not_exists() | Attr(self.turn_name).lt(self.turn)
        return Attr(self.turn_name).eq(self.turn) & Attr(self.count_name).lt(self.limit.calls)

    def set(self) -> dict[str, Any]:
        return {self.turn_name: self.turn, self.count_name: 1} if self.fresh else {}

    def add(self) -> dict[str, Any]:
        return {} if self.fresh else {self.count_name: 1}

    def spent(self, row: dict[str, Any]) -> bool:
        return bool(row.get(self.turn_name, -1) >= self.turn and row.get(self.count_name, 0) >= self.limit.calls)

    def for_row(self, row: dict[str, Any]) -> Window:
        """The window whose write fits the row as it is. A row that is a window ahead (clocks differ) sets it."""
        counted = row.get(self.turn_name, -1)
        turn = max(self.turn, counted)
        return replace(self, turn=turn, fresh=counted < turn)

    def retry_after(self, now_ms: int) -> int:
        """Seconds until the window is over, at least 1."""
        return max(1, -(-((self.turn + 1) * self.limit.interval_ms - now_ms) // SECONDS))

    def allowance(self, row: dict[str, Any], now_ms: int) -> Allowance:
        """By the row as it is after this call was counted."""
        counted = row.get(self.count_name, 0) if row.get(self.turn_name) == self.turn else 0
        return Allowance(self.limit.calls, max(0, self.limit.calls - counted), self.retry_after(now_ms))
