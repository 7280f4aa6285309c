"""G26 where pictures go to Modal: the same walk, and the roles as the template makes them for it."""

from __future__ import annotations

import json

import pytest
from tessera.job import Job

from infra.local.gpu.control import TOKEN_ID, TOKEN_SECRET, ControlPlane
from tests.gpu.conftest import SECRET, job_of
from tests.integration.cloud import deployed
from tests.integration.permissions import granted
from tests.integration.repertoire import walk
from tests.world import outside


class HandedOver:
    """The jobs that reached Modal since the last time."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.seen = 0

    def __call__(self) -> list[Job]:
        new = list(self.plane.calls.values())[self.seen :]
        self.seen += len(new)
        return [job_of(call) for call in new]


def keep_token() -> None:
    token = json.dumps({"token_id": TOKEN_ID, "token_secret": TOKEN_SECRET})
    outside().client("secretsmanager").create_secret(Name=SECRET, SecretString=token)


def test_g26_nothing_granted_is_unused_and_nothing_used_is_ungranted(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deployed(monkeypatch, {"Worker": "modal"}) as cloud:
        keep_token()
        walk(cloud, HandedOver(plane))
        used = {name: cloud.recorder.used[name] for name in cloud.deployment.functions}
        assert used == granted(cloud.template, cloud.deployment)
