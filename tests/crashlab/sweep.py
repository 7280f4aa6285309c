"""A flow's baseline, then one run for each of its calls and each kind of fault."""

from __future__ import annotations

import gc
import os
import pickle
import random
import secrets
import traceback
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from moto import mock_aws
from moto.s3.exceptions import NoSuchUpload
from moto.s3.models import S3Backend
from tessera import ids
from tessera.observability import logger
from tessera.settings import HOURS, SECONDS

from infra.local import multiparts, transactions
from tests.crashlab import gpu, invariants, sites
from tests.crashlab.calls import KINDS_OF_READ, Call, Fault, Plan, Recorder, nothing, recorded
from tests.crashlab.client import Client
from tests.crashlab.flows import Flow
from tests.crashlab.invariants import Violation, require, rows
from tests.crashlab.receiver import Receiver
from tests.crashlab.simulation import Simulation, handlers, objects, open_multiparts
from tests.world import make_world, outside

ALIKE = {"get_upload_url", "get_task_status", "get_upscayl_history", "sweep"}  # the last is cleanup's
ENOUGH = 2
MANY = 3  # flows in which any other place is made to fail: what it leaves behind hardly differs in more
EXPIRING = {"TASK", "FILE", "HOOK", "UPLOAD", "PARTS", "ONCE", "REUSE", "TOKEN", "BEGUN"}
BEGIN = 1_767_225_600_000  # 2026-01-01T00:00:00Z: a run is the same at any time of day


@dataclass(frozen=True)
class Run:
    """`wrong`: what was violated, empty where nothing was. `calls`: all that a baseline made."""

    flow: str
    fault: Fault | None
    injected: Call | None
    wrong: str
    calls: tuple[Call, ...]

    def __str__(self) -> str:
        if self.fault is None or self.injected is None:
            return f"{self.flow}: {self.wrong or 'fine'}"
        where = f"call {self.fault.number}, {self.injected.operation} at {sites.place(self.injected)}"
        return f"{self.flow}, {self.fault.kind} of {where}: {self.wrong or 'fine'}"


def run(flow: Flow, plan: Plan = nothing, first: bool = False) -> tuple[Run, ...]:
    """The flow without a fault, and one run for each fault of the plan, until the `first` violation or all of them."""
    recorder = Recorder(plan)
    if first:
        recorder.plan = lambda call: () if any(child.wrong for child in recorder.children) else plan(call)
    wrong = ""
    with deployment(flow, recorder) as client:
        try:
            with _frozen():
                _play(flow, client)
        except Violation as violation:
            wrong = str(violation)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            wrong = f"{type(error).__name__} in {frame.filename}:{frame.lineno}: {str(error)[:300]}"
        calls = () if recorder.fault else tuple(recorder.calls)
        made = Run(flow.name, recorder.fault, recorder.injected, wrong, calls)
        if recorder.to_parent is not None:
            try:
                with os.fdopen(recorder.to_parent, "wb") as pipe:
                    pickle.dump(made, pipe)
            finally:
                os._exit(0)  # what comes after is the parent's to do
    return (made, *recorder.children)


Faults = dict[int, tuple[str, ...]]  # number of a call -> kinds


def all_faults(baselines: Iterable[Run], every: bool = False) -> list[Faults]:
    """For each flow its calls, each with every kind of fault.

    Calls of one place (operation and all lines on the stack) are taken the first and the last time, reads the first: a
    watchdog that finds nothing new asks the same each minute. What is ALIKE in all flows, as it comes before or after
    what they are about, is taken in ENOUGH of them, and no place in more than MANY. With `every`, all calls.
    """
    taken: Counter[object] = Counter()
    return [_faults_of(baseline, taken, every) for baseline in baselines]


def _faults_of(baseline: Run, taken: Counter[object], every: bool) -> Faults:
    places: dict[tuple[Any, ...], list[Call]] = {}
    for call in baseline.calls:
        places.setdefault((call.operation, call.frames), []).append(call)
    chosen: Faults = {}
    for place, same in places.items():
        if not every:
            taken[place] += 1
            alike = not ALIKE.isdisjoint(frame.function for frame in same[0].frames)
            if taken[place] > (ENOUGH if alike else MANY):
                continue
        once = same[:1] if same[0].kinds is KINDS_OF_READ else (same[0], same[-1])
        chosen |= {call.number: call.kinds for call in (same if every else once)}
    return chosen


def some_faults(share: float, seed: str) -> Plan:
    """One kind of fault for a share of all calls."""
    rng = random.Random(seed)
    return lambda call: (rng.choice(call.kinds),) if rng.random() < share else ()


