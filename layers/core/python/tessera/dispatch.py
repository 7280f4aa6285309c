"""Getting work to a worker: the queue of files that may start, and the ways to hand over a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tessera.job import Job
from tessera.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SQS_BATCH = 10


class FileRef(BaseModel):
    """One file of a task: the message of the work queue."""

    model_config = ConfigDict(frozen=True)

    task: int
    nn: int = Field(ge=0)


class WorkQueue:
    """Says that a file may start. Saying it twice is harmless: work is claimed by a condition."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self.client = client
        self.url = url

    def send(self, refs: Sequence[FileRef]) -> None:
        """One AWS call per ten files. Raises OSError when the queue refuses one."""
        for first in range(0, len(refs), SQS_BATCH):
            batch = refs[first : first + SQS_BATCH]
            answer = self.client.send_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(n), "MessageBody": ref.model_dump_json()} for n, ref in enumerate(batch)],
            )
            if answer.get("Failed"):
                raise OSError(f"the work queue refused {len(answer['Failed'])} messages")


class Dispatcher(Protocol):
    def spawn(self, job: Job) -> str:
        """Hands a job over and returns the provider's id of the call. An exception says: not handed over, try later."""

    def may_wait(self) -> bool:
        """Whether a job that shows no sign of life may still be waiting for a free worker."""


class QueueDispatcher:
    """To the upscale_worker function by way of SQS."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self.client = client
        self.url = url

    def spawn(self, job: Job) -> str:
        return self.client.send_message(QueueUrl=self.url, MessageBody=job.model_dump_json())["MessageId"]

    def may_wait(self) -> bool:
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"]) > 0


def dispatcher_for(settings: Settings, sqs: SQSClient) -> Dispatcher:
    """The one that the stack was deployed with."""
    return {"cpu": QueueDispatcher}[settings.worker](sqs, settings.job_queue_url)
