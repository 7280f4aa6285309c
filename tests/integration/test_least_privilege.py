"""G26: a role of template.yaml allows what its function does, down to the folder and the index, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tessera.job import Job

from tests.integration.cloud import Cloud, deployed
from tests.integration.permissions import LOGS, POLLING, granted, managed, rows_granted
from tests.integration.repertoire import walk


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with deployed(monkeypatch, {"Worker": "cpu"}) as cloud:
        yield cloud


def test_g26_nothing_granted_is_unused_and_nothing_used_is_ungranted(cloud: Cloud) -> None:
    def jobs() -> list[Job]:
        return [Job.model_validate_json(body) for body in cloud.take(cloud.queue("JobQueue"))]

    walk(cloud, jobs)
    used = {name: cloud.recorder.used[name] for name in cloud.deployment.functions}
    assert used == granted(cloud.template, cloud.deployment)
    for name, kinds in rows_granted(cloud.template, cloud.deployment).items():
        assert cloud.recorder.leading[name] == kinds, name


def test_g26_beside_its_own_rights_a_function_may_write_logs_and_read_its_queues(cloud: Cloud) -> None:
    fed = {mapping.function for mapping in cloud.deployment.mappings}
    for name, policies in managed(cloud.template, cloud.deployment).items():
        assert policies == ({LOGS, POLLING} if name in fed else {LOGS}), name


@pytest.mark.parametrize("worker", ["cpu", "modal"])
def test_g26_no_right_is_to_everything(worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with deployed(monkeypatch, {"Worker": worker}) as cloud:
        rights = set().union(*granted(cloud.template, cloud.deployment).values())
    assert rights
    assert not [right for right in rights if "*" in right[0] or right[1].split(":", 5)[5] in ("", "*")]
