"""A deployment whose queues, schedules and workers run on a clock that jumps from one thing to the next.

Queues behave as template.yaml declares them: a record whose handler dies or refuses it is delivered again after the
queue's visibility time-out, and goes to the dead letters after as many deliveries as are allowed. Whether a message
comes twice, late, or not at all is the flow's to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends
from tessera import cleanup
from tessera.job import Job, JobError, Outcome, Report
from tessera.lifecycle import SPAWN_LEASE
from tessera.settings import MINUTES, SECONDS
from tessera.storage import AttemptKey

from tests.crashlab.calls import READ, Killed, Recorder
from tests.crashlab.invariants import Books, Violation, due, rows
from tests.crashlab.pictures import NO_PICTURE, PICTURES
from tests.world import CONTEXT, REGION, ROOT, World, key_of, s3_message, template

WATCHDOG = 1 * MINUTES  # template.yaml: how often the schedules run
SWEEP = 5 * MINUTES
BATCH = 10
ALONE = ("JobQueue", "FetchQueue", "HookQueue")  # batches of one
MOMENT = 100  # ms between a message and its delivery
ACCOUNT = "123456789012"
BUCKET = "tessera-test"
MOST_EVENTS = 2000  # a run that has no end is a violation, not a test that hangs


@dataclass(frozen=True)
class Queue:
    name: str
    handler: str  # module of the function that reads it
    visibility: int  # ms
    most_receives: int
    dead_letters: str


@dataclass(order=True)
class Message:
    at: int  # ms, when it can be received
    order: int
    queue: str = field(compare=False)
    body: str = field(compare=False)
    sent: int = field(compare=False)  # ms
    receives: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Taken:
    """A job that a worker has taken. `sent`: when it was handed over (ms)."""

    job: Job
    sent: int


@dataclass(order=True)
class Act:
    """Something that a worker does on its own, `seconds` after it took the job."""

    at: int
    order: int
    do: Callable[[], None] = field(compare=False)


@cache
def queues() -> dict[str, Queue]:
    """The queues that a function reads."""
    resources = template()["Resources"]
    found = {}
    for resource in resources.values():
        for event in resource.get("Properties", {}).get("Events", {}).values():
            if event["Type"] == "SQS":
                name = event["Properties"]["Queue"]["Fn::GetAtt"].removesuffix(".Arn")
                handler = resource["Properties"]["Handler"].removesuffix(".lambda_handler")
                facts = resources[name].get("Properties", {})
                redrive = facts.get("RedrivePolicy", {})
                dead = redrive.get("deadLetterTargetArn", {}).get("Fn::GetAtt", "").removesuffix(".Arn")
                seconds = facts.get("VisibilityTimeout", 30)
                found[name] = Queue(name, handler, seconds * SECONDS, redrive.get("maxReceiveCount", 1000), dead)
    return found


class Simulation:
    """`scripts`: what workers do with attempts 1, 2, ... at file nn, the last for all further ones.
    `lose`: how many messages of a queue are lost, the first ones. `copies`: how often all others come."""

    def __init__(
        self, world: World, recorder: Recorder, scripts: Callable[[int], Any], copies: int, lose: Mapping[str, int]
    ) -> None:
        self.world = world
        self.recorder = recorder
        self.scripts = scripts
        self.copies = copies
        self.lose = dict(lose)
        self.may_give_up = False  # more goes wrong than one fault: messages may reach the dead letters
        self.broken: set[str] = set()  # queues whose function does not work at all
        self.dead: dict[str, list[str]] = {}  # dead letters -> bodies
        self.violation: Exception | None = None
        self.messages: list[Message] = []
        self.acts: list[Act] = []
        self.order = 0
        self.rng = random.Random(0)
        self.last_look = self.last_sweep = world.clock.ms
        self.runs: list[Taken] = []
        self.results: dict[AttemptKey, int] = {}  # when their objects were written, of those that had to count
        self.ended: Callable[[Job], None] = self._to_dead_letters  # told of a worker that died
        self.stopped: Callable[[Job], bool] = lambda job: False  # whether a container was ended
        self.accepted: dict[str, str] = {}  # key of an upload -> its ETag when a start was asked for
        self.books = Books(world, recorder)
        recorder.carried_out = self._carried_out
        recorder.instead["StartMessageMoveTask"] = lambda parameters: self.redrive(parameters["SourceArn"])
        self.backend = s3_backends[ACCOUNT]["aws"]
        self.sent_by_functions = {
            "WorkQueue": world.services.settings.work_queue_url,
            "JobQueue": world.services.settings.job_queue_url,
            "FetchQueue": world.services.settings.fetch_queue_url,
            "HookQueue": world.services.settings.hook_queue_url,
        }

    # ------------------------------------------------------------ processes

    def process(self, run: Callable[[], Any]) -> tuple[bool, Any]:
        """Runs a handler as a process of its own; False where it died or raised. Nothing but a fault may do that."""
        self.recorder.invocation += 1
        self.recorder.paused = False
        try:
            return True, run()
        except Killed:
            return False, None
        except Exception as error:
            if not self.recorder.in_fault:
                raise Violation("G5", f"a handler raised without a fault: {error!r}") from error
            return False, None
        finally:
            self.recorder.paused = True
            self.recorder.dead = False
            if self.violation:
                raise self.violation
            self._collect()

    def _collect(self) -> None:
        """What a process has sent."""
        for queue, url in self.sent_by_functions.items():
            waiting = sqs_backends[ACCOUNT][REGION].queues[url.rpartition("/")[2]]
            sent = [(each.body, each.delayed_until - each.sent_timestamp) for each in waiting._messages]
            waiting._messages.clear()
            for body, delay in sent:
                self.send(queue, body, max(0, round(delay / SECONDS)))

    def _carried_out(self, operation: str, parameters: dict[str, Any]) -> None:
        if operation in ("PutObject", "CompleteMultipartUpload", "CopyObject"):
            self._written(parameters["Key"])
        if not operation.startswith(READ):
            with self.kept():
                self.books.check()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """A violation is kept until the handler has ended, which would take it for its own."""
        try:
            yield
        except Exception as violation:
            self.violation = self.violation or violation

    def _written(self, key: str) -> None:
        """An object is there: its event is sent. A result of an attempt that has not been given up has to count."""
        found = AttemptKey.parse(key)
        if found and found[0] == "results" and self._is_current(found[1]):
            self.results.setdefault(found[1], self.world.clock.ms)
        self.stored(key)

    def _is_current(self, at: AttemptKey) -> bool:
        """Whether the attempt has not been given up. A job that was taken has SPAWN_LEASE in any case."""
        now = self.world.clock.ms
        if any(parse(taken.job.result_url) == at and now <= taken.sent + SPAWN_LEASE for taken in self.runs):
            return True
        return any(
            row["state"] == "running" and row["attempt"] == at.attempt and row["lease"]
            for row in rows()
            if row["pk"] == f"TASK#{at.task}" and row.get("nn") == at.nn
        )

    # ------------------------------------------------------------ queues

    def send(self, queue: str, body: str, after: float = 0) -> None:
        if self.lose.get(queue, 0) > 0:
            self.lose[queue] -= 1
            return
        for copy in range(self.copies):
            late = self.rng.randint(0, 90) * SECONDS if self.copies > 1 and queue != "JobQueue" else 0
            if copy and queue == "JobQueue":
                continue  # a worker's queue delivers once
            at = self.world.clock.ms + int(after * SECONDS) + late
            self.messages.append(Message(at + MOMENT, self._next(), queue, body, self.world.clock.ms))

    def stored(self, key: str, after: float = 0) -> None:
        """S3's event of a new object."""
        queue = "UploadEventQueue" if key.startswith("uploads/") else "ResultEventQueue"
        if key.startswith(("uploads/", "results/", "failures/")):
            self.send(queue, s3_message(key), after)

    def deliver(self, name: str) -> None:
        """One batch of what can be received now."""
        queue = queues()[name]
        ready = sorted(each for each in self.messages if each.queue == name and each.at <= self.world.clock.ms)
        batch = ready[: 1 if name in ALONE else BATCH]
        for message in batch:
            self.messages.remove(message)
        if name == "JobQueue":
            self._take(batch[0])
            return
        if name in self.broken:
            for message in batch:
                self._again(queue, message)
            return
        event = {
            "Records": [
                {"messageId": str(message.order), "body": message.body, "eventSource": "aws:sqs"} for message in batch
            ]
        }
        done, answer = self.process(lambda: import_module(queue.handler).lambda_handler(event, CONTEXT))
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]} if done else None
        if failed and not self.recorder.in_fault:
            raise Violation("G5", f"{name} refused a record without a fault")
        for message in batch:
            if failed is None or str(message.order) in failed:
                self._again(queue, message)

    def _again(self, queue: Queue, message: Message) -> None:
        message.receives += 1
        if message.receives >= queue.most_receives:
            if self.may_give_up:
                self.dead.setdefault(queue.dead_letters, []).append(message.body)
                return
            raise Violation("G4", f"one fault sent a message of {queue.name} to the dead letters")
        message.at = self.world.clock.ms + queue.visibility
        self.messages.append(message)

    def redrive(self, dead_letters: str) -> dict[str, Any]:
        """All of them come back to their queue, and stay: whoever asks again gets them again."""
        (queue,) = (queue for queue in queues().values() if queue.dead_letters == dead_letters)
        for body in self.dead.get(dead_letters, ()):
            self.send(queue.name, body)
        return {"TaskHandle": "moving"}

    def _next(self) -> int:
        self.order += 1
        return self.order

    # ------------------------------------------------------------ workers

    def _take(self, message: Message) -> None:
        """A free worker receives a job."""
        job = Job.model_validate_json(message.body)
        self.runs.append(Taken(job, message.sent))
        scripts = self.scripts(job.file)
        for seconds, what in scripts[min(job.attempt, len(scripts)) - 1]:
            at = self.world.clock.ms + int(seconds * SECONDS)
            self.acts.append(Act(at, self._next(), lambda what=what: self.write(job, what)))  # type: ignore[misc]

    def _to_dead_letters(self, job: Job) -> None:
        """Its message was received once, which is all that its queue allows."""
        now = self.world.clock.ms
        self.messages.append(Message(now + MOMENT, self._next(), "JobDeadLetters", job.model_dump_json(), now))

    def write(self, job: Job, what: str) -> None:
        """`what`: "report", a file of tests.crashlab.pictures as the result, the code of an error, or "dead"."""
        if self.stopped(job):
            return
        if what == "dead":
            self.ended(job)
            return
        bucket, late = self.backend.buckets[BUCKET], what.endswith("!")  # "!": a zombie, which no time limit stops
        what = what.removesuffix("!")
        if not late and self.world.clock.ms >= job.not_after:
            return
        source = bucket.keys.get(key_of(job.source_url))
        if source is None or source.etag != job.source_etag:
            what = "source_changed"
        elif source.value == NO_PICTURE:
            what = "unsupported_format"
        if what == "report":
            self._put(key_of(job.report_url), Report(progress=0.5).model_dump_json().encode())
        elif what in PICTURES:
            accepted = self.accepted.get(key_of(job.source_url))
            if accepted is not None and source.etag != accepted:
                raise Violation("G14", "bytes that came after the start were processed")
            done = Outcome(status="done", model="test", stand_in=False, seconds=1.0)
            self._put(key_of(job.thumbnail_url), PICTURES["result"])
            self._put(key_of(job.report_url), Report(progress=1, outcome=done).model_dump_json().encode())
            self._put(key_of(job.result_url), PICTURES[what])
            if what == "garbage":
                self.results.pop(parse(job.result_url), None)
        else:
            error = JobError(code=what, message="It could not be done", retryable=what == "internal")  # type: ignore[arg-type]
            self._put(key_of(job.failure_url), Outcome(status="failed", error=error).model_dump_json().encode())

    def _put(self, key: str, body: bytes) -> None:
        self.backend.put_object(BUCKET, key, body)
        self._written(key)

    # ------------------------------------------------------------ time

    def run_until(self, end: int) -> None:
        """Everything that happens until then, in the order of its times."""
        for _ in range(MOST_EVENTS):
            at, do = self._next_event()
            if at > end:
                self.world.clock.ms = max(self.world.clock.ms, end)
                return
            self.world.clock.ms = max(self.world.clock.ms, at)
            do()
        raise Violation("G5", "it does not come to rest")

    def rest(self) -> None:
        """Until nothing is on its way and no file waits for the watchdog."""
        for _ in range(MOST_EVENTS):
            if not (self.messages or self.acts or due("WATCH#") or due("HOOK#")):
                return
            at, _do = self._next_event()
            self.run_until(at)
        raise Violation("G5", "it does not come to rest")

    def _next_event(self) -> tuple[int, Callable[[], None]]:
        events: list[tuple[int, int, Callable[[], None]]] = [(1 << 62, 9, lambda: None)]
        if self.messages:
            first = min(self.messages)
            events.append((first.at, 0, lambda: self.deliver(first.queue)))
        if self.acts:
            act = min(self.acts)
            events.append((act.at, 1, lambda: (self.acts.remove(act), act.do())))  # type: ignore[func-returns-value]
        # A schedule that would find nothing is not run.
        if (watched := min(filter(None, (due("WATCH#"), due("HOOK#"))), default=None)) is not None:
            events.append((_tick(max(watched, self.last_look + 1), WATCHDOG), 2, self.look))
        if (expires := due("EXPIRES#")) is not None:
            events.append((_tick(max(expires + cleanup.GRACE, self.last_sweep + 1), SWEEP), 3, self.sweep))
        at, _, do = min(events, key=lambda event: event[:2])
        return at, do

    def look(self) -> None:
        self.last_look = self.world.clock.ms
        self.process(lambda: import_module("watchdog.app").lambda_handler({}, CONTEXT))

    def sweep(self) -> bool:
        self.last_sweep = self.world.clock.ms
        return self.process(lambda: import_module("cleanup.app").lambda_handler({}, CONTEXT))[0]

    def swept(self) -> None:
        """One round of the sweeper that nothing disturbs: at most one is disturbed."""
        while not self.sweep():
            self.world.clock.ms += SWEEP


def parse(url: str) -> AttemptKey:
    found = AttemptKey.parse(key_of(url))
    assert found is not None
    return found[1]


def objects() -> dict[str, Any]:
    """What is in the bucket."""
    return dict(s3_backends[ACCOUNT]["aws"].buckets[BUCKET].keys.items())


def open_multiparts() -> int:
    return len(s3_backends[ACCOUNT]["aws"].buckets[BUCKET].multiparts)


def handlers() -> list[str]:
    """The modules of functions/ that make services of their own."""
    return [
        f"{path.parent.name}.{path.stem}"
        for path in sorted((ROOT / "functions").glob("*/*.py"))
        if "import services\n" in path.read_text()
    ]


def _tick(at: int, every: int) -> int:
    return -(-at // every) * every
