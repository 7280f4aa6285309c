"""Each minute: looks after files whose event, message or worker may have been lost. And at once after jobs given up."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import events, lifecycle, rounds, webhooks
from tessera.job import Job
from tessera.services import services


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if "Records" in event:  # the job queue's dead letters
        return events.each_record(event, context, on_dead_job)
    rounds.each((webhooks.look_after_all, lifecycle.look_after_all), lambda look: look(services()))
    return {}


def on_dead_job(body: str) -> None:
    lifecycle.job_lost(services(), Job.model_validate_json(body))
