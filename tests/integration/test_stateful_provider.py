"""The machine of test_stateful with a GPU provider of moods: outcomes of hand-overs and of calls, in any order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tessera import ids, lifecycle
from tessera.dispatch import LOST, FileRef, NotNow, OutcomeUnknown, Refused
from tessera.job import Job, JobError

from tests.integration.test_stateful import Deployment

Mood = Literal["takes it", "not now", "took it silently", "lost it silently", "refuses", "breaks"]
Word = Literal["pending", "lost", "hopeless", "cannot be asked"]


class Moody:
    """A dispatcher whose answers a test chooses. `jobs` are those that got through."""

    def __init__(self) -> None:
        self.mood: Mood = "takes it"
        self.word: Word = "pending"
        self.jobs: list[Job] = []
        self.cancelled: list[str] = []

    def spawn(self, job: Job) -> str:
        if self.mood in ("takes it", "took it silently"):
            self.jobs.append(job)
        if self.mood == "not now":
            raise NotNow("throttled")
        if self.mood == "refuses":
            raise Refused("not deployed")
        if self.mood == "breaks":
            raise OSError("unforeseen")
        if self.mood != "takes it":
            raise OutcomeUnknown("silence")
        return f"call-{len(self.jobs)}"

    def ended(self, call: str, began: bool) -> JobError | None:
        if self.word == "cannot be asked":
            raise ConnectionError
        if self.word == "hopeless":
            return JobError(code="model_unavailable", message="No such model", retryable=False)
        return LOST if self.word == "lost" else None

    def cancel(self, call: str) -> None:
        self.cancelled.append(call)
        if self.word == "cannot be asked":
            raise ConnectionError


class WithProvider(Deployment):
    def __init__(self) -> None:
        super().__init__()
        self.provider = Moody()
        self.world.services = replace(self.world.services, dispatcher=self.provider)
        for module in ("on_upload.app", "on_result.app", "upscayl.app"):
            self.patch.setattr(f"{module}.services", lambda: self.world.services)

    def settle(self) -> None:
        self.provider.word = "pending"
        super().settle()

    @rule(mood=st.sampled_from(Mood.__args__), word=st.sampled_from(Word.__args__))  # type: ignore[attr-defined]
    def moods_change(self, mood: Mood, word: Word) -> None:
        self.provider.mood, self.provider.word = mood, word

    @rule()
    def work_messages(self) -> None:
        for body in self.world.take(self.world.services.settings.work_queue_url):
            self._dispatch(FileRef.model_validate_json(body))

    def _dispatch(self, ref: FileRef) -> None:
        try:
            lifecycle.dispatch(self.world.services, ref)
        except OSError:
            assert self.provider.mood == "breaks"
        self.jobs = self.provider.jobs

    @precondition(lambda self: self.tasks)
    @rule(pick=st.integers(0))
    def work_message_again(self, pick: int) -> None:
        number = ids.from_uuid(self.tasks[pick % len(self.tasks)])
        assert number is not None
        self._dispatch(FileRef(task=number, nn=0))

    @rule()
    def watchdog(self) -> None:
        try:
            self.world.watchdog()
        except* ConnectionError:
            assert self.provider.word == "cannot be asked"


WithProvider.TestCase.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestWithProvider = WithProvider.TestCase
del Deployment
