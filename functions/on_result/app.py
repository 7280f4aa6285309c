"""S3 ObjectCreated under results/ and failures/ -> finish the file or its attempt, settle credits."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import events, lifecycle
from tessera.services import services
from tessera.storage import AttemptKey


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return events.each_record(event, context, on_message)


def on_message(body: str) -> None:
    for key in events.created_keys(body):
        match AttemptKey.parse(key):
            case "results", at:
                lifecycle.result_arrived(services(), at)
            case "failures", at:
                lifecycle.failure_arrived(services(), at)
