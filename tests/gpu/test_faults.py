"""Every call on the way to Modal and back fails in turn, or is the last of its process: AWS's, Modal's, a container's.

Here the processes are played; `tests/e2e/test_modal_kills.py` kills real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from botocore.exceptions import EndpointConnectionError
from grpclib import GRPCError, Status
from tessera import lifecycle
from tessera.dispatch import FileRef

from infra.local.gpu.control import MOST_RETRIES, ControlPlane
from infra.local.gpu.definitions import Call
from tests.gpu.conftest import ended, job_of
from tests.gpu.test_lifecycle import Customer
from tests.world import InjectedFaultError, World, delivered

CALLS_OF_FLOW = 13  # from the work message to the end of the file; a test holds it
CONTAINERS = range(6, 10)  # which of them are a container's: what it reads and writes by its links
REQUESTS_OF_FLOW = ["ClassGet", "FunctionGet", "FunctionMap", "FunctionGetOutputs", "FunctionMap"]
MOST_ROUNDS = 6
TWO_HOURS = 2 * 3600  # seconds

Container = Callable[[Call], str | None]  # carries a call's job out: the object that it wrote, None where it died


def flow(
    customer: Customer, plane: ControlPlane, container: Container, morning: Callable[[], None] = lambda: None
) -> None:
    """Work, result, watchdog, until the file has ended. `morning` is called when a round begins."""
    world, seen = customer.world, set[str]()
    for _ in range(MOST_ROUNDS):
        morning()
        for message in world.take(world.services.settings.work_queue_url):
            delivered(lambda m=message: lifecycle.dispatch(world.services, FileRef.model_validate_json(m)))  # type: ignore[misc]
        for call in [call for call in plane.calls.values() if call.id not in seen]:
            seen.add(call.id)
            if written := container(call):
                delivered(lambda key=written: world.result_event(key))  # type: ignore[misc]
        world.clock.forward(world.services.settings.lease_seconds + 1)
        with suppress(InjectedFaultError, EndpointConnectionError, ExceptionGroup):  # it comes again each minute
            world.watchdog()
        if customer.row()["state"] in ("done", "failed"):
            return


def works(world: World) -> Container:
    """A container of which nothing goes wrong: it has no AWS calls of its own."""

    def container(call: Call) -> str | None:
        fault, world.fault = world.fault, None
        written = world.work(job_of(call), event=False)
        world.fault = fault
        return written

    return container


def test_the_flow_makes_as_many_calls_as_are_failed_in_turn(world: World, plane: ControlPlane) -> None:
    customer = Customer(world)
    with world.counted() as calls:
        flow(customer, plane, works(world))
    assert (customer.status, customer.paid()) == ("completed", 1)
    assert calls.index("Query") == CALLS_OF_FLOW, calls  # the watchdog's first
    assert [calls[number] for number in CONTAINERS] == ["GetObject", "PutObject", "PutObject", "PutObject"]


@pytest.mark.parametrize("kind", ["failed", "killed"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [number for number in range(CALLS_OF_FLOW) if number not in CONTAINERS])
def test_any_aws_call_may_fail_or_be_the_last_of_its_process(
    world: World, plane: ControlPlane, number: int, moment: str, kind: str
) -> None:
    customer = Customer(world)
    struck = strike(world, len(world.calls) + number + 1, moment, kind)
    flow(customer, plane, works(world))
    assert struck
    assert (customer.status, customer.paid()) == ("completed", 1)  # one fault is healed within the file's attempts


def strike(world: World, number: int, moment: str, kind: str) -> list[str]:
    """Makes one AWS call fail, once; gets its name when that has happened."""
    struck: list[str] = []

    def fault(call: int, operation: str, when: str) -> None:
        if call == number and when == moment:
            struck.append(operation)
            world.fault = None
            raise InjectedFaultError(operation) if kind == "killed" else EndpointConnectionError(endpoint_url=operation)

    world.fault = fault
    return struck


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("deaths", [1, MOST_RETRIES + 1])
@pytest.mark.parametrize("step", range(len(CONTAINERS)))
def test_a_container_may_die_at_any_step(
    world: World, plane: ControlPlane, step: int, deaths: int, moment: str
) -> None:
    """Once: Modal gives the job to another. As often as Modal tries: the watchdog asks, and it is another attempt."""
    world.clock.forward(TWO_HOURS)  # ahead of the time in which storage keeps reports
    customer = Customer(world)
    died: list[str] = []

    def container(call: Call) -> str | None:
        for _ in range(1 + MOST_RETRIES):
            if len(died) < deaths:
                died.extend(struck := strike(world, len(world.calls) + step + 1, moment, "killed"))
            try:
                return world.work(job_of(call), event=False)
            except InjectedFaultError:
                died.extend(struck)
        call.end(**ended("INTERNAL_FAILURE"))
        return None

    flow(customer, plane, container)
    assert len(died) == deaths
    assert (customer.status, customer.paid()) == ("completed", 1)


def test_the_flow_asks_modal_what_it_is_asked_in_vain_in_turn(world: World, plane: ControlPlane) -> None:
    customer, asked = Customer(world), []
    plane.fault = lambda task, name, moment: asked.append(name) if moment == "before" else None
    flow(customer, plane, dies_once(world))
    assert (customer.status, customer.paid()) == ("completed", 1)
    assert asked == REQUESTS_OF_FLOW


def dies_once(world: World) -> Container:
    """So that the watchdog has something to ask."""
    lives, deaths = works(world), []

    def container(call: Call) -> str | None:
        if deaths:
            return lives(call)
        deaths.append(call)
        call.end(**ended("INTERNAL_FAILURE"))
        return None

    return container


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(len(REQUESTS_OF_FLOW)))
def test_modal_may_be_lost_at_any_request(
    world: World, plane: ControlPlane, number: int, moment: str, impatient: None
) -> None:
    """From that request on, which it still carries out or not, until the next round."""
    customer, asked = Customer(world), []
    outages: list[str] = []

    def fault(task: str, name: str, when: str) -> None:
        if when == "before":
            asked.append(name)
        if outages == ["now"] or (not outages and len(asked) == number + 1 and when == moment):
            outages[:] = ["now"]
            raise GRPCError(Status.UNAVAILABLE, "gone")

    def back() -> None:
        if outages:
            outages[:] = ["over"]

    plane.fault = fault
    flow(customer, plane, dies_once(world), morning=back)
    assert outages
    assert (customer.status, customer.paid()) == ("completed", 1)
