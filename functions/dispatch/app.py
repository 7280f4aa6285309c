"""SQS work -> claim the file, hand its job to the worker."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import events, lifecycle
from tessera.dispatch import FileRef
from tessera.services import services


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return events.each_record(event, context, on_message)


def on_message(body: str) -> None:
    lifecycle.dispatch(services(), FileRef.model_validate_json(body))
