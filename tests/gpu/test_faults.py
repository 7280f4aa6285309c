"""Every AWS call on the way to Modal and back fails in turn, or is the last of its process."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError
from tessera import lifecycle
from tessera.dispatch import FileRef

from infra.local.gpu.control import ControlPlane
from infra.local.gpu.definitions import Call
from tests.gpu.conftest import job_of
from tests.gpu.test_lifecycle import Customer
from tests.world import InjectedFaultError, World, delivered

CALLS_OF_FLOW = 13  # from the work message to the end of the file; a test holds it
CONTAINERS = range(7, 11)  # of them: what the container writes by its links, which `test_end_to_end` kills


def flow(world: World, plane: ControlPlane) -> None:
    """Work, result, watchdog, until nothing is left to do; each container that was given a job carries it out."""
    seen: list[Call] = []
    for _ in range(5):
        for message in world.take(world.services.settings.work_queue_url):
            delivered(lambda m=message: lifecycle.dispatch(world.services, FileRef.model_validate_json(m)))  # type: ignore[misc]
        for call in list(plane.calls.values()):
            if call in seen:
                continue
            seen.append(call)
            fault, world.fault = world.fault, None  # the container has no AWS calls of its own
            result = world.work(job_of(call), event=False)
            world.fault = fault
            delivered(lambda key=result: world.result_event(key))  # type: ignore[misc]
        world.clock.forward(world.services.settings.lease_seconds + 1)
        delivered(world.watchdog)


def test_the_flow_makes_as_many_calls_as_are_failed_in_turn(world: World, plane: ControlPlane) -> None:
    customer = Customer(world)
    with world.counted() as calls:
        flow(world, plane)
    assert (customer.status, customer.paid()) == ("completed", 1)
    assert calls.index("Query") == CALLS_OF_FLOW, calls  # the watchdog's first


@pytest.mark.parametrize("kind", ["failed", "killed"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [number for number in range(1, CALLS_OF_FLOW + 1) if number not in CONTAINERS])
def test_any_call_may_fail_or_be_the_last_of_its_process(
    world: World, plane: ControlPlane, number: int, moment: str, kind: str
) -> None:
    customer = Customer(world)
    first = len(world.calls)
    struck = []

    def fault(call: int, operation: str, when: str) -> None:
        if call == first + number and when == moment:
            struck.append(operation)
            world.fault = None
            raise InjectedFaultError(operation) if kind == "killed" else EndpointConnectionError(endpoint_url=operation)

    world.fault = fault
    flow(world, plane)
    world.fault = None
    assert struck
    assert (customer.status, customer.paid()) == ("completed", 1)  # one fault is healed within the file's attempts
