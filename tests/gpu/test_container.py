"""`Upscaler` in Modal's container runtime."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tessera.modal_dispatch import ModalDispatcher
from tessera_engine.catalogue import FILES

from infra.local.gpu.provider import Provider
from tests.gpu.conftest import TOKEN
from tests.gpu.test_dispatcher import job

PATIENCE = 60  # seconds; a bound for a hanging test, never a measure
NOBODY = "http://127.0.0.1:9/x?X-Amz-Signature=secret"


def run(provider: Provider, monkeypatch: pytest.MonkeyPatch, **links: str) -> str:
    """Spawns a job and waits for its end; what the container said."""
    for name, value in {**provider.environment, "MODAL_PAYLOAD_FORMAT": "cbor"}.items():
        monkeypatch.setenv(name, value)
    provider.deploy()
    call = provider.plane.calls[ModalDispatcher(lambda: TOKEN).spawn(job(**links))]
    until = time.monotonic() + PATIENCE
    while call.output is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    return call.output.result.exception + call.output.result.traceback + provider.logs()


def test_weights_with_a_wrong_byte_refuse_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(iter(FILES.values()))
    with (tmp_path / first.name).open("wb") as file:
        file.truncate(first.size)
    variables = {"TESSERA_STAND_IN": "refuse", "TESSERA_MODELS": str(tmp_path)}
    with Provider(tmp_path / "log", variables) as provider:
        said = run(provider, monkeypatch)
    assert f"{first.name} is not the file that the catalogue lists: its size or its SHA-256 differs" in said


def test_storage_that_is_lost_is_told_without_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Provider(tmp_path) as provider:
        said = run(provider, monkeypatch, source_url=NOBODY, report_url=NOBODY, failure_url=NOBODY)
        (call,) = provider.plane.calls.values()
    assert "no answer from storage" in said
    assert "Signature" not in said
    assert call.tries == 2  # Modal's one retry
