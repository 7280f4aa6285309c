from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import boto3
import pytest

from infra.local.transactions import as_aws
from tests import world as worlds
from tests.contract.upscayl import Api
from tests.world import REGION, World

template = cache(worlds.template)
session = cache(partial(boto3.Session, "testing", "testing", region_name=REGION))


@pytest.fixture(autouse=True)
def quick_worlds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Half of what a world costs is reading the service models and the template again, and moto's own transactions
    copy the whole table."""
    monkeypatch.setattr(worlds.boto3, "Session", lambda *_, **__: session())
    monkeypatch.setattr(worlds, "template", template)
    with as_aws():
        yield


@pytest.fixture
def api(world: World) -> Api:
    """A caller with 100 credits."""
    return Api(world, world.account(credits=100))


@pytest.fixture
def other(world: World) -> Api:
    """Another account's caller."""
    return Api(world, world.account(credits=100))
