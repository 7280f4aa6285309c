"""`Runtime`: runs each function in worker processes that talk to it by the Lambda Runtime API.

Guarantees: a process has one event at a time and an endpoint of its own, so a killed process can take no other's event
with it; a function that outlives its time-out is killed; a process that dies answers as Lambda does, with an error for
the event it had; no process outlives the stack. Processes start when they are needed and stay warm.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path

from .deployment import Function
from .server import LOOPBACK, Answer, Request, Server

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
INIT_SECONDS = 60  # Lambda gives 10; a busy laptop imports more slowly
MOST_PROCESSES = 4
MEMORY_MB = 4096  # of one function's processes together: a large function gets one process, a small one four
LARGEST_PAYLOAD = 6_291_556  # bytes; Lambda, request and response alike
LOG_BYTES = 10 << 20  # a log above this is set aside when the stack starts
SHUTTING_DOWN = "Sandbox.Shutdown"
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Result:
    payload: bytes
    error: str | None = None  # the kind, as in Lambda's errorType
    seconds: float = 0.0


@dataclass(frozen=True)
class _Event:
    id: str
    payload: bytes
    deadline_ms: int


def _failure(kind: str, message: str) -> Result:
    return Result(json.dumps({"errorType": kind, "errorMessage": message}).encode(), kind)


class ShuttingDown(Exception):
    """No process is started any more."""


class _Worker:
    """One process."""

    def __init__(self, function: Function, environment: Mapping[str, str], log: Path) -> None:
        self.function = function
        self._inbox: queue.Queue[_Event | None] = queue.Queue()
        self._outcome: Future[Result] = Future()
        self._event: _Event | None = None
        self._settled = threading.Event()  # ready, or dead
        self._settle_lock = threading.Lock()
        self._init_error: Result | None = None
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(BOOTSTRAP)],  # -P: this folder's names must not shadow the handlers'
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def run(self, payload: bytes) -> Result:
        if not self._settled.wait(INIT_SECONDS):
            self.kill()
            return _failure("Sandbox.Timedout", f"{self.function.name} was not ready after {INIT_SECONDS} seconds")
        if not self.alive:
            return self._init_error or _failure("Runtime.ExitError", "the process ended before it was ready")
        timeout = self.function.timeout
        self._outcome = Future()
        self._event = _Event(str(uuid.uuid4()), payload, int((time.time() + timeout) * 1000))
        self._inbox.put(self._event)
        if not self.alive:
            self._settle(_failure("Runtime.ExitError", "the process ended"))
        try:
            return self._outcome.result(timeout)
        except FutureTimeoutError:
            self.kill()
            return _failure("Sandbox.Timedout", f"{self._event.id} Task timed out after {timeout:.2f} seconds")

    def kill(self) -> None:
        if self.alive:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._watcher.join()

    def answer(self, request: Request, what: str) -> Answer:
        """The worker's own endpoint of the Runtime API."""
        if what == "invocation/next":
            self._settled.set()
            event = self._inbox.get()
            if event is None:
                return Answer(410)
            headers = [
                ("Lambda-Runtime-Aws-Request-Id", event.id),
                ("Lambda-Runtime-Deadline-Ms", str(event.deadline_ms)),
                ("Lambda-Runtime-Invoked-Function-Arn", self.function.arn),
            ]
            return Answer(200, headers, event.payload)
        if what == "init/error":
            self._init_error = Result(request.body, "Runtime.ImportModuleError")
            return Answer(202)
        _, _, rest = what.partition("/")
        event_id, _, kind = rest.partition("/")
        if self._event is None or event_id != self._event.id:
            return Answer(400)
        if kind == "error":
            self._settle(Result(request.body, str(json.loads(request.body)["errorType"])))
        elif len(request.body) > LARGEST_PAYLOAD:
            message = f"Response payload size exceeded maximum allowed payload size ({LARGEST_PAYLOAD} bytes)."
            self._settle(_failure("Function.ResponseSizeTooLarge", message))
        else:
            self._settle(Result(request.body))
        return Answer(202)

    def _settle(self, result: Result) -> None:
        """The first to say how the event ended is right."""
        with self._settle_lock:
            if not self._outcome.done():
                self._outcome.set_result(result)

    def _watch(self) -> None:
        code = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._settle(_failure("Runtime.ExitError", f"the process ended with {code}"))
        self._settled.set()
        self._inbox.put(None)


