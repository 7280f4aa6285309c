"""SQS -> one attempt at telling that a task has ended."""

from __future__ import annotations

from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import events, webhooks
from tessera.dispatch import HookRef
from tessera.services import services

from deliver_webhook.post import post


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return events.each_record(event, context, on_message)


def on_message(body: str) -> None:
    webhooks.deliver(services(), HookRef.model_validate_json(body), partial(post, services()))
