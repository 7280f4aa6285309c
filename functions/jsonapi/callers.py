"""Who calls, and whether the same was asked before: two headers of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tessera import accounts, http, idempotency
from tessera.accounts import Caller, Credential
from tessera.errors import IdempotencyConflict, Refused
from tessera.idempotency import Once
from tessera.services import Services


def credential(services: Services, event: Mapping[str, Any]) -> Credential:
    """Raises Unauthorized."""
    return accounts.credential(services, http.header(event, "x-api-key"))


def authenticated(services: Services, event: Mapping[str, Any], kind: str) -> Caller:
    """Raises Unauthorized or RateLimited."""
    return accounts.authenticate(services, credential(services, event), kind)


def once(account: str, event: Mapping[str, Any], route: str, content: Callable[[], dict[str, Any]]) -> Once | None:
    """Raises Invalid for an Idempotency-Key that cannot be one."""
    return idempotency.once(account, http.header(event, "idempotency-key"), route, content)


@contextmanager
def starting(services: Services, who: Credential) -> Iterator[None]:
    """A start's transaction checks the key and counts the call; what it did not write has to do so for its own sake."""
    try:
        yield
    except (Refused, IdempotencyConflict):
        accounts.authenticate(services, who, "start")
        raise
