"""What a task becomes, by each outcome of a spawn and of a call: done and paid for once, or failed and paid back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpclib import GRPCError, Status
from tessera import budget, ids, lifecycle, modal_dispatch
from tessera.dispatch import FileRef
from tessera.job import Job, JobError, Outcome

from infra.local.gpu.control import SILENCE, ControlPlane
from infra.local.gpu.definitions import Call
from tests.gpu.conftest import dispatch, ended, job_of, succeeded
from tests.world import World, key_of, png

GRANTED = 5


class Customer:
    """One account with one task of one file."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.key = world.account(GRANTED)
        self.task = world.start(self.key, world.upload(self.key, png()))
        self.ref = FileRef(task=ids.from_uuid(self.task) or 0, nn=0)

    @property
    def status(self) -> str:
        return str(self.world.status(self.key, self.task)["status"])

    def row(self) -> dict[str, Any]:
        rows = self.world.services.table.query_partition(f"TASK#{self.ref.task}")
        return next(row for row in rows if row["sk"].startswith("FILE#"))

    def paid(self) -> int:
        """What the task has cost, the ledger being right."""
        balance = self.world.balance(self.key)
        assert balance == sum(row["amount"] for row in self.world.ledger(self.key))
        return GRANTED - balance


@pytest.fixture
def customer(world: World) -> Customer:
    return Customer(world)


def calls(plane: ControlPlane) -> list[Call]:
    return list(plane.calls.values())


def lease_over(world: World) -> None:
    world.clock.forward(world.services.settings.lease_seconds + 1)


def finish(world: World, customer: Customer, job: Job) -> None:
    world.work(job)
    assert customer.status == "completed"
    assert customer.row()["result_key"] == key_of(job.result_url)
    assert customer.paid() == 1


# ---------------------------------------------------------------- outcomes of a spawn


def test_a_job_that_modal_took(world: World, plane: ControlPlane, customer: Customer) -> None:
    (job,) = dispatch(world, plane)
    assert customer.row()["call"] == calls(plane)[0].id
    finish(world, customer, job)
    assert budget.read(world.services.table, world.clock.ms).jobs == 1


def test_a_duplicate_work_message_spawns_nothing(world: World, plane: ControlPlane, customer: Customer) -> None:
    (job,) = dispatch(world, plane)
    world.services.work.send([customer.ref])
    assert dispatch(world, plane) == []
    finish(world, customer, job)


@pytest.mark.parametrize(
    "answer", [GRPCError(Status.RESOURCE_EXHAUSTED), GRPCError(Status.ABORTED)], ids=lambda error: error.status.name
)
def test_a_job_for_later_waits_without_an_attempt(
    world: World, plane: ControlPlane, customer: Customer, answer: GRPCError
) -> None:
    plane.answers["FunctionMap"] = answer
    for _ in range(5):  # more often than a file has attempts
        assert dispatch(world, plane) == []
        world.clock.forward(61)
        world.watchdog()
    plane.answers.clear()
    (job,) = dispatch(world, plane)
    assert job.attempt == 1
    finish(world, customer, job)


def test_paused_jobs_wait_and_go_on(world: World, plane: ControlPlane, customer: Customer) -> None:
    budget.pause(world.services.table, True)
    assert dispatch(world, plane) == []
    assert "FunctionMap" not in plane.requests
    budget.pause(world.services.table, False)
    world.clock.forward(61)
    world.watchdog()
    (job,) = dispatch(world, plane)
    finish(world, customer, job)


def test_a_day_s_last_job_is_the_last_and_who_waits_is_paid_back(world: World, plane: ControlPlane) -> None:
    budget.set_cap(world.services.table, 1)
    first, second = Customer(world), Customer(world)
    (job,) = dispatch(world, plane)
    world.work(job)
    world.clock.forward(world.services.settings.task_deadline_seconds + 1)
    world.watchdog()
    assert sorted([first.status, second.status]) == ["completed", "failed"]
    assert first.paid() + second.paid() == 1
    assert len(plane.calls) == 1


@pytest.mark.parametrize(
    "answer",
    [GRPCError(Status.NOT_FOUND), GRPCError(Status.UNAUTHENTICATED), GRPCError(Status.INVALID_ARGUMENT)],
    ids=lambda error: error.status.name,
)
def test_a_refusal_is_paid_back_at_once(
    world: World, plane: ControlPlane, customer: Customer, answer: GRPCError
) -> None:
    plane.answers["FunctionMap"] = answer
    assert dispatch(world, plane) == []
    assert (customer.status, customer.paid()) == ("failed", 0)


