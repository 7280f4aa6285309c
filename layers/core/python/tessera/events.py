"""SQS batches with partial failure: a record that raises is delivered again, the others are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from tessera.metrics import Metric, emit
from tessera.observability import about, logger


def each_record(event: dict[str, Any], context: LambdaContext, handle: Callable[[str], None]) -> dict[str, Any]:
    """Calls `handle` with each record's body; one that raises is logged and reported as failed."""

    def handler(record: SQSRecord) -> None:
        about()
        try:
            handle(record.body)
        except Exception as error:
            # pydantic's text shows parts of the message, and a job has links in it
            told = not isinstance(error, ValidationError)
            logger.error("record failed", error=type(error).__name__, message_id=record.message_id, exc_info=told)
            emit({Metric.RECORDS_FAILED: 1})
            raise

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event=event, record_handler=handler, processor=processor, context=context))


def created_keys(body: str) -> Iterator[str]:
    """The keys in a message of S3's. Its test message, sent when a notification is set, has no records."""
    for record in json.loads(body).get("Records", ()):
        yield unquote_plus(record["s3"]["object"]["key"])
