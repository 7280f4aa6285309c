"""`Poller`: moves a queue's messages to its function as Lambda's event source mapping does.

Guarantees: a message is deleted only after the function succeeded with it; with ReportBatchItemFailures the others of
its batch are deleted; what failed is received again until the queue's redrive policy sends it to the dead letters.
One deliberate difference: a failed message comes back after `retry_seconds`, not after the whole visibility time-out,
which is sized for the cloud's slowest function.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .deployment import Mapping
from .guard import Guard
from .runtime import Result, Runtime

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

IDLE_SECONDS = 0.2  # a delay or a visibility that ends is seen this late; a new message at once
MOST_PER_CALL = 10  # SQS

Message = dict[str, Any]
Observer = Callable[[str], None]


class Poller:
    def __init__(
        self,
        mapping: Mapping,
        arn: str,
        region: str,
        sqs: SQSClient,
        guard: Guard,
        runtime: Runtime,
        observe: Observer,
        retry_seconds: int,
    ) -> None:
        self.mapping = mapping
        self._arn = arn
        self._region = region
        self._sqs: Any = sqs
        self._url = sqs.get_queue_url(QueueName=mapping.queue)["QueueUrl"]
        self._guard = guard
        self._runtime = runtime
        self._observe = observe
        self._retry_seconds = retry_seconds
        self._stopped = threading.Event()
        self._running = threading.Event()
        self._running.set()
        count = min(runtime.size(mapping.function), mapping.concurrency or runtime.size(mapping.function))
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """No further batch is taken; those under way are finished."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def stop(self) -> None:
        self._stopped.set()
        self._running.set()

    def join(self, seconds: float | None = None) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))

    def _loop(self) -> None:
        while not self._stopped.is_set():
            self._running.wait()
            batch = self._batch()
            if batch:
                self._handle(batch)

    def _batch(self) -> list[Message]:
        batch: list[Message] = []
        until = time.monotonic() + IDLE_SECONDS
        while len(batch) < self.mapping.batch_size and self._running.is_set() and not self._stopped.is_set():
            got = self._receive(self.mapping.batch_size - len(batch))
            if got and not batch:
                until = time.monotonic() + self.mapping.window
            batch += got
            left = until - time.monotonic()
            if got:
                continue
            if left <= 0 or (batch and not self.mapping.window):
                break
            self._guard.wait(min(left, IDLE_SECONDS))
        return batch

    def _receive(self, most: int) -> list[Message]:
        if not self._guard.has_message(self.mapping.queue):
            return []
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(most, MOST_PER_CALL),
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            WaitTimeSeconds=0,
        )
        messages: list[Message] = answer.get("Messages", [])
        return messages

    def _handle(self, batch: list[Message]) -> None:
        event = {"Records": [self._record(message) for message in batch]}
        result = self._runtime.invoke(self.mapping.function, json.dumps(event).encode())
        failed = _failed(batch, result, reports=self.mapping.reports_failures)
        done = [message for message in batch if message["MessageId"] not in failed]
        again = [message for message in batch if message["MessageId"] in failed]
        records = f"{len(batch)} record{'s' if len(batch) > 1 else ''}"
        outcome = f", {len(again)} failed ({result.error or 'reported'})" if again else ""
        self._observe(
            f"sqs {self.mapping.queue} -> {self.mapping.function} ({records}) {result.seconds * 1000:,.0f} ms{outcome}"
        )
        for entries in _chunks(done):
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
        for entries in _chunks(again, VisibilityTimeout=self._retry_seconds):
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def _record(self, message: Message) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {
                name: {
                    "stringValue": value.get("StringValue"),
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": value["DataType"],
                }
                for name, value in message.get("MessageAttributes", {}).items()
            },
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._arn,
            "awsRegion": self._region,
        }


def _failed(batch: list[Message], result: Result, *, reports: bool) -> set[str]:
    """The ids of the messages that stay in the queue; a report that cannot be read fails them all, as in the cloud."""
    everything = {message["MessageId"] for message in batch}
    if result.error is not None:
        return everything
    if not reports:
        return set()
    answer = json.loads(result.payload)
    if answer is None or answer == {}:
        return set()
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if failures is None:
        return set() if isinstance(answer, dict) and "batchItemFailures" in answer else everything
    ids = {str(failure.get("itemIdentifier")) if isinstance(failure, dict) else "" for failure in failures}
    return ids if ids <= everything else everything


def _chunks(messages: list[Message], **more: Any) -> Iterable[list[dict[str, Any]]]:
    entries = [
        {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"], **more} for index, message in enumerate(messages)
    ]
    return (entries[start : start + MOST_PER_CALL] for start in range(0, len(entries), MOST_PER_CALL))
