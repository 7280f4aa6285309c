from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract import letsenhance
from tests.contract.letsenhance import Pictures
from tests.contract.upscayl import Api
from tests.served import Served
from tests.world import World


@pytest.fixture
def api(world: World) -> Api:
    """A caller with 100 credits."""
    return Api(world, world.account(credits=100))


@pytest.fixture
def other(world: World) -> Api:
    """Another account's caller."""
    return Api(world, world.account(credits=100))


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    """On a server of this machine; a test that uses it lets `allowed_addresses` have it."""
    pictures = Pictures()
    with Served(pictures.answer) as server:
        pictures.url = server.url
        yield pictures


@pytest.fixture
def enhance(world: World, pictures: Pictures) -> letsenhance.Api:
    """A caller of Let's Enhance's dialect, with 100 credits."""
    return letsenhance.Api(world, pictures, world.account(credits=100))
