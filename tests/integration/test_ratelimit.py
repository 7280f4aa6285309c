from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest
from moto import mock_aws
from tessera import accounts
from tessera.errors import RateLimited

from infra.local.transactions import as_aws
from tests.world import World, make_world

LIMIT = 100  # of the strict profile


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with mock_aws(), as_aws():
        yield make_world(monkeypatch, limit_profile="strict")


def test_g23_a_limit_is_exact_however_many_calls_arrive_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the hour, which begins the count, among them."""
    who = accounts.credential(world.services, world.account())
    lock, real = Lock(), world.services.table.client.update_item

    def one_at_a_time(**write: Any) -> Any:
        with lock:  # moto is not thread-safe
            return real(**write)

    monkeypatch.setattr(world.services.table.client, "update_item", one_at_a_time)

    def accepted(_: int) -> bool:
        try:
            accounts.authenticate(world.services, who, "upload")
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(accepted, range(LIMIT + 50))) == LIMIT
