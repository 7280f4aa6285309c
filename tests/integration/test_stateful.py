"""Anything in any order, with faults in between: what must hold after every write, and at rest.

On the crash lab's machine: the clock, queues, schedules and workers are tests/crashlab's, and every write is followed
by its invariants. `make crash-lab` runs 200 examples of 40 steps: half of them in each of two machines.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tessera import ids
from tessera.settings import HOURS
from tessera.storage import parse_upload_key

from tests.crashlab import invariants
from tests.crashlab.calls import KINDS, Fault, Recorder
from tests.crashlab.client import Cancel, Client, Delete, Upload
from tests.crashlab.flows import CORRUPT, DIES, HICCUP, SLOW, WORKS, Flow
from tests.crashlab.invariants import require, rows
from tests.crashlab.pictures import NO_PICTURE, OTHER, PHOTO
from tests.crashlab.simulation import Simulation, objects, open_multiparts
from tests.crashlab.sweep import deployment

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "4"))
STEPS = int(os.environ.get("STATEFUL_STEPS", "20"))
GRANTED = 6
SETTINGS: dict[str, object] = {"result_retention_seconds": 900, "engine": "layer:1"}


class Deployment(RuleBasedStateMachine):
    """One account, a few uploads, and everything that can happen to tasks that use them."""

    SETTINGS = SETTINGS

    def __init__(self) -> None:
        super().__init__()
        self.aws = ExitStack()
        self.recorder = Recorder()
        flow = Flow("anything", (), credits=GRANTED, settings=self.SETTINGS)
        self.client: Client = self.aws.enter_context(deployment(flow, self.recorder))
        self.simulation: Simulation = self.client.simulation
        self.script = WORKS
        self.simulation.scripts = lambda nn: (self.script,)
        self.simulation.may_give_up = True
        self.faults = self.starts = 0

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.aws.close()

    @property
    def now(self) -> int:
        return self.simulation.world.clock.ms

    @initialize(event_after=st.sampled_from([None, 0, 90]))
    def upload_first(self, event_after: float | None) -> None:
        Upload(PHOTO, event_after).do(self.client)

    @rule(body=st.sampled_from([PHOTO, OTHER, NO_PICTURE]), event_after=st.sampled_from([None, 0, 90]))
    def upload(self, body: bytes, event_after: float | None) -> None:
        Upload(body, event_after).do(self.client)

    @rule(
        first=st.integers(0, 9),
        second=st.none() | st.integers(0, 9),
        once=st.sampled_from(["", "one", "two"]),
    )
    def start(self, first: int, second: int | None, once: str) -> None:
        names = self.client.names
        chosen = {n % len(names) for n in (first, second) if n is not None}
        files = [{name: names[n][name] for name in ("fileName", "fileType", "fileSize")} for n in sorted(chosen)]
        self.client.accept()
        status, answer = self.client.post(
            "/start-task", {"files": files}, **({"idempotency_key": once} if once else {})
        )
        self.starts += 1
        assert status in (200, 400, 402, 409), answer
        if status == 200:
            self.client.tasks.append(answer["data"]["taskId"])

    @precondition(lambda self: self.client.tasks)
    @rule(pick=st.integers(0, 99), delete=st.booleans())
    def cancel_or_delete(self, pick: int, delete: bool) -> None:
        n = pick % len(self.client.tasks)
        (Delete(n) if delete else Cancel(n)).do(self.client)

    @rule(script=st.sampled_from([WORKS, DIES, SLOW, HICCUP, CORRUPT]))
    def workers_change(self, script: object) -> None:
        self.script = script  # type: ignore[assignment]

    @rule(seconds=st.sampled_from([1, 6, 61, 301, 1300, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.simulation.run_until(self.now + seconds * 1000)

    @rule(calls=st.integers(1, 30), kind=st.sampled_from(KINDS))
    def one_of_the_next_calls_fails(self, calls: int, kind: str) -> None:
        self.recorder.fault = Fault(len(self.recorder.calls) + calls, kind)
        self.faults += 1

    @precondition(lambda self: self.simulation.messages)
    @rule(pick=st.integers(0, 99), lost=st.booleans())
    def a_message_comes_twice_or_never(self, pick: int, lost: bool) -> None:
        messages = [each for each in self.simulation.messages if each.queue != "JobQueue"]
        if messages:
            message = messages[pick % len(messages)]
            if lost and message.queue != "JobDeadLetters":
                self.simulation.messages.remove(message)
            else:
                self.simulation.send(message.queue, message.body, after=pick)

    @precondition(lambda self: self.simulation.runs)
    @rule(pick=st.integers(0, 99), what=st.sampled_from(["result", "report", "internal", "garbage"]))
    def a_worker_writes_late(self, pick: int, what: str) -> None:
        """Any job that was ever handed out, by however many workers, as long as its links are good."""
        self.simulation.write(self.simulation.runs[pick % len(self.simulation.runs)].job, what)

    def settle(self) -> None:
        """Everything that is left alone ends by its deadline, and is gone after its time."""
        self.recorder.fault = None
        simulation = self.simulation
        simulation.rest()
        table = rows()
        invariants.at_rest(table, self.faults)
        tasks = {row["id"] for row in table if row["sk"] == "TASK"}
        for task in self.client.tasks:
            require("G6", ids.from_uuid(task) in tasks, "a task that was confirmed does not exist")
        require("G6", len(tasks) <= self.starts + self.client.unsure, "more tasks than starts")
        invariants.kept(table, objects(), self.now)
        last = max((row["expires"] for row in table if row["sk"].split("#")[0] in ("TASK", "UPLOAD")), default=0)
        simulation.run_until(max(last, self.now) + 2 * HOURS)
        simulation.swept()
        # An upload whose event was lost and that no task ever used has no row: the bucket's lifecycle rule deletes it.
        named = {row["sk"] for row in table}
        left = {
            key: stored
            for key, stored in objects().items()
            if not (owned := parse_upload_key(key)) or f"UPLOAD#{owned[1]}" in named
        }
        invariants.gone(left, open_multiparts())


class Other(Deployment):
    """The same from other random numbers, which a second core can run beside."""


PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
Deployment.TestCase.settings = Other.TestCase.settings = PROFILE
TestDeployment, TestOther = Deployment.TestCase, Other.TestCase