@contextmanager
def _frozen() -> Iterator[None]:
    """No garbage is collected meanwhile: it would copy all memory into each child."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


@contextmanager
def deployment(flow: Flow, recorder: Recorder) -> Iterator[Client]:
    with ExitStack() as stack:
        for each in (mock_aws(), transactions.as_aws(), multiparts.as_aws(), recorded(recorder)):
            stack.enter_context(each)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        _same_each_time(patch)
        modal = flow.settings.get("worker") == "modal"
        if modal:
            gpu.keep_secret()
        if secret := flow.settings.get("link_secret"):
            outside().client("secretsmanager").create_secret(Name=secret, SecretString=link_key())
        world = make_world(patch, **flow.settings)
        world.clock.ms = BEGIN
        for module in handlers():
            patch.setattr(f"{module}.services", lambda: world.services)
        _dated_by(patch, world.clock)
        _refuses_unknown_uploads(patch)
        stack.callback(logger.setLevel, logger.log_level)
        logger.setLevel("CRITICAL")
        simulation = Simulation(
            world, recorder, lambda nn: (flow.other,) if nn in flow.broken else flow.worker, flow.copies, flow.lose
        )
        provider = gpu.Gpu(simulation, patch, flow.answers) if modal else None
        receiver = Receiver(simulation, patch, flow.receiver)
        yield Client(simulation, world.account(flow.credits), receiver, patch, provider)


@cache
def link_key() -> str:
    """A private key, as an operator stores it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def _same_each_time(patch: pytest.MonkeyPatch) -> None:
    """Numbers, pauses, and two shards of the index for eight: a round of a schedule asks each of them."""
    for module in ("table", "lifecycle", "webhooks", "cleanup"):
        patch.setattr(f"tessera.{module}.DUE_SHARDS", 2)
    rng = random.Random(1)
    random.seed(1)
    patch.setattr(secrets, "token_bytes", lambda n=32: rng.randbytes(n))
    patch.setattr(secrets, "token_hex", lambda n=32: rng.randbytes(n).hex())
    patch.setattr(secrets, "token_urlsafe", lambda n=32: urlsafe_b64encode(rng.randbytes(n)).rstrip(b"=").decode())
    patch.setattr(secrets, "randbits", rng.getrandbits)
    patch.setattr("time.sleep", lambda seconds: None)


def _dated_by(patch: pytest.MonkeyPatch, clock: Any) -> None:
    """moto dates what it stores by the same clock."""

    class Moment(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(clock.ms / 1000, tz)

    patch.setattr("moto.s3.models.utcnow", lambda: datetime.fromtimestamp(clock.ms / 1000, UTC).replace(tzinfo=None))
    patch.setattr(multiparts, "datetime", Moment)


def _refuses_unknown_uploads(patch: pytest.MonkeyPatch) -> None:
    """As S3 does; moto breaks on one."""
    original: Any = S3Backend.complete_multipart_upload

    def complete(self: Any, bucket: str, upload: str, body: Any) -> Any:
        if upload not in self.get_bucket(bucket).multiparts:
            raise NoSuchUpload(upload)
        return original(self, bucket, upload, body)

    patch.setattr(S3Backend, "complete_multipart_upload", complete)


# ---------------------------------------------------------------- one run


def _play(flow: Flow, client: Client) -> None:
    simulation, clock = client.simulation, client.simulation.world.clock
    simulation.books.check()
    for step in flow.steps:
        step.do(client)
    simulation.rest()
    table, faults = rows(), int(simulation.recorder.injected is not None)
    invariants.at_rest(table, faults)
    invariants.healed(table, simulation.results, faults)
    client.receiver.check(table, faults, flow.delay)
    _answers_are_true(flow, client, table)
    _nothing_ran_twice(flow, simulation)
    first = min((row["expires"] for row in table if row.get("state") == "done"), default=clock.ms + SECONDS)
    simulation.run_until(first - SECONDS)
    invariants.kept(rows(), objects(), clock.ms)
    last = max((row["expires"] for row in table if "expires" in row and not row["sk"].startswith("ONCE#")), default=0)
    ttl = simulation.world.services.settings.upload_ttl_ms
    simulation.run_until(max(last, clock.ms + ttl) + HOURS)
    simulation.swept()
    invariants.gone(objects(), open_multiparts())
    simulation.run_until(clock.ms + simulation.world.services.settings.history_retention_ms)
    _forgotten(rows())


def _answers_are_true(flow: Flow, client: Client, table: tuple[Any, ...] | list[Any]) -> None:
    """G6: what was confirmed is there, what was refused is not, and each task ends as the flow says."""
    tasks = {row["id"] for row in table if row["sk"] == "TASK"}
    told = {ids.from_uuid(task) for task in client.tasks}
    require("G6", told <= tasks, "a task that was confirmed does not exist")
    if flow.once:
        require("G3", len(tasks) == flow.starts, f"{len(tasks)} tasks of {flow.starts} starts with their keys")
    allowed = flow.starts + client.unsure
    require("G6", bool(tasks) == bool(flow.starts) and len(tasks) <= allowed, f"{len(tasks)} tasks")
    for task in tasks:
        files = sorted(
            (row for row in table if row["pk"] == f"TASK#{task}" and row["sk"].startswith("FILE#")),
            key=lambda f: f["nn"],
        )
        states = tuple(row["state"] for row in files)
        require("G5", states == flow.ends, f"the files ended {states}, not {flow.ends}")


def _nothing_ran_twice(flow: Flow, simulation: Simulation) -> None:
    """G9: no job is handed over for a file that had its result already, from an attempt that had not been given up."""
    for taken in simulation.runs:
        of = int(taken.job.task), taken.job.file
        there = [when for at, when in simulation.results.items() if (at.task, at.nn) == of]
        require("G9", not any(when < taken.sent for when in there), "a file that had its result was run again")
    if flow.runs is not None and simulation.recorder.injected is None:
        require("G4", len(simulation.runs) == flow.runs, f"{len(simulation.runs)} jobs, not {flow.runs}")


def _forgotten(table: list[Any]) -> None:
    left = [row["sk"] for row in table if row["sk"].split("#")[0] in EXPIRING]
    require("G15", not left, f"rows that nothing deletes: {left[:3]}")
    for account in (row for row in table if row["sk"] == "ACCOUNT"):
        require("G24", account["tasks"] == 0, "the history counts tasks that are gone")
