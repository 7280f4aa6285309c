"""Each minute: looks after files that are due, whose event, message or worker may have been lost."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import lifecycle
from tessera.dispatch import Dispatcher, dispatcher_for
from tessera.services import services


@lru_cache(maxsize=1)
def dispatcher() -> Dispatcher:
    return dispatcher_for(services().settings, services().sqs)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return {"looked": lifecycle.look_after_all(services(), dispatcher())}
