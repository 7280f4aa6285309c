"""What the functions beside the worker cost: `python -m bench.control_plane [--rounds N] [--rows N]`.

    import    CPU until a function is ready (its modules and clients), in fresh processes that take turns with one that
              imports boto3 and makes two clients
    handler   CPU of one event by that of its AWS calls made by a bare client; AWS' answers are replayed to both
    calls     AWS calls of one event, beside the fewest that can do what it does
    growth    calls beside 10^2 and 10^4 rows

CPU time, not wall time; medians. AWS is moto in this process, so that no figure has a network in it.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber
from tessera import accounts
from tessera.job import Job
from tessera.settings import DAYS, HOURS

from bench.__main__ import machine
from tests.integration.cloud import Cloud, deployed, records
from tests.integration.crowd import living, put, task_rows, upload_row
from tests.world import key_of, png, s3_message

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("upscayl", "on_upload", "dispatch", "on_result", "watchdog", "cleanup")
TWO_CLIENTS = (
    "import boto3; session = boto3.Session('k', 's', region_name='eu-central-1'); "
    "[session.client(name) for name in ('s3', 'dynamodb')]"
)
FUNCTION = "import {0}.app; {0}.app.services()"
TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"
ENVIRONMENT = {
    "PYTHONPATH": f"{ROOT}/layers/core/python:{ROOT}/functions",
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "POWERTOOLS_SERVICE_NAME"), "testing"),
    **dict.fromkeys(("TESSERA_TABLE", "TESSERA_BUCKET", "TESSERA_WORK_QUEUE_URL"), "x"),
    "AWS_DEFAULT_REGION": "eu-central-1",
}


# ---------------------------------------------------------------- import


def imports(rounds: int) -> dict[str, float]:
    """Seconds of CPU by program; the first round, which may compile, is not counted."""
    programs = {"boto3 and two clients": TWO_CLIENTS} | {name: FUNCTION.format(name) for name in MODULES}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, program in programs.items():
            command = [sys.executable, "-c", TIMED.format(program)]
            printed = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
            if turn:
                times[name].append(float(printed))
    return {name: median(values) for name, values in times.items()}


# ---------------------------------------------------------------- handlers


@dataclass
class Tape:
    """AWS' answers to one event: recorded once, then played in the same order to whoever asks."""

    answers: list[tuple[str, int, Any, bytes]] = field(default_factory=list)
    asked: list[tuple[Any, str, dict[str, Any]]] = field(default_factory=list)
    mode: str = "off"
    _next: int = 0

    def watch(self, session: Any) -> None:
        session.events.register("before-send.*.*", self._send)

    def note(self, client: Any) -> None:
        def asked(params: dict[str, Any], model: Any, **_: Any) -> None:
            if self.mode == "record":
                self.asked.append((client, model.name, copy.deepcopy(params)))

        client.meta.events.register("provide-client-params.*.*", asked)

    @contextmanager
    def as_(self, mode: str) -> Iterator[None]:
        self.mode = mode
        self._next = 0
        if mode == "record":
            self.answers.clear()
            self.asked.clear()
        botocore_stubber.enabled = False  # moto answers when it is asked here, and not beside what is played
        try:
            yield
        finally:
            self.mode = "off"
            botocore_stubber.enabled = True

    def bare(self) -> list[Callable[[], object]]:
        """The same calls by clients alone; what was only signed is signed."""
        called = [name for name, *_ in self.answers]
        calls: list[Callable[[], object]] = []
        for client, operation, params in self.asked:
            methods = client.meta.method_to_api_mapping
            name = next(python for python, api in methods.items() if api == operation)
            if operation in called:
                called.remove(operation)
                calls.append(partial(getattr(client, name), **params))
            else:
                calls.append(partial(client.generate_presigned_url, name, params))
        return calls

    def _send(self, request: Any, event_name: str, **more: Any) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        if self.mode == "record":
            botocore_stubber.enabled = True
            answer: Any = botocore_stubber(event_name=event_name, request=request, **more)
            botocore_stubber.enabled = False
            self.answers.append((operation, answer.status_code, dict(answer.headers), answer.content))
        if self.mode == "off":
            return None
        name, status, headers, content = self.answers[self._next % len(self.answers)]
        if name != operation:
            raise AssertionError(f"{operation} was asked where {name} was recorded")
        self._next += 1
        return AWSResponse(request.url, status, headers, MockRawResponse(content))


