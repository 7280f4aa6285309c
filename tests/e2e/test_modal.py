"""The whole service with Worker=modal: the Lambda code of the cloud, Modal's client, Modal's container runtime.

Containers die at each of their steps, the control plane in the middle of a task, which is done and paid for once all
the same. `tests/gpu` has the like for each call of dispatcher, watchdog and client, with a clock of its own: a
dispatcher's death heals after SPAWN_LEASE.
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
from infra.local.guard import Guard
from infra.local.server import Answer, Request
from infra.local.stack import Stack
from tests.e2e.conftest import PATIENCE, Session, session_of
from tests.gpu.conftest import TOKEN
from tests.world import encoded

PARAMETERS = {"Worker": "modal", "LeaseSeconds": "2"}
STEPS = ("PUT reports", "GET uploads", "PUT thumbnails", "PUT reports", "PUT results")  # of a container, in order


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


@pytest.fixture
def strike(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str, int], list[str]]:
    """`strike(number, moment, deaths)`: containers are killed when one makes its step of that number, before or after
    it is carried out, so often. What is returned grows by every step that was the last one.
    """
    answer, last = Guard._answer, list[str]()

    def armed(number: int, moment: str, deaths: int) -> list[str]:
        made: dict[str, int] = {}  # steps by connection's owner: a container is its own, and dies with it

        def told(guard: Guard, request: Request) -> Answer:
            step = f"{request.method} {'/'.join(request.path.split('/')[2:3])}"
            if len(last) >= deaths or "X-Amz-Signature" not in request.query or step not in STEPS:
                return answer(guard, request)
            (container,) = provider.running()
            made[container] = place = made.get(container, -1) + 1
            assert STEPS[place] == step
            if place != number:
                return answer(guard, request)
            answered = answer(guard, request) if moment == "after" else Answer(503)
            last.append(step)
            assert provider.kill() == 1
            return answered

        monkeypatch.setattr(Guard, "_answer", told)
        return last

    return armed


@pytest.mark.parametrize("deaths", [1, 2], ids=["once", "as often as Modal tries"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(len(STEPS)), ids=STEPS)
def test_a_container_may_be_killed_at_any_step(
    stack: Stack,
    session: Session,
    strike: Callable[[int, str, int], list[str]],
    number: int,
    moment: str,
    deaths: int,
) -> None:
    last = strike(number, moment, deaths)
    before = balance(stack)
    status = watched(stack, session, session.start(session.upload(noise(24))))
    assert last[0] == STEPS[number]
    assert (status["status"], before - balance(stack)) == ("completed", 1)


def balance(stack: Stack) -> int:
    """Of the only account, with which its ledger agrees."""
    rows = stack.client("dynamodb").scan(TableName=stack.table)["Items"]
    (account,) = (row for row in rows if row["sk"]["S"] == "ACCOUNT")
    amounts = (int(row["amount"]["N"]) for row in rows if row["sk"]["S"].startswith("CREDIT#"))
    assert int(account["balance"]["N"]) == sum(amounts)
    return int(account["balance"]["N"])


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
