"""The template's functions in this process, each behind its real handler, with its own environment and real events.

Storage tells the queues of template.yaml, queues feed their functions; what the test itself does is nobody's use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto import mock_aws
from tessera.job import Job, Outcome, Report
from tessera.services import build
from tessera.settings import Settings

from infra.local import events, multiparts, transactions
from infra.local.deployment import Deployment
from infra.local.guard import ACCOUNT
from infra.local.resources import Clients, deploy
from infra.local.template import Template
from tests.integration.permissions import Recorder
from tests.world import CONTEXT, REGION, ROOT, Clock, World, edge, key_of

BUCKET = "tessera-test"


@dataclass(kw_only=True)
class Cloud(World):
    template: Template
    deployment: Deployment
    recorder: Recorder
    clients: list[Any]
    """Those of all functions."""

    def call(self, function: str, event: Any) -> Any:
        """The function's handler, as Lambda calls it."""
        module, _, name = self.deployment.functions[function].handler.rpartition(".")
        with self.recorder.running(function):
            return getattr(importlib.import_module(module), name)(event, CONTEXT)

    def request(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        package = edge(path)
        (function,) = (
            name for name, made in self.deployment.functions.items() if made.handler.startswith(f"{package}.")
        )
        with self.recorder.running(function):
            return super().request(path, *args, **kwargs)

    def feed(self, function: str) -> int:
        """Hands the function all messages of its queues; returns how many failed, and will come again."""
        failed = 0
        for mapping in self.deployment.mappings:
            if mapping.function == function:
                bodies = self.take(self.queue(mapping.queue.removeprefix("tessera-")))
                for first in range(0, len(bodies), mapping.batch_size):
                    batch = records(*bodies[first : first + mapping.batch_size])
                    failed += len(self.call(function, batch)["batchItemFailures"])
        return failed

    def tick(self, function: str) -> Any:
        """What a schedule does."""
        return self.call(function, {"source": "aws.scheduler"})

    # ------------------------------------------------------------ the test's own hands

    def upload_event(self, key: str) -> None:
        assert self.feed("OnUploadFunction") == 0

    def queue(self, name: str) -> str:
        return self.deployment.made[name].ref

    def lose(self, queue: str) -> None:
        assert self.take(self.queue(queue)), "nothing was there to be lost"

    def finish(self, job: Job, outcome: Outcome | None = None) -> None:
        """A worker with weights of its own has ended, and the event of that has come."""
        self.work(job, outcome, event=False)
        if outcome is None:
            self._disown(job)
        assert self.feed("OnResultFunction") == 0

    def _disown(self, job: Job) -> None:
        """Nothing stood in: otherwise a repeat is not answered from storage where the worker is Modal."""
        key = key_of(job.report_url)
        report = Report.model_validate_json(self.services.storage.read(key) or b"")
        assert report.outcome is not None
        own = report.model_copy(update={"outcome": report.outcome.model_copy(update={"stand_in": False})})
        self.services.storage.write(key, own.model_dump_json().encode())

    def remove(self, key: str) -> None:
        self.services.storage.delete_many([key])

    def everything(self) -> list[str]:
        """The keys of all objects."""
        pages = self.services.storage.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def records(*bodies: str) -> dict[str, Any]:
    """A queue's event."""
    return {"Records": [{"messageId": str(n), "body": body} for n, body in enumerate(bodies)]}


@contextmanager
def deployed(
    monkeypatch: Any, parameters: dict[str, str], watch: Callable[[Any], None] = lambda session: None
) -> Iterator[Cloud]:
    """`watch` is given the session before any client is made."""
    with ExitStack() as stack:
        for patch in (mock_aws(), events.as_aws(), multiparts.as_aws(), transactions.as_aws()):
            stack.enter_context(patch)
        session = boto3.Session("testing", "testing", region_name=REGION)
        watch(session)
        yield _deploy(monkeypatch, parameters, session)


def _deploy(monkeypatch: Any, parameters: dict[str, str], session: boto3.Session) -> Cloud:
    recorder = Recorder(REGION, ACCOUNT)
    recorder.watch(session)
    template = Template(ROOT / "template.yaml", parameters, {"BucketName": BUCKET}, account=ACCOUNT, region=REGION)
    clients = Clients(session.client("s3"), session.client("sqs"), session.client("dynamodb"))
    deployment = deploy(template, clients, api_url="https://api.example.com", storage_url="https://storage.example.com")
    clock = Clock()
    made: list[Any] = []
    for function in deployment.functions.values():
        module = importlib.import_module(function.handler.rpartition(".")[0])
        if hasattr(module, "services"):
            services = build(Settings.from_environ(function.environment), session, now_ms=clock)
            monkeypatch.setattr(module, "services", lambda services=services: services)
            made += [services.table.client, services.storage.client, services.work.client]
    own = Settings.from_environ(deployment.functions["DispatchFunction"].environment | {"TESSERA_WORKER": "cpu"})
    return Cloud(
        build(own, session, now_ms=clock), clock, clients.sqs,
        template=template, deployment=deployment, recorder=recorder, clients=made,
    )  # fmt: skip
