"""Every five minutes: deletes what has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tessera import cleanup
from tessera.services import services

if TYPE_CHECKING:  # Powertools is a sixth of what this function would import
    from aws_lambda_powertools.utilities.typing import LambdaContext


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    return cleanup.sweep(services())