def test_an_unknown_outcome_that_got_through_counts(
    world: World, plane: ControlPlane, customer: Customer, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modal takes the job, and its answer is lost."""
    real = plane.FunctionMap

    async def silently(request: Any) -> Any:
        await real(request)
        await asyncio.Event().wait()

    monkeypatch.setattr(plane, "FunctionMap", silently, raising=False)
    (job, *_) = dispatch(world, plane)
    assert (customer.row()["state"], customer.row()["attempt"], customer.row()["call"]) == ("running", 1, "")
    finish(world, customer, job)


@pytest.mark.parametrize("answer", [SILENCE, GRPCError(Status.UNAVAILABLE)], ids=["silence", "unavailable"])
def test_an_unknown_outcome_without_a_sign_of_life_is_no_attempt(
    world: World, plane: ControlPlane, customer: Customer, monkeypatch: pytest.MonkeyPatch, answer: Any, impatient: None
) -> None:
    monkeypatch.setattr(modal_dispatch, "GUARD", 0.3 if answer is SILENCE else 5.0)
    plane.answers["FunctionMap"] = answer
    for _ in range(4):  # more often than a file has attempts
        assert dispatch(world, plane) == []
        assert customer.row()["state"] == "running"
        world.clock.forward(91)
        world.watchdog()
    plane.answers.clear()
    (job,) = dispatch(world, plane)
    assert job.attempt == 1
    finish(world, customer, job)


def test_a_dispatcher_that_died_after_the_spawn(
    world: World, plane: ControlPlane, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is under way, nobody knows its id: the worker's report keeps the file, its result ends it."""
    with monkeypatch.context() as killed:
        killed.setattr(lifecycle, "_change", lambda *_: pytest.fail("nothing after the spawn"))
        for body in world.take(world.services.settings.work_queue_url):
            with pytest.raises(pytest.fail.Exception):
                lifecycle.dispatch(world.services, FileRef.model_validate_json(body))
    (job,) = map(job_of, calls(plane))
    world.clock.forward(91)
    world.services.storage.write(key_of(job.report_url), b'{"progress": 0.1}')
    world.watchdog()
    assert dispatch(world, plane) == []
    finish(world, customer, job)


def test_two_workers_at_one_attempt_are_paid_for_once(world: World, plane: ControlPlane, customer: Customer) -> None:
    (job,) = dispatch(world, plane)
    world.services.dispatcher.spawn(job)
    first, second = map(job_of, calls(plane))
    finish(world, customer, first)
    finish(world, customer, second)


# ---------------------------------------------------------------- outcomes of a call


def test_a_call_that_waits_for_a_gpu_keeps_its_file(world: World, plane: ControlPlane, customer: Customer) -> None:
    (job,) = dispatch(world, plane)
    for _ in range(3):
        lease_over(world)
        world.watchdog()
        assert dispatch(world, plane) == []
    finish(world, customer, job)


@pytest.mark.parametrize("status", ["FAILURE", "TIMEOUT", "INTERNAL_FAILURE", "TERMINATED"])
def test_a_call_that_was_lost_is_tried_three_times_and_paid_back(
    world: World, plane: ControlPlane, customer: Customer, status: str
) -> None:
    for attempt in (1, 2, 3):
        (job,) = dispatch(world, plane)
        assert job.attempt == attempt
        calls(plane)[-1].end(**ended(status))
        lease_over(world)
        world.watchdog()
    assert dispatch(world, plane) == []
    assert (customer.status, customer.paid()) == ("failed", 0)


def test_a_call_that_expired_is_tried_again(world: World, plane: ControlPlane, customer: Customer) -> None:
    dispatch(world, plane)
    plane.calls.clear()
    lease_over(world)
    world.watchdog()
    (job,) = dispatch(world, plane)
    assert job.attempt == 2
    finish(world, customer, job)


def test_expired_links_are_signed_afresh(world: World, plane: ControlPlane, customer: Customer) -> None:
    """The worker can tell nobody but Modal, since its link for failures has expired too."""
    (job,) = dispatch(world, plane)
    error = JobError(code="link_expired", message="The time is over", retryable=True)
    told = Outcome(status="failed", error=error).model_dump(mode="json", exclude_none=True)
    calls(plane)[0].end(**succeeded(told))
    lease_over(world)
    world.watchdog()
    (again,) = dispatch(world, plane)
    assert again.attempt == 2
    assert again.result_url.split("?")[0] != job.result_url.split("?")[0]
    finish(world, customer, again)


def test_what_another_try_would_not_change_is_paid_back(world: World, plane: ControlPlane, customer: Customer) -> None:
    dispatch(world, plane)
    error = JobError(code="model_unavailable", message="No such model", retryable=False)
    calls(plane)[0].end(**succeeded(Outcome(status="failed", error=error).model_dump(mode="json", exclude_none=True)))
    lease_over(world)
    world.watchdog()
    assert (customer.status, customer.paid()) == ("failed", 0)
    assert world.status(customer.key, customer.task)["error"] == "No such model"


def test_a_result_that_came_while_modal_was_asked_counts(
    world: World, plane: ControlPlane, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = dispatch(world, plane)
    dispatcher = world.services.dispatcher
    real = dispatcher.ended

    def meanwhile(call: str, began: bool) -> JobError | None:
        world.work(job, event=False)
        calls(plane)[0].end(**succeeded({"status": "done"}))
        return real(call, began)

    monkeypatch.setattr(dispatcher, "ended", meanwhile)
    lease_over(world)
    world.watchdog()
    assert (customer.status, customer.paid()) == ("completed", 1)
    assert dispatch(world, plane) == []


def test_a_late_result_of_a_superseded_attempt_changes_nothing(
    world: World, plane: ControlPlane, customer: Customer
) -> None:
    (first,) = dispatch(world, plane)
    calls(plane)[0].end(**ended("INTERNAL_FAILURE"))
    lease_over(world)
    world.watchdog()
    (second,) = dispatch(world, plane)
    before = customer.row()
    world.work(first)
    assert customer.row() == before
    finish(world, customer, second)


@pytest.mark.parametrize(
    "answer",
    [SILENCE, GRPCError(Status.UNAVAILABLE), GRPCError(Status.UNAUTHENTICATED), GRPCError(Status.NOT_FOUND)],
    ids=["silence", "unavailable", "unauthenticated", "missing"],
)
def test_while_modal_cannot_be_asked_nothing_changes(
    world: World, plane: ControlPlane, customer: Customer, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    (job,) = dispatch(world, plane)
    before = customer.row()
    monkeypatch.setattr(modal_dispatch, "GUARD", 0.3 if answer is SILENCE else 5.0)
    plane.answers["FunctionGetOutputs"] = answer
    lease_over(world)
    with pytest.raises(ExceptionGroup):
        world.watchdog()
    assert customer.row() == before
    assert dispatch(world, plane) == []
    finish(world, customer, job)


def test_past_the_deadline_the_credit_goes_back_and_the_container_ends(
    world: World, plane: ControlPlane, customer: Customer
) -> None:
    (job,) = dispatch(world, plane)
    world.clock.forward(world.services.settings.task_deadline_seconds + 1)
    world.watchdog()
    assert (customer.status, customer.paid()) == ("failed", 0)
    (cancel,) = plane.requests["FunctionCallCancel"]
    assert (cancel.function_call_id, cancel.terminate_containers) == (calls(plane)[0].id, True)
    world.work(job)
    assert (customer.status, customer.paid()) == ("failed", 0)


def test_past_the_deadline_the_credit_goes_back_though_modal_is_down(
    world: World, plane: ControlPlane, customer: Customer
) -> None:
    dispatch(world, plane)
    plane.answers["FunctionCallCancel"] = GRPCError(Status.UNAVAILABLE)
    world.clock.forward(world.services.settings.task_deadline_seconds + 1)
    with pytest.raises(ExceptionGroup):
        world.watchdog()
    assert (customer.status, customer.paid()) == ("failed", 0)


def test_a_second_attempt_is_not_judged_by_the_first_one_s_call(
    world: World, plane: ControlPlane, customer: Customer, impatient: None
) -> None:
    dispatch(world, plane)
    calls(plane)[0].end(**ended("INTERNAL_FAILURE"))
    lease_over(world)
    world.watchdog()
    plane.answers["FunctionMap"] = SILENCE
    assert dispatch(world, plane) == []
    world.clock.forward(91)
    world.watchdog()
    plane.answers.clear()
    (job,) = dispatch(world, plane)
    assert job.attempt == 2
    finish(world, customer, job)
