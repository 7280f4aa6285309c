"""Modal's own client and container runtime, unmodified, against the stand-in of infra/local/gpu."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import cbor2
import pytest
from modal_proto import api_pb2
from moto import mock_aws
from tessera import lifecycle, modal_dispatch
from tessera.dispatch import FileRef
from tessera.job import Job
from tessera.modal_dispatch import ModalDispatcher, Token

from infra.local.gpu.control import TOKEN_ID, TOKEN_SECRET, ControlPlane
from infra.local.gpu.definitions import Call, Deployed
from infra.local.gpu.provider import Provider
from infra.local.transactions import as_aws
from tests.world import World, make_world, session, template

SECRET = "tessera/modal"
TOKEN = Token(TOKEN_ID, TOKEN_SECRET)


@pytest.fixture(scope="session")
def deployed() -> Deployed:
    """What the real `modal deploy gpu_app.py` creates."""
    with Provider() as provider:
        provider.deploy()
        return provider.plane.deployed


@pytest.fixture
def plane(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    """A control plane with the app deployed and no container; the environment is the dispatch function's."""
    variables = template()["Resources"]["DispatchFunction"]["Properties"]["Environment"]["Variables"]
    for name, value in variables.items():
        if name.startswith("MODAL_"):
            monkeypatch.setenv(name, value)
    with ControlPlane() as plane:
        for name, value in plane.environment.items():
            monkeypatch.setenv(name, value)
        plane.deployed = deepcopy(deployed)
        yield plane


@pytest.fixture
def dispatcher(plane: ControlPlane) -> ModalDispatcher:
    return ModalDispatcher(lambda: TOKEN)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of a silent Modal does not depend on how long one waits for it."""
    monkeypatch.setattr(modal_dispatch, "GUARD", 0.4)
    monkeypatch.setattr(modal_dispatch, "QUIET", 0.0)


@pytest.fixture
def world(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A deployment with Worker=modal."""
    with mock_aws(), as_aws():
        token = json.dumps({"token_id": TOKEN_ID, "token_secret": TOKEN_SECRET})
        session().client("secretsmanager").create_secret(Name=SECRET, SecretString=token)
        yield make_world(monkeypatch, worker="modal", modal_secret=SECRET)


def job_of(call: Call) -> Job:
    """What a container would be given."""
    assert call.input.data_format == api_pb2.DATA_FORMAT_CBOR
    (arguments, _) = cbor2.loads(call.input.args)
    return Job.unpacked(arguments[0]["packed"])


def dispatch(world: World, plane: ControlPlane) -> list[Job]:
    """Work messages -> the jobs that reached Modal meanwhile."""
    before = len(plane.calls)
    for body in world.take(world.services.settings.work_queue_url):
        lifecycle.dispatch(world.services, FileRef.model_validate_json(body))
    return [job_of(call) for call in list(plane.calls.values())[before:]]


def succeeded(value: Any) -> dict[str, Any]:
    """A call's end, for `Call.end`."""
    result = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS, data=cbor2.dumps(value))
    return {"result": result, "data_format": api_pb2.DATA_FORMAT_CBOR}


def ended(status: str, words: str = "what happened") -> dict[str, Any]:
    number = api_pb2.GenericResult.GenericStatus.Value(f"GENERIC_STATUS_{status}")
    return {"result": api_pb2.GenericResult(status=number, exception=words), "data_format": api_pb2.DATA_FORMAT_CBOR}
