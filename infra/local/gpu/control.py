"""`ControlPlane`: as much of Modal's control plane as its own, unmodified client and container runtime ask for.

It serves the stubs that the package brings along (`modal_proto`) on the loopback: a deploy is recorded, a call becomes
an input that a container fetches, its output is kept for whoever asks. Each request, by name, is in `requests`; what
`answers` holds for a name happens instead of the answer: an exception is raised, SILENCE never answers.
A request that it does not know is answered as not implemented, so that a newer client's wishes are seen.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from itertools import count
from typing import Any, Self, TypeVar

import grpclib
from google.protobuf import empty_pb2
from grpclib.const import Status
from modal_proto import api_pb2

from .definitions import Call, Deployed, Result, data_of, function_of, metadata_of
from .door import LOOPBACK, Door

TOKEN_ID, TOKEN_SECRET = "ak-stand-in", "as-stand-in"
MOST_RETRIES = 1  # of an input whose container died, as gpu_app.py asks for
POLL = 55.0  # seconds: the longest that the client waits for an output in one request
BEAT = 5.0  # seconds that a heartbeat waits for a cancel
OF_A_CONTAINER = {"FunctionGetInputs", "ContainerHeartbeat", "TaskResult"}
SILENCE = object()

T = TypeVar("T")


class ControlPlane:
    """A context manager; `url` is what MODAL_SERVER_URL has to be.

    In the server's thread `wanted` is called when an input waits and no container of its function is idle, and
    `terminate` with a container that is to be ended together with its call.
    """

    def __init__(self) -> None:
        self.wanted: Callable[[str], None] = lambda function_id: None
        self.terminate: Callable[[str], None] = lambda task: None
        self.tokens = {TOKEN_ID: TOKEN_SECRET}
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self.answers: dict[str, Any] = {}
        self.deployed = Deployed()
        self.calls: dict[str, Call] = {}
        self.url = ""
        self._numbers = count(1)
        self._idle: dict[str, int] = defaultdict(int)
        self._beats: dict[str, asyncio.Queue[api_pb2.ContainerHeartbeatResponse]] = {}
        self._doors: dict[str, Door] = {}
        self._ready: set[str] = set()
        self._false_starts = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = self.door("")
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def environment(self) -> dict[str, str]:
        """For whoever is to talk to this control plane; the token belongs to those that have one."""
        return {"MODAL_SERVER_URL": self.url, "MODAL_CONFIG_PATH": "/nonexistent", "NO_PROXY": LOOPBACK}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """In the server's thread."""
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result()

    def hang_up(self) -> None:
        """Ends the server as a crash would: every connection breaks, and nobody answers the port."""
        self.do(self._stop())

    def door(self, task: str) -> str:
        """The address for one container: what comes in there is that container's."""
        return self.do(self._serve(task))

    def container_died(self, task: str) -> None:
        """Gives its input to another container, or ends the call when it had its retries."""
        self.do(self._died(task))

    async def _died(self, task: str) -> None:
        self._beats.pop(task, None)
        if task in self._doors:
            self._doors.pop(task).close()
        if task not in self._ready:
            self._false_starts += 1
        for call in self.calls.values():
            if call.output is not None or call.task not in ("", task):
                continue
            tries = call.tries if call.task else self._false_starts
            call.task = ""
            if call.cancelled:
                call.end(Result(status=Result.GENERIC_STATUS_TERMINATED, exception="cancelled"))
            elif tries > MOST_RETRIES:
                call.end(Result(status=Result.GENERIC_STATUS_INTERNAL_FAILURE, exception="container lost"))
            else:
                self.wanted(call.function_id)

    async def _serve(self, task: str) -> str:
        async def answer(name: str, request: Any, sent: Mapping[str, Any]) -> Any:
            return await self._answer(task, name, request, sent)

        self._doors[task] = door = Door(answer)
        return await door.open()

    async def _answer(self, task: str, name: str, request: Any, sent: Mapping[str, Any]) -> Any:
        """`task`: the container that asks; empty for a client, which needs a token."""
        self.requests[name].append(request)
        instead = self.answers.get(name)
        if instead is SILENCE:
            await asyncio.Event().wait()
        if isinstance(instead, Exception):
            raise instead
        secret = self.tokens.get(str(sent.get("x-modal-token-id")))
        if not task and (secret is None or secret != sent.get("x-modal-token-secret")):
            raise grpclib.GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or unknown")
        method = getattr(self, name, None)
        if method is None:
            raise grpclib.GRPCError(Status.UNIMPLEMENTED, f"the stand-in has no {name}")
        return await (method(request, task) if name in OF_A_CONTAINER else method(request))

    async def _stop(self) -> None:
        for door in self._doors.values():
            door.close()
        self._doors.clear()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.sleep(0)  # a closed connection is gone with the loop's next turn

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers)}"

    # ------------------------------------------------------------------ deploy

    async def AppGetByDeploymentName(self, request: Any) -> Any:
        return api_pb2.AppGetByDeploymentNameResponse()

    async def AppCreate(self, request: Any) -> Any:
        self.deployed = Deployed(self.new_id("ap"), request.description)
        return api_pb2.AppCreateResponse(app_id=self.deployed.app_id, app_page_url="http://127.0.0.1/app")

    async def AppGetOrCreate(self, request: Any) -> Any:
        return api_pb2.AppGetOrCreateResponse(app_id=self.deployed.app_id)

    async def AppHeartbeat(self, request: Any) -> Any:
        return empty_pb2.Empty()

    async def AppClientDisconnect(self, request: Any) -> Any:
        return empty_pb2.Empty()

    async def AppPublish(self, request: Any) -> Any:
        self.deployed.function_ids |= dict(request.function_ids)
        self.deployed.classes |= dict(request.class_ids)
        return api_pb2.AppPublishResponse(url="http://127.0.0.1/app")

    async def EnvironmentGetOrCreate(self, request: Any) -> Any:
        settings = api_pb2.EnvironmentSettings(image_builder_version="2025.06")
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    async def SecretGetOrCreate(self, request: Any) -> Any:
        self.deployed.secrets.append(request)
        return api_pb2.SecretGetOrCreateResponse(secret_id=self.new_id("st"))

    async def MountGetOrCreate(self, request: Any) -> Any:
        self.deployed.mounts.append(request)
        return api_pb2.MountGetOrCreateResponse(mount_id=self.new_id("mo"))

    async def MountBatchedCheckExistence(self, request: Any) -> Any:
        return api_pb2.MountBatchedCheckExistenceResponse()

    async def MountPutFile(self, request: Any) -> Any:
        return api_pb2.MountPutFileResponse(exists=True)

    async def ImageGetOrCreate(self, request: Any) -> Any:
        self.deployed.images.append(request)
        metadata = api_pb2.ImageMetadata(image_builder_version="2025.06", python_version_info="3.11")
        done = Result(status=Result.GENERIC_STATUS_SUCCESS)
        return api_pb2.ImageGetOrCreateResponse(image_id=self.new_id("im"), result=done, metadata=metadata)

    async def FunctionPrecreate(self, request: Any) -> Any:
        metadata = metadata_of(request.function_name, request)
        return api_pb2.FunctionPrecreateResponse(function_id=self.new_id("fu"), handle_metadata=metadata)

    async def FunctionCreate(self, request: Any) -> Any:
        function = function_of(request)
        function_id = request.existing_function_id or self.new_id("fu")
        self.deployed.functions[function_id] = request
        return api_pb2.FunctionCreateResponse(
            function_id=function_id,
            function=function,
            function_data=data_of(request),
            handle_metadata=metadata_of(function.function_name, function),
        )

    async def ClassCreate(self, request: Any) -> Any:
        return api_pb2.ClassCreateResponse(class_id=self.new_id("cs"), handle_metadata=api_pb2.ClassHandleMetadata())

    # ------------------------------------------------------------------ call

    async def ClientHello(self, request: Any) -> Any:
        return api_pb2.ClientHelloResponse()

    async def ClassGet(self, request: Any) -> Any:
        if request.app_name != self.deployed.name or request.object_tag not in self.deployed.classes:
            raise grpclib.GRPCError(Status.NOT_FOUND, f"No class {request.object_tag} in app {request.app_name}")
        return api_pb2.ClassGetResponse(class_id=self.deployed.classes[request.object_tag])

    async def FunctionGet(self, request: Any) -> Any:
        function_id = self.deployed.function_ids.get(request.object_tag)
        if request.app_name != self.deployed.name or function_id is None:
            raise grpclib.GRPCError(Status.NOT_FOUND, f"No function {request.object_tag} in app {request.app_name}")
        create = self.deployed.functions[function_id]
        return api_pb2.FunctionGetResponse(
            function_id=function_id,
            handle_metadata=metadata_of(request.object_tag, function_of(create)),
            function=data_of(create),
        )

    async def FunctionMap(self, request: Any) -> Any:
        call = Call(
            self.new_id("fc"),
            request.function_id,
            request.pipelined_inputs[0].input,
            request.function_call_invocation_type,
        )
        self.calls[call.id] = call
        if not self._idle[call.function_id]:
            self.wanted(call.function_id)
        item = api_pb2.FunctionPutInputsResponseItem(idx=0, input_id=call.input_id, input_jwt="none")
        return api_pb2.FunctionMapResponse(function_call_id=call.id, pipelined_inputs=[item], function_call_jwt="none")

    async def FunctionGetOutputs(self, request: Any) -> Any:
        call = self.calls.get(request.function_call_id)
        if call is None:  # unknown or expired: as one of which nothing is left
            return api_pb2.FunctionGetOutputsResponse()
        until = self._loop.time() + min(request.timeout, POLL)
        while call.output is None and self._loop.time() < until:
            await asyncio.sleep(0.02)
        outputs = [call.output] if call.output else []
        return api_pb2.FunctionGetOutputsResponse(outputs=outputs, num_unfinished_inputs=int(not outputs))

    async def FunctionCallCancel(self, request: Any) -> Any:
        call = self.calls.get(request.function_call_id)
        if call is None:
            raise grpclib.GRPCError(Status.NOT_FOUND, "no such call")
        call.cancelled = True
        if not call.task:
            call.end(Result(status=Result.GENERIC_STATUS_TERMINATED, exception="cancelled"))
        elif request.terminate_containers:
            self.terminate(call.task)
        elif call.task in self._beats:
            event = api_pb2.CancelInputEvent(input_ids=[call.input_id])
            self._beats[call.task].put_nowait(api_pb2.ContainerHeartbeatResponse(cancel_input_event=event))
        return empty_pb2.Empty()

    # ------------------------------------------------------------------ container

    async def ContainerHello(self, request: Any) -> Any:
        return empty_pb2.Empty()

    async def ContainerLog(self, request: Any) -> Any:
        return empty_pb2.Empty()

    async def FunctionGetInputs(self, request: Any, task: str) -> Any:
        """Waits for an input: containers ask again and again."""
        self._ready.add(task)
        self._idle[request.function_id] += 1
        try:
            while True:
                for call in self.calls.values():
                    if call.function_id == request.function_id and not call.task and call.output is None:
                        call.task, call.tries = task, call.tries + 1
                        item = api_pb2.FunctionGetInputsItem(
                            input_id=call.input_id,
                            input=call.input,
                            function_call_id=call.id,
                            function_call_invocation_type=call.kind,
                            retry_count=call.tries - 1,
                        )
                        return api_pb2.FunctionGetInputsResponse(inputs=[item])
                await asyncio.sleep(0.02)
        finally:
            self._idle[request.function_id] -= 1

    async def FunctionPutOutputs(self, request: Any) -> Any:
        for output in request.outputs:
            call = self.calls[output.input_id.replace("in-", "fc-")]
            failed = output.result.status == Result.GENERIC_STATUS_FAILURE
            if failed and call.tries <= MOST_RETRIES and not call.cancelled:
                call.task = ""  # the policy of gpu_app.py: once more
                self.wanted(call.function_id)
            else:
                call.end(output.result, output.data_format)
        return empty_pb2.Empty()

    async def ContainerHeartbeat(self, request: Any, task: str) -> Any:
        beats = self._beats.setdefault(task, asyncio.Queue())
        try:
            return await asyncio.wait_for(beats.get(), BEAT)
        except TimeoutError:
            return api_pb2.ContainerHeartbeatResponse()

    async def TaskResult(self, request: Any, task: str) -> Any:
        """A container that could not begin: Modal would try it a few times more before it tells the callers."""
        for call in self.calls.values():
            if not call.task:
                call.end(request.result)
        return empty_pb2.Empty()
