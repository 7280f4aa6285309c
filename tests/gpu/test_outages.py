"""Modal is lost at each request in turn that dispatcher and watchdog make on a job's way.

Containers are killed at each of their steps in `tests/e2e/test_modal.py`; each AWS call of both fails, or is
the last of its process, in `tests/crashlab`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from grpclib import GRPCError, Status
from tessera import lifecycle
from tessera.dispatch import FileRef

from infra.local.gpu.control import ControlPlane
from tests.gpu.conftest import ended, job_of
from tests.gpu.test_lifecycle import Customer
from tests.world import World

REQUESTS = ["ClassGet", "FunctionGet", "FunctionMap", "FunctionGetOutputs", "FunctionMap"]
MOST_ROUNDS = 6


@dataclass
class Outage:
    """From the request of that number on, which is still carried out or not, until `over`. None: never."""

    number: int | None
    moment: str = "before"
    asked: list[str] = field(default_factory=list)
    now: bool = False
    been: bool = False

    def __call__(self, container: str, name: str, moment: str) -> None:
        if moment == "before":
            self.asked.append(name)
        if not self.been and moment == self.moment and len(self.asked) - 1 == self.number:
            self.now = self.been = True
        if self.now:
            raise GRPCError(Status.UNAVAILABLE, "gone")

    def over(self) -> None:
        self.now = False


def flow(customer: Customer, plane: ControlPlane, outage: Outage) -> None:
    """Work, result, watchdog, until the file has ended. The first container dies, so that there is something to ask."""
    plane.fault = outage
    world, seen = customer.world, set[str]()
    for _ in range(MOST_ROUNDS):
        for message in world.take(world.services.settings.work_queue_url):
            lifecycle.dispatch(world.services, FileRef.model_validate_json(message))
        for call in [call for call in plane.calls.values() if call.id not in seen]:
            if seen:
                world.work(job_of(call))
            else:
                call.end(**ended("INTERNAL_FAILURE"))
            seen.add(call.id)
        world.clock.forward(world.services.settings.lease_seconds + 1)
        with suppress(ExceptionGroup):  # it comes again each minute
            world.watchdog()
        outage.over()
        if customer.row()["state"] in ("done", "failed"):
            return


def test_these_are_the_requests_in_which_modal_is_lost(world: World, plane: ControlPlane) -> None:
    customer, outage = Customer(world), Outage(None)
    flow(customer, plane, outage)
    assert (customer.status, customer.paid()) == ("completed", 1)
    assert outage.asked == REQUESTS


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_modal_may_be_lost_at_any_request(
    world: World, plane: ControlPlane, number: int, moment: str, impatient: None
) -> None:
    customer, outage = Customer(world), Outage(number, moment)
    flow(customer, plane, outage)
    assert outage.been
    assert (customer.status, customer.paid()) == ("completed", 1)