@dataclass(frozen=True)
class Case:
    """One event of a function; `fewest`: the AWS calls without which it cannot be done, and `because` of what more."""

    name: str
    function: str
    event: Any
    fewest: int
    because: str = ""


def http(path: str, body: Any, key: str) -> dict[str, Any]:
    raw = json.dumps(body)
    return {
        "version": "2.0",
        "routeKey": f"POST {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "x-api-key": key, "content-length": str(len(raw))},
        "requestContext": {
            "http": {"method": "POST", "path": path, "sourceIp": "127.0.0.1"},
            "stage": "$default",
            "requestId": "bench",
        },
        "body": raw,
        "isBase64Encoded": False,
    }


def cases(cloud: Cloud) -> Iterator[Case]:
    """Each is to be run before the next is asked for: the world goes on in between."""
    key = cloud.account(credits=1000)
    api = "UpscaylFunction"
    wish = {"originalFileName": "a.png", "fileType": "image/png", "fileSize": len(png())}
    cloud.post("/get-upload-url", wish, key)  # the hour's first call makes the window
    yield Case("upload URL", api, http("/get-upload-url", wish, key), 1)
    again = "keeps the declared size, by which parts are signed again"
    yield Case("multipart start", api, http("/get-upload-url", wish | {"multipart": True}, key), 2, again)
    ticket = cloud.post("/get-upload-url", wish | {"multipart": True}, key)[1]["data"]
    name = {"Bucket": cloud.services.settings.bucket, "Key": ticket["key"], "UploadId": ticket["uploadId"]}
    etag = cloud.services.storage.client.upload_part(**name, PartNumber=1, Body=png())["ETag"]
    parts = {"uploadId": ticket["uploadId"], "key": ticket["key"], "parts": [{"PartNumber": 1, "ETag": etag}]}
    cloud.post("/complete-multipart-upload", {}, key)
    yield Case("multipart complete", api, http("/complete-multipart-upload", parts, key), 2)
    upload = cloud.upload(key, png(), event=False)
    look = "looks at the picture's header"
    event = records(s3_message(key_of(upload["uploadURL"])))
    yield Case("upload event", "OnUploadFunction", event, 1, look)
    cloud.start(key, upload)
    cloud.feed("DispatchFunction")
    cloud.take(cloud.queue("JobQueue"))
    start = {"files": [{field: upload[field] for field in ("fileName", "fileType", "fileSize")}], "scale": 2}
    yield Case("start-task", api, http("/start-task", start, key), 2)
    other = cloud.upload(key, png(8, 8))
    task = cloud.start(key, other)
    body = cloud.take(cloud.queue("WorkQueue"))[-1]
    yield Case("work message", "DispatchFunction", records(body), 5, "names what it makes, for repeats")
    job = Job.model_validate_json(cloud.take(cloud.queue("JobQueue"))[-1])
    key_of_result = cloud.work(job, event=False)
    because = "reads the picture's header and the worker's report"
    yield Case("result event", "OnResultFunction", records(s3_message(key_of_result)), 1, because)
    yield Case("status, completed", api, http("/get-task-status", {"taskId": task}, key), 2)
    cloud.post("/get-upscayl-history", {}, key)
    yield Case("history page", api, http("/get-upscayl-history", {}, key), 2)
    yield Case("watchdog, nothing due", "WatchdogFunction", {}, 16)  # each shard, of files and of webhooks
    yield Case("cleanup, nothing due", "CleanupFunction", {}, 8, "lists folders and parts, for what has no row")


