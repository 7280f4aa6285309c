"""One structured logger for all functions, and what its lines are about. Keys, signatures and bodies are never handed
to it; what an exception says goes through `redaction` all the same.

A request's correlation id is stored on its files and goes with every message about them, so that a search for it finds
the whole walk: API, dispatch, worker, result, watchdog, cleanup.
"""

from __future__ import annotations

import logging
import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from tessera.redaction import redacted


class RedactingFormatter(LambdaPowertoolsFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


logger = Logger(
    logger_formatter=RedactingFormatter(), function_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "unknown")
)

ABOUT = ("correlation_id", "task", "file", "attempt")


def about(*, correlation_id: str = "", task: int | None = None, file: int | None = None, attempt: int = 0) -> None:
    """From here on every line and metric says so; what was said before is forgotten. Without arguments: nothing."""
    logger.remove_keys(ABOUT)
    keys = {"correlation_id": correlation_id or None, "task": task, "file": file, "attempt": attempt or None}
    logger.append_keys(**{name: value for name, value in keys.items() if value is not None})


def told() -> dict[str, str | int]:
    """What the lines are about at the moment."""
    keys = logger.get_current_keys()
    return {name: keys[name] for name in ABOUT if name in keys}
