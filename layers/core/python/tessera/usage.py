"""Files by calendar month (UTC), beside the credits: counted at the start, less those that got no result.

    account's row: used_<year>-<month>, and `quota` where an operator has set one

A quota is a month's, does not roll over and begins anew on the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr, ConditionBase

from tessera.errors import NotFound, QuotaReached
from tessera.settings import SECONDS
from tessera.table import ConditionFailed, Item, Key, Update

if TYPE_CHECKING:
    from tessera.services import Services

PREFIX = "used_"


@dataclass(frozen=True)
class Usage:
    """Of one month. `reset`: when the next begins (ms). Without a quota the balance is what is left."""

    quota: int
    used: int
    reset: int

    @property
    def remaining(self) -> int:
        return max(0, self.quota - self.used)


def counter(ms: int) -> str:
    """The attribute that counts the month of this moment."""
    return f"{PREFIX}{datetime.fromtimestamp(ms / SECONDS, UTC):%Y-%m}"


def next_month(ms: int) -> int:
    """When the month after this moment's begins (ms)."""
    now = datetime.fromtimestamp(ms / SECONDS, UTC)
    first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()) * SECONDS


def room(quota: int | None, name: str, files: int) -> ConditionBase:
    """True on the row of an account that has this quota, and room for so many files in the month of `name`."""
    if quota is None:
        return Attr("quota").not_exists()
    unused = Attr(name).not_exists() & Attr("quota").gte(files)
    return Attr("quota").eq(quota) & (unused | Attr(name).lte(quota - files))


def require(row: Item, name: str, files: int) -> int | None:
    """The quota that a row has. Raises QuotaReached where it has no room for so many files."""
    quota: int | None = row.get("quota")
    if quota is not None and row.get(name, 0) + files > quota:
        raise QuotaReached(files, quota - row.get(name, 0))
    return quota


def of(row: Item, now_ms: int) -> Usage:
    used = row.get(counter(now_ms), 0)
    quota = row.get("quota")
    return Usage(used + row["balance"] if quota is None else quota, used, next_month(now_ms))


def set_quota(services: Services, key: Key, quota: int | None) -> None:
    """Of an account, by its row; None takes it away. Raises NotFound."""
    remove = ("quota",) if quota is None else ()
    try:
        services.table.update(Update(key, Attr("pk").exists(), set={"quota": quota}, remove=remove))
    except ConditionFailed as failed:
        raise NotFound from failed
