from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tessera_client import Client
from tessera_client.cli import main
from tessera_client.terminal import Terminal

from tests.unit.client.fake_server import API, JPEG, KEY, FakeServer


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def connect(server: FakeServer, time: FakeTime, tmp_path: Path) -> Callable[..., Client]:
    return partial(
        Client,
        transport=server.transport(),
        cache_dir=tmp_path / "cache",
        multipart_from=1000,
        sleep=time.sleep,
        clock=time.clock,
        now=lambda: 1_000_000.0,
    )


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect(API, KEY)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    place = tmp_path / "photo.jpg"
    place.write_bytes(JPEG)
    return place


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def tessera(connect: Callable[..., Client]) -> Callable[..., Ran]:
    def run(*argv: object, **environ: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        environ = {"TESSERA_URL": API, "TESSERA_KEY": KEY, **environ}
        code = main([str(word) for word in argv], environ=environ, connect=connect, terminal=Terminal(out, err))
        return Ran(code, out.getvalue(), err.getvalue())

    return run
