"""The whole service with Worker=modal: the Lambda code of the cloud, Modal's client, Modal's container runtime.

Containers and control plane die in the middle of a task, which is done and paid for once all the same. A dispatcher's
death heals after SPAWN_LEASE, for which test_lifecycle has a clock of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tessera.job import Limits
from tessera.modal_dispatch import ModalDispatcher
from tessera.recipe import Encode, Recipe, Upscale
from tessera_engine.pipeline import carry_out

from infra.local.gpu.provider import Provider
from infra.local.stack import Stack
from tests.e2e.conftest import PATIENCE, Session, session_of
from tests.gpu.conftest import TOKEN
from tests.world import encoded

PARAMETERS = {"Worker": "modal", "LeaseSeconds": "2"}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("containers")) as provider:
        provider.deploy()
        yield provider


@pytest.fixture(scope="module")
def stack(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("state")
    with Stack(state_dir=folder, parameters=PARAMETERS, api_key="test", variables=provider.environment) as stack:
        provider.keep_token(stack.client("secretsmanager"))
        yield stack


@pytest.fixture
def session(stack: Stack) -> Iterator[Session]:
    with httpx.Client(timeout=30, trust_env=False) as http:
        yield session_of(stack, http)


def noise(side: int) -> bytes:
    """A picture that nothing about it makes quick."""
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    return encoded(Image.fromarray(pixels))


def wait_for(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def under_way(provider: Provider, session: Session, task: str) -> str:
    """The call of a task whose container has reported."""
    wait_for(lambda: session.status(task)["status"] == "processing" and provider.running())
    return next(call.id for call in provider.plane.calls.values() if call.task and not call.output)


def watched(stack: Stack, session: Session, task: str) -> dict[str, Any]:
    return session.ended(task, meanwhile=lambda: stack.invoke("WatchdogFunction", {}))


def test_a_picture_is_the_one_that_the_engine_makes(stack: Stack, session: Session, provider: Provider) -> None:
    source = noise(48)
    status = watched(stack, session, session.start(session.upload(source), scale="4", saveImageAs="png"))
    assert (status["status"], status["deductedCredits"]) == ("completed", 1)
    recipe = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png")))
    limits = Limits(max_input_pixels=10**6, max_output_pixels=10**8)
    made = carry_out(recipe, source, limits, stand_in="allow", listener=lambda done: None)
    assert session.http.get(status["files"][0]["downloadLink"]).content == made.encoded


def test_no_link_is_in_any_log(stack: Stack, session: Session, provider: Provider) -> None:
    session.ended(session.start(session.upload(b"no picture at all")))
    watched(stack, session, session.start(session.upload(noise(16))))
    logs = provider.logs() + "".join(path.read_text() for path in stack.logs.glob("*.log"))
    assert "Signature" not in logs


def test_a_container_that_is_killed_is_replaced(stack: Stack, session: Session, provider: Provider) -> None:
    task = session.start(session.upload(noise(700)))
    call = under_way(provider, session, task)
    assert provider.kill()
    status = watched(stack, session, task)
    assert (status["status"], status["deductedCredits"]) == ("completed", 1)
    assert provider.plane.calls[call].tries == 2


def test_a_call_that_is_cancelled_is_followed_by_another(stack: Stack, session: Session, provider: Provider) -> None:
    task = session.start(session.upload(noise(450)), scale="8")
    call = under_way(provider, session, task)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in provider.environment.items():
            environment.setenv(name, value)
        ModalDispatcher(lambda: TOKEN).cancel(call)
    wait_for(lambda: provider.plane.calls[call].output)
    assert session.status(task)["status"] == "processing"
    status = watched(stack, session, task)
    assert (status["status"], status["deductedCredits"]) == ("completed", 1)


def test_a_result_needs_no_control_plane(stack: Stack, session: Session, provider: Provider) -> None:
    """The last test: after it nobody answers."""
    task = session.start(session.upload(noise(500)))
    under_way(provider, session, task)
    provider.plane.hang_up()
    status = session.ended(task)
    assert (status["status"], status["deductedCredits"]) == ("completed", 1)
    assert session.http.get(status["files"][0]["downloadLink"]).status_code == 200
