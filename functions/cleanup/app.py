"""Every five minutes: deletes what has expired."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import cleanup
from tessera.services import services


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    return cleanup.sweep(services())
