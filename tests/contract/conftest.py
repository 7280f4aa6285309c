from __future__ import annotations

import pytest

from tests.contract.upscayl import Api
from tests.world import World


@pytest.fixture
def api(world: World) -> Api:
    """A caller with 100 credits."""
    return Api(world, world.account(credits=100))


@pytest.fixture
def other(world: World) -> Api:
    """Another account's caller."""
    return Api(world, world.account(credits=100))
