from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tessera.observability import about, logger

Lines = Callable[[], list[dict[str, Any]]]


class Printed:
    """The standard output of the moment: pytest has another one for each phase of a test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lines:
    """What was printed since the last look, log and metrics alike: one JSON object a line."""
    for handler in logger.handlers:
        monkeypatch.setattr(handler, "stream", Printed())
    about()
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
