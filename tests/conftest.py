from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from moto import mock_aws

from infra.local.transactions import as_aws
from tests.world import REGION, World, make_world

# The real networks run on PyTorch, which the service does not need: `make test-torch` has an environment of its own.
collect_ignore = [] if find_spec("torch") else ["torch"]

# Clients made by a test must never find real credentials.
os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_DEFAULT_REGION=REGION)
os.environ["TESSERA_MODELS"] = os.devnull  # nor the models that somebody has pulled
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tessera")
os.environ.setdefault("POWERTOOLS_TRACE_DISABLED", "true")


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings of `world` that differ from their defaults; a test module overrides it."""
    return {}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> Iterator[World]:
    with mock_aws(), as_aws():
        yield make_world(monkeypatch, **settings)
