"""Fixed windows of one clock hour per key and kind of call, kept on the account's row.

One conditional write both checks and counts, so a limit is exact however many calls arrive at once. A `Window` is that
write's part for one call; where the row still carries an earlier hour, `fresh` starts the count anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from tessera.settings import HOURS, SECONDS


@dataclass(frozen=True)
class Window:
    hour: int
    limit: int
    hour_name: str
    count_name: str
    fresh: bool = False

    @classmethod
    def of(cls, kind: str, key_hash: str, limit: int, now_ms: int) -> Window:
        prefix = f"calls_{kind}_{key_hash[:12]}"
        return cls(now_ms // HOURS, limit, f"{prefix}_hour", f"{prefix}_count")

    def when(self) -> ConditionBase:
        if self.fresh:
            return Attr(self.hour_name).not_exists() | Attr(self.hour_name).lt(self.hour)
        return Attr(self.hour_name).eq(self.hour) & Attr(self.count_name).lt(self.limit)

    def set(self) -> dict[str, Any]:
        return {self.hour_name: self.hour, self.count_name: 1} if self.fresh else {}

    def add(self) -> dict[str, Any]:
        return {} if self.fresh else {self.count_name: 1}

    def spent(self, row: dict[str, Any]) -> bool:
        return bool(row.get(self.hour_name, -1) >= self.hour and row.get(self.count_name, 0) >= self.limit)

    def for_row(self, row: dict[str, Any]) -> Window:
        """The window whose write fits the row as it is. A row that is an hour ahead (clocks differ) sets the hour."""
        counted = row.get(self.hour_name, -1)
        hour = max(self.hour, counted)
        return replace(self, hour=hour, fresh=counted < hour)

    def retry_after(self, now_ms: int) -> int:
        """Seconds until the hour is over, at least 1."""
        return max(1, -(-((self.hour + 1) * HOURS - now_ms) // SECONDS))
