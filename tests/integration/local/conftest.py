from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from infra.local.guard import Guard
from infra.local.server import Server
from tests.integration.local.support import KEYS, Storage


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    holder: list[Storage] = []
    guard = Guard(KEYS, clock=lambda: datetime.now(UTC) + holder[0].ahead)
    server = Server(guard)
    made = Storage(server.url, guard)
    holder.append(made)
    made.client("s3").create_bucket(Bucket="pictures")
    yield made
    for client in made.clients:
        client.close()
    server.close()
    guard.close()
