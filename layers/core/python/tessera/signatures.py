"""The secret with which an account's webhooks are signed, by the rules of Standard Webhooks.

It is made when it is first needed. A new one leaves the old one valid for KEPT, in which a webhook carries a signature
by each, so that a receiver may change over at any time of it.
"""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict
from standardwebhooks.webhooks import Webhook

from tessera.errors import RateLimited
from tessera.settings import HOURS, SECONDS
from tessera.table import ConditionFailed, Item, Key, Put, Update

if TYPE_CHECKING:
    from tessera.services import Services

KEPT = 24 * HOURS
SECRET_BYTES = 24  # Standard Webhooks: 24 to 64
MAX_SECRETS = 8  # valid at once: each is a signature in a header
RACES = 8


class Secret(BaseModel):
    """`until`: when an old one ends (ms), None for the one that is shown."""

    model_config = ConfigDict(frozen=True)

    text: str
    until: int | None = None


def valid(services: Services, account: str) -> tuple[Secret, ...]:
    """The newest first; made where there is none yet."""
    key = _key(account)
    row = services.table.get(key) or _first(services, key)
    return _valid(row, services.now_ms())


def rotate(services: Services, account: str) -> tuple[Secret, ...]:
    """A new secret before those that are valid, of which the one before is so for KEPT from now on.

    Raises RateLimited beyond MAX_SECRETS.
    """
    key, made = _key(account), _new()
    row = services.table.get(key) or _first(services, key)
    for _ in range(RACES):
        now_ms = services.now_ms()
        first, *older = before = _valid(row, now_ms)
        if first.text == made:
            return before  # written by a call whose answer was lost
        if len(before) == MAX_SECRETS:
            ends = min(secret.until or 0 for secret in older)
            raise RateLimited(-(-(ends - now_ms) // SECONDS))
        after = (Secret(text=made), Secret(text=first.text, until=now_ms + KEPT), *older)
        changed = {"secrets": [secret.model_dump(exclude_none=True) for secret in after]}
        try:
            services.table.update(Update(key, Attr("secrets").eq(row["secrets"]), set=changed))
            return after
        except ConditionFailed as failed:
            row = failed.item or _first(services, key)
    raise RateLimited(1)  # others changed it every time


def headers(valid: tuple[Secret, ...], message: str, now_ms: int, body: str) -> dict[str, str]:
    """Of one attempt at a webhook."""
    at = datetime.fromtimestamp(now_ms // SECONDS, UTC)
    signed = " ".join(Webhook(secret.text).sign(message, at, body) for secret in valid)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(now_ms // SECONDS),
        "webhook-signature": signed,
    }


def _first(services: Services, key: Key) -> Item:
    row = key.as_item() | {"secrets": [{"text": _new()}]}
    try:
        services.table.put(Put(row, new=True))
    except ConditionFailed as failed:
        return failed.item or row
    return row


def _valid(row: Item, now_ms: int) -> tuple[Secret, ...]:
    found = map(Secret.model_validate, row["secrets"])
    return tuple(secret for secret in found if secret.until is None or secret.until > now_ms)


def _new() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def _key(account: str) -> Key:
    return Key(f"ACCOUNT#{account}", "SIGNING")
