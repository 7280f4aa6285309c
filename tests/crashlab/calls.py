"""Every call that product code makes to AWS or to the GPU provider is numbered; one of them can be made to fail.

A run is cheap because it begins where the fault is: the flow runs once, and at each call that is to fail the process
forks. The child lives on with the fault and says at its end how it went; the parent goes on without it.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.world import ROOT

PRODUCT = (f"{ROOT}/layers/core/python/", f"{ROOT}/functions/", f"{ROOT}/infra/admin.py")
KINDS = (
    "kill-before",  # the process dies, the request was never sent
    "kill-after",  # the process dies, the request was carried out
    "error",  # AWS refuses, beyond the client's own retries
    "lost",  # the request was carried out, its answer never came
    "duplicate",  # the request was carried out twice, the second answer came: a retry of the client's own
)
READ = ("Get", "Head", "Query", "List", "Scan", "BatchGet")
KINDS_OF_READ = ("kill-before", "error")  # carried out or not, once or twice: nothing tells the difference
KINDS_OF_SPAWN = (*KINDS, "unsent")  # no answer, as with "lost", but nothing was carried out either
CODES = {"dynamodb": "ThrottlingException", "s3": "SlowDown", "sqs": "ServiceUnavailable"}


class Killed(BaseException):
    """The process is gone. Not an Exception: no handler of the product's outlives its process."""


@dataclass(frozen=True)
class Frame:
    file: str  # from the repository's root
    function: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


@dataclass(frozen=True)
class Call:
    """`frames`: product code on the stack, innermost first. `invocation`: of a handler, counted from 1."""

    number: int
    operation: str
    invocation: int
    frames: tuple[Frame, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        if self.operation == "Spawn":
            return KINDS_OF_SPAWN
        return KINDS_OF_READ if self.operation.startswith(READ) else KINDS


@dataclass(frozen=True)
class Fault:
    number: int
    kind: str


Plan = Callable[[Call], tuple[str, ...]]
"""What a call is to suffer, one run for each."""


def nothing(call: Call) -> tuple[str, ...]:
    return ()


@dataclass
class Recorder:
    """`carried_out` is told of each request that AWS has carried out, before the caller learns of it."""

    plan: Plan = nothing
    fault: Fault | None = None
    to_parent: int | None = None
    """Where a child says how it went."""
    children: list[Any] = field(default_factory=list)
    """What they said."""
    instead: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    """Operations that moto does not have."""
    carried_out: Callable[[str, dict[str, Any]], None] = lambda operation, parameters: None
    calls: list[Call] = field(default_factory=list)
    invocation: int = 0
    excused: int = 0  # the invocation to which the flow itself gave an answer that makes a handler raise
    injected: Call | None = None
    dead: bool = False
    paused: bool = True

    @property
    def in_fault(self) -> bool:
        """Whether the fault hit the invocation that runs now."""
        hit = self.injected is not None and self.injected.invocation == self.invocation
        return hit or self.excused == self.invocation

    def make(
        self,
        operation: str,
        parameters: dict[str, Any],
        send: Callable[[], Any],
        refusal: Callable[[], Exception],
        silence: Callable[[], Exception],
    ) -> Any:
        """One call to a service. `refusal` and `silence` make what its client raises."""
        if self.dead:
            raise Killed
        call = Call(len(self.calls) + 1, operation, self.invocation, product_frames())
        self.calls.append(call)
        kind = self._branch(call)
        if kind == "kill-before":
            self.die()
        if kind == "error":
            raise refusal()
        if kind == "unsent":
            raise silence()
        if kind == "duplicate":
            self._send(operation, parameters, send, first=True)
        answer = self._send(operation, parameters, send)
        if kind == "kill-after":
            self.die()
        if kind == "lost":
            raise silence()
        return answer

    def _branch(self, call: Call) -> str:
        """The kind of fault in a child, none in the parent, which comes back when its children have ended."""
        for kind in self.plan(call):
            receiving, sending = os.pipe()
            child = os.fork()
            if not child:
                os.close(receiving)
                self.plan, self.fault, self.injected, self.to_parent = nothing, Fault(call.number, kind), call, sending
                return kind
            os.close(sending)
            with os.fdopen(receiving, "rb") as pipe:
                said = pipe.read()
            os.waitpid(child, 0)
            if not said:
                raise RuntimeError(f"the run with {kind} of {call.frames[0]} ended without a word")
            self.children.append(pickle.loads(said))
        if self.fault and self.fault.number == call.number and self.injected is not call:
            self.injected = call
            return self.fault.kind
        return ""

    def _send(self, operation: str, parameters: dict[str, Any], send: Callable[[], Any], first: bool = False) -> Any:
        try:
            answer = send()
        except ClientError:
            if first:
                return None  # the client never saw this answer
            raise
        self.carried_out(operation, parameters)
        return answer

    def die(self) -> None:
        self.dead = True
        raise Killed


@contextmanager
def recorded(recorder: Recorder) -> Iterator[None]:
    """While it is open, calls of any client with product code on the stack go through `recorder`."""
    original: Any = BaseClient._make_api_call  # type: ignore[attr-defined]

    def make(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        def send() -> Any:
            instead = recorder.instead.get(operation)
            return instead(parameters) if instead else original(client, operation, dict(parameters))

        if recorder.paused:
            return send()
        silence = partial(ReadTimeoutError, endpoint_url=operation)
        return recorder.make(operation, parameters, send, partial(refusal, client, operation), silence)

    BaseClient._make_api_call = make  # type: ignore[attr-defined]
    try:
        yield
    finally:
        BaseClient._make_api_call = original  # type: ignore[attr-defined]


def product_frames() -> tuple[Frame, ...]:
    found: list[Frame] = []
    frame = sys._getframe(1)
    while frame:
        name = frame.f_code.co_filename
        if name.startswith(PRODUCT):
            found.append(Frame(name.removeprefix(f"{ROOT}/"), frame.f_code.co_qualname, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


def refusal(client: BaseClient, operation: str) -> ClientError:
    code = CODES.get(client.meta.service_model.service_name, "InternalServerError")
    answer = {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    made: ClientError = client.exceptions.from_code(code)(answer, operation)
    return made
