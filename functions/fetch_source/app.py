"""SQS fetch -> a picture that its caller has named by a URL comes to storage, where it is an upload like any other."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import events, sources
from tessera.dispatch import FileRef
from tessera.services import services


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return events.each_record(event, context, on_message)


def on_message(body: str) -> None:
    sources.fetch(services(), FileRef.model_validate_json(body))
