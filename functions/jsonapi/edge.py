"""How an app of ours answers: what its routes return, or a refusal in the dialect's words, and never anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from tessera import http
from tessera.errors import NotFound, TesseraError
from tessera.metrics import Metric, emit
from tessera.observability import about, logger


def refusing(app: APIGatewayHttpResolver, dialect: str, refusal: Callable[[Exception], Response[str]]) -> None:
    """From here on `refusal` answers what `app` has no route for, and what its routes raise."""

    @app.not_found
    def not_found(error: Exception) -> Response[str]:
        return refusal(NotFound())

    @app.exception_handler(TesseraError)
    def refused(error: TesseraError) -> Response[str]:
        return refusal(error)

    @app.exception_handler(Exception)
    def broken(error: Exception) -> Response[str]:
        logger.exception("unexpected", route=app.current_event.path)
        emit({Metric.SERVER_ERRORS: 1}, dialect=dialect)
        return refusal(error)


def resolve(app: APIGatewayHttpResolver, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's answer to an event of the HTTP API."""
    correlation = http.correlation_id(event)
    about(correlation_id=correlation)
    return http.secured(app.resolve(event, context), correlation)
