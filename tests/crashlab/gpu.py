"""Modal's client as ModalDispatcher uses it: its calls are numbered and fail as AWS's do, its jobs go to workers.

What the real client makes of the real protocol is tests/gpu's to show.
"""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from modal import exception as modal_errors
from tessera import budget, lifecycle, modal_dispatch
from tessera.job import Job, JobError, Outcome
from tessera.storage import AttemptKey

from tests.crashlab.invariants import require, rows
from tests.crashlab.simulation import Simulation
from tests.world import key_of, outside

Answer = Literal["", "error", "unsent", "lost", "refused", "broken", "cancelled"]
"""To a hand-over: taken; throttled; no word, and not taken; no word, but taken; not deployed; unforeseen; taken, and
cancelled by its owner before the answer comes."""
Word = Literal["pending", "lost", "hopeless", "silence"]
"""Of a call: to come; its container was lost; no try will help; Modal cannot be asked."""

SECRET = "tessera/modal"
SETTINGS = {"worker": "modal", "modal_secret": SECRET}


def keep_secret() -> None:
    """The token, as an operator stores it; before anything is recorded."""
    token = json.dumps({"token_id": "ak-lab", "token_secret": "as-lab"})
    outside().client("secretsmanager").create_secret(Name=SECRET, SecretString=token)


class Gpu:
    """`calls`: what was taken, by the provider's id. `asked`: hand-overs of a day that were not turned away."""

    def __init__(self, simulation: Simulation, patch: pytest.MonkeyPatch, answers: tuple[Answer, ...] = ()) -> None:
        self.simulation = simulation
        self.recorder = simulation.recorder
        self.calls: dict[str, Job] = {}
        self.dead: set[str] = set()
        self.cancelled: set[str] = set()
        self.asked: list[str] = []
        self.answers = list(answers)  # to the first hand-overs
        self.mood: Answer = ""  # to all further ones
        self.word: Word = "pending"
        simulation.ended = self._died
        simulation.stopped = lambda job: any(self.calls[call] == job for call in self.cancelled)
        client = SimpleNamespace(close=lambda: None)
        runner = SimpleNamespace(run=SimpleNamespace(spawn=SimpleNamespace(aio=self._spawn)))
        stand_in = SimpleNamespace(
            Client=SimpleNamespace(from_credentials=SimpleNamespace(aio=self._connected(client))),
            Cls=SimpleNamespace(from_name=lambda app, name, client: lambda: runner),
            FunctionCall=SimpleNamespace(from_id=self._call),
        )
        patch.setattr(modal_dispatch, "modal", stand_in)
        metered: Any = simulation.world.services.dispatcher
        metered.inner._clock = lambda: simulation.world.clock.ms / 1000  # it distrusts a connection that was idle

    @staticmethod
    def _connected(client: Any) -> Any:
        async def connect(token: str, secret: str) -> Any:
            return client

        return connect

    # ------------------------------------------------------------ what the client is asked

    async def _spawn(self, wanted: dict[str, Any]) -> Any:
        today = budget.day_of(self.simulation.world.clock.ms)
        self.asked.append(today)
        with self.simulation.kept():
            self._within_budget(today)

        def refusal() -> Exception:
            self.asked.pop()  # known not to have been taken
            return modal_errors.ResourceExhaustedError("injected")

        def take() -> Any:
            answer = self.answers.pop(0) if self.answers else self.mood
            if answer == "error":
                raise refusal()
            if answer == "refused":
                self.asked.pop()
                raise modal_errors.NotFoundError("as the flow says")
            if answer == "broken":
                raise self._unforeseen()
            job = Job.unpacked(wanted["packed"])
            taken = None if answer == "unsent" else self._take(job)
            if answer == "cancelled":
                self._by_its_owner(job)
            elif answer:
                raise modal_errors.ConnectionError("as the flow says")
            return taken

        return self._ask("Spawn", take, refusal)

    def _call(self, call: str, client: Any) -> Any:
        async def get(timeout: float) -> Any:
            return self._ask("GetOutput", lambda: self._output(call))

        async def cancel(terminate_containers: bool) -> None:
            self._ask("CancelCall", lambda: self._cancel(call))

        return SimpleNamespace(get=SimpleNamespace(aio=get), cancel=SimpleNamespace(aio=cancel))

    def _ask(self, operation: str, send: Any, refusal: Any = None) -> Any:
        refusal = refusal or partial(modal_errors.ServiceError, "injected")
        silence = partial(modal_errors.ConnectionError, "injected")
        return self.recorder.make(operation, {}, send, refusal, silence)

    # ------------------------------------------------------------ what it does

    def _take(self, job: Job) -> Any:
        call = f"fc-{len(self.calls) + 1}"
        self.calls[call] = job
        self.simulation.send("JobQueue", job.model_dump_json())
        return SimpleNamespace(object_id=call)

    def _by_its_owner(self, job: Job) -> None:
        """Another process does that, and nothing befalls it."""
        services = self.simulation.world.services
        account = AttemptKey.parse(key_of(job.result_url))[1].account  # type: ignore[index]
        self.recorder.paused = True
        lifecycle.cancel(services, account, int(job.task))
        self.recorder.paused = False

    def _output(self, call: str) -> Any:
        if self.word == "silence":
            raise self._unforeseen()
        if self.word == "lost" or call in self.dead:
            raise modal_errors.RemoteError("the container was lost")
        if self.word == "hopeless":
            error = JobError(code="model_unavailable", message="No such model", retryable=False)
            return Outcome(status="failed", error=error).model_dump(mode="json")
        raise TimeoutError

    def _cancel(self, call: str) -> None:
        if self.word == "silence":
            raise self._unforeseen()
        self.cancelled.add(call)

    def _unforeseen(self) -> Exception:
        """Flies through the handler, as it should."""
        self.recorder.excused = self.recorder.invocation
        return RuntimeError("as the flow says")

    def _died(self, job: Job) -> None:
        self.dead |= {call for call, each in self.calls.items() if each == job}

    def _within_budget(self, today: str) -> None:
        """G28: nothing is handed over in a pause or beyond the day's cap, and all of it is counted."""
        found = [row for row in rows() if row["pk"] == budget.KEY.pk]
        now = budget.Budget.model_validate(found[0] if found else {})
        require("G28", not now.paused, "a job was handed over in a pause")
        require("G28", now.jobs >= self.asked.count(today), f"{self.asked.count(today)} jobs, {now.jobs} counted")
        require("G28", now.jobs <= now.cap, f"{now.jobs} jobs of {now.cap} allowed")
