"""What runs inside a worker process: a Lambda runtime client. Run by path, it imports nothing of the stack.

It dies with the stack: its standard input is a pipe whose other end the stack holds, so that even after a SIGKILL the
end of the pipe ends the worker and every process that it started.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any


class Context:
    """As the handlers see it in the cloud."""

    def __init__(self, request_id: str, deadline_ms: int, arn: str) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = "$LATEST"
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - int(time.time() * 1000))


class Runtime:
    def __init__(self, endpoint: str) -> None:
        host, _, path = endpoint.partition("/")
        self._base = f"/{path}/2018-06-01/runtime"
        self._connection = http.client.HTTPConnection(host)

    def next(self) -> tuple[bytes, Context]:
        headers, body = self._call("GET", "/invocation/next")
        request_id, deadline = headers["Lambda-Runtime-Aws-Request-Id"], headers["Lambda-Runtime-Deadline-Ms"]
        return body, Context(request_id, int(deadline), headers["Lambda-Runtime-Invoked-Function-Arn"])

    def answer(self, request_id: str, body: bytes) -> None:
        self._call("POST", f"/invocation/{request_id}/response", body)

    def fail(self, request_id: str | None, error: BaseException) -> None:
        where = f"/invocation/{request_id}/error" if request_id else "/init/error"
        stack = traceback.format_exception(error)
        body = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": stack}
        self._call("POST", where, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None = None) -> tuple[http.client.HTTPMessage, bytes]:
        self._connection.request(method, self._base + path, body)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise ConnectionError(f"the runtime API answered {response.status}")
        return response.headers, content


def die_with_the_stack() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns only when the other end is closed
    os.killpg(0, signal.SIGKILL)


def load(handler: str) -> Callable[[Any, Context], Any]:
    module, _, name = handler.rpartition(".")
    loaded: Callable[[Any, Context], Any] = getattr(importlib.import_module(module), name)
    return loaded


def main() -> None:
    threading.Thread(target=die_with_the_stack, daemon=True).start()
    runtime = Runtime(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as error:
        traceback.print_exc()
        runtime.fail(None, error)
        sys.exit(1)
    while True:
        body, context = runtime.next()
        try:
            answer = json.dumps(handler(json.loads(body), context)).encode()
        except Exception as error:
            traceback.print_exc()
            runtime.fail(context.aws_request_id, error)
        else:
            runtime.answer(context.aws_request_id, answer)
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    main()
