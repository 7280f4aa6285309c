"""Events in any order, any number of times: what must hold at every instant, and at rest."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from moto import mock_aws
from tessera import accounts, ids, lifecycle
from tessera.dispatch import FileRef
from tessera.job import Job, JobError, Outcome

from infra.local.transactions import as_aws
from tests.world import World, make_world, png

GRANTED = 6


class Deployment(RuleBasedStateMachine):
    """One account, one upload, and everything that can happen to tasks that use it."""

    def __init__(self) -> None:
        super().__init__()
        self.aws = ExitStack()
        self.aws.enter_context(mock_aws())
        self.aws.enter_context(as_aws())
        self.patch = pytest.MonkeyPatch()
        self.world: World = make_world(self.patch, engine="layer:1")
        self.tasks: list[str] = []
        self.jobs: list[Job] = []
        self.results: list[str] = []
        self.ended: dict[str, Any] = {}

    def teardown(self) -> None:
        self.settle()
        self.patch.undo()
        self.aws.close()

    @initialize(event=st.booleans())
    def account(self, event: bool) -> None:
        self.key = self.world.account(GRANTED)
        self.upload = self.world.upload(self.key, png(), event=event)
        self.s3_key = self.world.services.storage.client.list_objects_v2(Bucket="tessera-test")["Contents"][0]["Key"]

    @rule()
    def start(self) -> None:
        body = {"files": [{name: self.upload[name] for name in ("fileName", "fileType", "fileSize")}]}
        status, answer = self.world.post("/start-task", body, self.key)
        assert status in (200, 402)
        if status == 200:
            self.tasks.append(answer["data"]["taskId"])

    @rule()
    def upload_event(self) -> None:
        self.world.upload_event(self.s3_key)

    @rule()
    def work_messages(self) -> None:
        self.jobs += self.world.dispatch_all()
        self.find_copies()

    def find_copies(self) -> None:
        """Repeats that were answered from storage: their events come when `result_event_again` says so, or never."""
        listed = self.world.services.storage.client.list_objects_v2(Bucket="tessera-test", Prefix="results/")
        self.results += [entry["Key"] for entry in listed.get("Contents", []) if entry["Key"] not in self.results]

    @rule()
    def lose_work_messages(self) -> None:
        self.world.take(self.world.services.settings.work_queue_url)

    @precondition(lambda self: self.tasks)
    @rule(pick=st.integers(0))
    def work_message_again(self, pick: int) -> None:
        number = ids.from_uuid(self.tasks[pick % len(self.tasks)])
        assert number is not None
        lifecycle.dispatch(self.world.services, FileRef(task=number, nn=0))
        self.jobs += [
            Job.model_validate_json(body) for body in self.world.take(self.world.services.settings.job_queue_url)
        ]
        self.find_copies()

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0), event=st.booleans())
    def work(self, pick: int, event: bool) -> None:
        """Any job that was ever handed out, by however many workers, however late."""
        self.results.append(self.world.work(self.jobs[pick % len(self.jobs)], event=event))

    @precondition(lambda self: self.jobs)
    @rule(pick=st.integers(0), retryable=st.booleans(), event=st.booleans())
    def work_fails(self, pick: int, retryable: bool, event: bool) -> None:
        error = JobError(code="internal", message="It broke", retryable=retryable)
        job = self.jobs[pick % len(self.jobs)]
        self.results.append(self.world.work(job, Outcome(status="failed", error=error), event=event))

    @precondition(lambda self: self.results)
    @rule(pick=st.integers(0))
    def result_event_again(self, pick: int) -> None:
        self.world.result_event(self.results[pick % len(self.results)])

    @rule(seconds=st.sampled_from([1, 61, 301]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.forward(seconds)

    @precondition(lambda self: self.tasks)
    @rule(pick=st.integers(0))
    def cancel(self, pick: int) -> None:
        task = self.tasks[pick % len(self.tasks)]
        status, answer = self.world.post("/v1/tasks/cancel", {"taskId": task}, self.key)
        assert (status, answer["data"]["status"] in ("completed", "failed", "cancelled")) == (200, True)

    @rule()
    def watchdog(self) -> None:
        self.world.watchdog()

    @invariant()
    def every_credit_is_accounted_for(self) -> None:
        if hasattr(self, "key"):
            balance = self.world.balance(self.key)
            assert balance >= 0
            assert balance == sum(row["amount"] for row in self.world.ledger(self.key))

    @invariant()
    def what_has_ended_does_not_change(self) -> None:
        for task in self.tasks:
            rows = [
                # the watchdog ends a cancelled file's call once, which nobody sees
                {name: value for name, value in row.items() if name not in ("due_pk", "due_ms", "call")}
                for row in self.world.services.table.query_partition(f"TASK#{ids.from_uuid(task)}")
            ]
            if next(row for row in rows if row["sk"] == "TASK")["left"] == 0:
                assert self.ended.setdefault(task, rows) == rows

    def settle(self) -> None:
        """Everything that is left alone ends by its deadline."""
        if not hasattr(self, "key"):
            return
        self.world.clock.forward(self.world.services.settings.task_deadline_seconds + 1)
        self.world.watchdog()
        finished = 0
        for task in self.tasks:
            status = self.world.status(self.key, task)
            assert status["status"] in ("completed", "failed")
            finished += status["status"] == "completed"
            if status["status"] == "completed":
                key = status["files"][0]["path"]
                assert self.world.services.storage.head(key) is not None
        who = accounts.check(self.world.services, accounts.credential(self.world.services, self.key)).account
        assert who.balance == GRANTED - finished


Deployment.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestDeployment = Deployment.TestCase
