"""Jobs to `Upscaler.run` of gpu_app.py on Modal, by Modal's own client.

The one module that imports modal; it is imported where TESSERA_WORKER is modal, in dispatch and watchdog. Their
environment sets MODAL_PAYLOAD_FORMAT=cbor, so that no pickle is sent in either direction, and MODAL_MAX_THROTTLE_WAIT,
without which a throttled call waits for ever.

What the client raises becomes, by its type:

    spawn                                                                    the file
    ResourceExhaustedError, or Modal was silent a moment ago   NotNow          waits, not counted as an attempt
    silence, ConnectionError, ServiceError, InternalError      OutcomeUnknown  counts as handed over for SPAWN_LEASE
    NotFoundError, AuthError, InvalidError and their like      Refused         fails, paid back

    get(timeout=0)
    builtin TimeoutError                                       still to come   keeps its attempt
    an Outcome                                                 its error       by the error: tried again, or fails
    OutputExpiredError, FunctionTimeoutError, InternalFailure,
    RemoteError, ExecutionError                                lost            is tried again
    anything else                                              flies           nothing changes
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpclib.exceptions
import modal
from modal import exception as modal_errors
from pydantic import ValidationError

from tessera.dispatch import LOST, NotNow, OutcomeUnknown, Refused
from tessera.job import Job, JobError, Outcome

APP, CLASS = "tessera", "Upscaler"
GUARD = 8.0  # seconds: unguarded, an unreachable Modal takes a minute to fail, a silent one almost three
QUIET = 30.0  # seconds after a silence in which nobody else waits for it
IDLE = 60.0  # seconds without a call after which a connection is not trusted: a function is frozen between its events

REFUSALS = (
    modal_errors.NotFoundError,
    modal_errors.AuthError,
    modal_errors.PermissionDeniedError,
    modal_errors.InvalidError,
    modal_errors.UnimplementedError,
    modal_errors.VersionError,
)
NO_ANSWER = (
    modal_errors.ConnectionError,
    modal_errors.ServiceError,
    modal_errors.InternalError,
    grpclib.exceptions.StreamTerminatedError,
)
NO_RESULT = (
    modal_errors.OutputExpiredError,
    modal_errors.FunctionTimeoutError,
    modal_errors.InternalFailure,
    modal_errors.RemoteError,
    modal_errors.ExecutionError,
)

T = TypeVar("T")


class Silent(Exception):
    """Modal did not answer in time."""


@dataclass(frozen=True)
class Token:
    id: str
    secret: str


def token_in(secrets: Any, name: str) -> Token:
    """From Secrets Manager: {"token_id": ..., "token_secret": ...}."""
    stored = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    return Token(stored["token_id"], stored["token_secret"])


class ModalDispatcher:
    """`token` is asked when a client is made: at the first call, after idleness or a silence, and when it was refused.

    `clock` gives seconds, those of a frozen process too.
    """

    def __init__(self, token: Callable[[], Token], clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._clock = clock
        self._used: Token | None = None
        self._client: modal.Client | None = None
        self._run: Any = None
        self._quiet_until = float("-inf")
        self._trusted_until = float("inf")

    def spawn(self, job: Job) -> str:
        try:
            call = self._ask(lambda: self._run.spawn.aio({"packed": job.packed()}))
        except modal_errors.ResourceExhaustedError as error:
            raise NotNow("throttled") from error
        except modal_errors.ConflictError as error:  # an InvalidError, but of the moment
            raise NotNow(type(error).__name__) from error
        except REFUSALS as error:
            raise Refused(type(error).__name__) from error
        except (Silent, *NO_ANSWER) as error:
            raise OutcomeUnknown(type(error).__name__) from error
        return str(call.object_id)

    def ended(self, call: str, began: bool) -> JobError | None:
        if not call:
            return LOST
        try:
            told = self._ask(lambda: modal.FunctionCall.from_id(call, client=self._client).get.aio(timeout=0))
        except TimeoutError:  # the builtin one: no output yet
            return None
        except NO_RESULT:
            return LOST
        try:
            return Outcome.model_validate(told).error or LOST
        except ValidationError:
            return LOST

    def cancel(self, call: str) -> None:
        """Together with its container. A call that Modal does not know any more is no error."""
        try:
            self._ask(
                lambda: modal.FunctionCall.from_id(call, client=self._client).cancel.aio(terminate_containers=True)
            )
        except modal_errors.NotFoundError:
            return

    def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Within GUARD seconds. Raises NotNow in the QUIET time after a silence, Silent, and what the client raises."""
        now = self._clock()
        if now < self._quiet_until:
            raise NotNow("Modal was silent a moment ago")
        if now > self._trusted_until:
            self._forget()
        self._trusted_until = now + IDLE
        try:
            try:
                return asyncio.run(self._guarded(request))
            except modal_errors.AuthError:
                if self._token() == self._used:
                    raise
            self._forget()  # the token has been changed since this process read it
            return asyncio.run(self._guarded(request))
        except Silent:
            self._quiet_until = self._clock() + QUIET
            self._forget()
            raise

    async def _guarded(self, request: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(GUARD) as guard:
                await self._connect()
                return await request()
        except TimeoutError as error:
            if guard.expired():
                raise Silent(f"no answer within {GUARD:g} seconds") from error
            raise

    async def _connect(self) -> None:
        """One client and one handle for the life of the process: they cost two requests, each call then one."""
        if self._client is None:
            self._used = self._token()
            self._client = await modal.Client.from_credentials.aio(self._used.id, self._used.secret)
            self._run = modal.Cls.from_name(APP, CLASS, client=self._client)().run

    def _forget(self) -> None:
        """A client whose connection went silent does not come back."""
        client, self._client, self._run = self._client, None, None
        if client is not None:
            client.close()