class _Pool:
    """The processes of one function."""

    def __init__(self, runtime: Runtime, function: Function, size: int) -> None:
        self._runtime = runtime
        self.function = function
        self.size = size
        self._slots = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self.workers: set[_Worker] = set()
        self.running = 0

    def invoke(self, payload: bytes) -> Result:
        started = time.monotonic()
        with self._slots:
            worker = self._take()
            result = worker.run(payload)
            with self._lock:
                self.running -= 1
                if worker.alive:
                    self._idle.append(worker)
                else:
                    self.workers.discard(worker)
        return Result(result.payload, result.error, time.monotonic() - started)

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    break
                self.workers.discard(worker)
            else:
                worker = self._runtime.start(self.function)
                self.workers.add(worker)
            self.running += 1
            return worker

    def kill(self) -> int:
        with self._lock:
            workers = list(self.workers)
        for worker in workers:
            worker.kill()
        return len(workers)


class Runtime:
    def __init__(
        self,
        functions: Mapping[str, Function],
        environment: Mapping[str, str],
        log_dir: Path,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """`limits` bounds the processes of a function below what its memory allows."""
        self._environment = dict(environment)
        self._log_dir = log_dir
        self._workers: dict[str, _Worker] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._server = Server(self._answer)
        log_dir.mkdir(parents=True, exist_ok=True)
        self._pools: dict[str, _Pool] = {}
        for name, function in functions.items():
            bounds = [MOST_PROCESSES, MEMORY_MB // function.memory, function.concurrency, (limits or {}).get(name)]
            size = max(1, min(bound for bound in bounds if bound is not None))
            self._pools[name] = _Pool(self, function, size)
            log = self._log(function)
            if log.exists() and log.stat().st_size > LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))

    def size(self, name: str) -> int:
        """How many events the function may have at a time."""
        return self._pools[name].size

    def invoke(self, name: str, payload: bytes) -> Result:
        """Waits for a free process and for the answer."""
        if len(payload) > LARGEST_PAYLOAD:
            message = f"Request must be smaller than {LARGEST_PAYLOAD} bytes for the InvokeFunction operation"
            return _failure("RequestEntityTooLargeException", message)
        try:
            return self._pools[name].invoke(payload)
        except ShuttingDown:
            return _failure(SHUTTING_DOWN, "the stack is shutting down")

    def running(self, name: str) -> int:
        """How many events the function has."""
        return self._pools[name].running

    def kill(self, name: str) -> int:
        """Kills the function's processes, as an out-of-memory would; how many there were."""
        return self._pools[name].kill()

    def close(self) -> None:
        self._closed = True
        for pool in self._pools.values():
            pool.kill()
        self._server.close()

    def start(self, function: Function) -> _Worker:
        if self._closed:
            raise ShuttingDown
        token = secrets.token_urlsafe(16)
        variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
        variables |= self._environment
        variables |= {
            "PYTHONPATH": os.pathsep.join(str(path) for path in function.paths),
            "PYTHONUNBUFFERED": "1",
            "TZ": ":UTC",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"local/{token}",
            "AWS_LAMBDA_RUNTIME_API": f"{LOOPBACK}:{self._server.port}/{token}",
            "LAMBDA_TASK_ROOT": str(function.paths[0]),
            "_HANDLER": function.handler,
        }
        variables |= function.environment
        with self._lock:  # its first call has to find it
            worker = _Worker(function, variables, self._log(function))
            self._workers = {key: known for key, known in self._workers.items() if known.alive} | {token: worker}
        return worker

    def _log(self, function: Function) -> Path:
        return self._log_dir / f"{function.name}.log"

    def _answer(self, request: Request) -> Answer:
        token, _, path = request.path.lstrip("/").partition("/")
        with self._lock:
            worker = self._workers.get(token)
        if worker is None:
            return Answer(404)
        return worker.answer(request, path.removeprefix("2018-06-01/runtime/"))
