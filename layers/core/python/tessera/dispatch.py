"""Getting work to a worker: the queue of files that may start, and the ways to hand over a job.

NotHandedOver
|- NotNow           the provider did not take the job and may take it later
|- OutcomeUnknown   no answer came: it may have taken the job, or not
`- Refused          it takes no job until an operator has changed something
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import HTTPClientError
from pydantic import BaseModel, ConfigDict, Field

from tessera.job import Job, JobError
from tessera.settings import SECONDS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SQS_BATCH = 10


class FileRef(BaseModel):
    """One file of a task: the message of the work queue."""

    model_config = ConfigDict(frozen=True)

    task: int
    nn: int = Field(ge=0)
    correlation: str = ""


class HookRef(BaseModel):
    """A task whose end is to be told: the message of the webhook queue."""

    model_config = ConfigDict(frozen=True)

    task: int
    correlation: str = ""


class WorkQueue:
    """Says what may be done: a file started, a task's end told. Saying it twice is harmless: work is claimed by a
    condition."""

    def __init__(self, client: Callable[[], SQSClient], url: str) -> None:
        """The client is made when it is first needed: most calls of a cold function send nothing."""
        self._client = client
        self.url = url

    @property
    def client(self) -> SQSClient:
        return self._client()

    def send(self, refs: Sequence[FileRef | HookRef], delay_ms: int = 0) -> None:
        """One AWS call per ten messages, to be received after whole seconds, 900 at most. Raises OSError when the
        queue refuses one."""
        later: dict[str, int] = {"DelaySeconds": -(-delay_ms // SECONDS)} if delay_ms else {}
        for first in range(0, len(refs), SQS_BATCH):
            batch = refs[first : first + SQS_BATCH]
            entries = [{"Id": str(n), "MessageBody": ref.model_dump_json(), **later} for n, ref in enumerate(batch)]
            answer = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)  # type: ignore[arg-type]
            if answer.get("Failed"):
                raise OSError(f"the queue refused {len(answer['Failed'])} messages")


class NotHandedOver(Exception):
    """Says what happened in a word or two; never holds a link."""


class NotNow(NotHandedOver):
    pass


class OutcomeUnknown(NotHandedOver):
    pass


class Refused(NotHandedOver):
    pass


LOST = JobError(code="internal", message="The picture could not be processed", retryable=True)


class Dispatcher(Protocol):
    def spawn(self, job: Job) -> str:
        """Hands a job over and returns the provider's id of the call. Raises NotHandedOver."""

    def ended(self, call: str, began: bool) -> JobError | None:
        """Why a call that shows no sign of life gives no result any more; None while it may still give one.

        `began`: whether its worker has ever reported. Raises where the provider cannot be asked: then nothing is known.
        """

    def cancel(self, call: str) -> None:
        """Ends a call whose result is of no use any more, as far as that is possible."""


class QueueDispatcher:
    """To the upscale_worker function by way of SQS, which delivers a job once: what has begun does not begin again."""

    def __init__(self, client: Callable[[], SQSClient], url: str) -> None:
        self._client = client
        self.url = url

    def spawn(self, job: Job) -> str:
        try:
            return self._client().send_message(QueueUrl=self.url, MessageBody=job.model_dump_json())["MessageId"]
        except HTTPClientError as silence:  # sent, and no answer came
            raise OutcomeUnknown(type(silence).__name__) from silence

    def ended(self, call: str, began: bool) -> JobError | None:
        return None if not began and self._waiting() else LOST

    def cancel(self, call: str) -> None:
        """Its `not_after` ends it."""

    def _waiting(self) -> bool:
        answer = self._client().get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"]) > 0
