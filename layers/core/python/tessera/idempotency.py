"""`Idempotency-Key`: a request that is sent again gets its first answer, and does nothing twice.

A caller gives a key of its own making to a request that creates something. The first such request writes a row beside
what it creates; a later one with the same key and the same content is answered from that row, one with other content is
refused (as Stripe does it). Rows count for a day.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from boto3.dynamodb.conditions import Attr

from tessera.errors import IdempotencyConflict, Invalid
from tessera.settings import HOURS, SECONDS
from tessera.table import Item, Key, Update, due_shard

KEPT = 24 * HOURS
POSSIBLE_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Once:
    """One request as the caller means it: `digest` is of the route and of everything that was asked for."""

    key: Key
    digest: str

    def claim(self, now_ms: int, **created: Any) -> Update:
        """Remembers what the request has created; refused while another request's row counts."""
        ends = now_ms + KEPT
        return Update(
            self.key,
            Attr("pk").not_exists() | Attr("expires").lte(now_ms),
            set={"digest": self.digest, "expires": ends, "ttl": ends // SECONDS, **self._due(ends), **created},
        )

    def recall(self, row: Item | None, now_ms: int) -> Item | None:
        """What the first request has created, None where there was none. Raises IdempotencyConflict."""
        if row is None or row["expires"] <= now_ms:
            return None
        if row["digest"] != self.digest:
            raise IdempotencyConflict
        return row

    def _due(self, ends: int) -> dict[str, Any]:
        return {"due_pk": f"EXPIRES#{due_shard(self.key.sk)}", "due_ms": ends}


def once(account: str, header: str, route: str, content: Callable[[], Mapping[str, Any]]) -> Once | None:
    """None where the caller gave no key; `content`, plain JSON, is only asked for where one is. Raises Invalid."""
    if not header:
        return None
    if not POSSIBLE_KEY.fullmatch(header):
        raise Invalid("Idempotency-Key: 1 to 255 visible ASCII characters")
    name = hashlib.sha256(header.encode()).hexdigest()
    said = json.dumps([route, content()], sort_keys=True, ensure_ascii=True)
    return Once(Key(f"ACCOUNT#{account}", f"ONCE#{name}"), hashlib.sha256(said.encode()).hexdigest())