@dataclass(frozen=True)
class Measured:
    case: Case
    calls: int
    handler: float  # seconds of CPU, median
    bare: float


def handlers(rounds: int) -> list[Measured]:
    tape = Tape()
    with pytest.MonkeyPatch.context() as patch, deployed(patch, {"Worker": "cpu"}, tape.watch) as cloud:
        for client in cloud.clients:
            tape.note(client)
        return [measured(cloud, tape, case, rounds) for case in cases(cloud)]


def measured(cloud: Cloud, tape: Tape, case: Case, rounds: int) -> Measured:
    before = len(cloud.recorder.calls)
    with tape.as_("record"):
        cloud.call(case.function, case.event)
    calls = len(cloud.recorder.calls) - before
    bare = tape.bare()

    def by_the_handler() -> None:
        cloud.call(case.function, case.event)

    def by_clients() -> None:
        for call in bare:
            call()

    times: dict[Callable[[], None], list[float]] = {by_the_handler: [], by_clients: []}
    for turn in range(rounds + 1):
        for act, taken in times.items():
            with tape.as_("play"):
                began = time.process_time()
                act()
                taken += [time.process_time() - began] if turn else []
    return Measured(case, calls, median(times[by_the_handler]), median(times[by_clients]))


# ---------------------------------------------------------------- growth


def growth(sizes: Sequence[int]) -> dict[str, list[int]]:
    """Calls of a page of history among so many tasks' rows, and of a cleanup beside so many living ones."""
    made: dict[str, list[int]] = {"history": [], "cleanup": []}
    for size in sizes:
        with pytest.MonkeyPatch.context() as patch, deployed(patch, {"Worker": "cpu"}) as cloud:
            key, now_ms = cloud.account(), cloud.clock.ms
            account = accounts.credential(cloud.services, key).account
            put(cloud.services, living(now_ms, size))
            own = (task_rows(number, now_ms - number, now_ms + DAYS, account) for number in range(size // 2))
            put(cloud.services, (row for rows in own for row in rows))
            put(cloud.services, [upload_row(number, now_ms - HOURS) for number in range(30)])
            assert cloud.post("/get-upscayl-history", {}, key)[0] == 200
            first = len(cloud.recorder.calls)
            assert cloud.post("/get-upscayl-history", {}, key)[1]["data"]
            between = len(cloud.recorder.calls)
            cloud.tick("CleanupFunction")
            made["history"].append(between - first)
            made["cleanup"].append(len(cloud.recorder.calls) - between)
    return made


# ---------------------------------------------------------------- print


def print_imports(rounds: int) -> None:
    taken = imports(rounds)
    reference = taken.pop("boto3 and two clients")
    print_row("import", "CPU, ms", f"by boto3 and two clients ({reference * 1000:.0f} ms)")
    print_row(*["---"] * 3)
    for name, seconds in taken.items():
        print_row(name, f"{seconds * 1000:.0f}", f"{seconds / reference:.2f}")


def print_handlers(rounds: int) -> None:
    print_row("event", "AWS calls", "fewest", "what more is for", "CPU, ms", "by its bare calls")
    print_row(*["---"] * 6)
    for one in handlers(rounds):
        case, ratio = one.case, f"{one.handler / one.bare:.2f}"
        print_row(case.name, one.calls, case.fewest, case.because, f"{one.handler * 1000:.2f}", ratio)


def print_growth(sizes: Sequence[int]) -> None:
    print_row("calls beside", *(f"{size:,} rows" for size in sizes), "growth")
    print_row(*["---"] * (len(sizes) + 2))
    for name, calls in growth(sizes).items():
        print_row(name, *calls, f"{calls[-1] / calls[0]:.2f}")


def print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane", description="What the control plane costs.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=10_000, help="of the larger table")
    options = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    print(f"{machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print_imports(options.rounds)
    print()
    print_handlers(10 * options.rounds)
    print()
    print_growth((100, options.rows))


if __name__ == "__main__":
    main()
