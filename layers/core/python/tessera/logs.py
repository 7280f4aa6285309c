"""A worker's lines as JSON, one object each, as the functions' are. Standard library only: a worker has no more."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TextIO

from tessera.redaction import redacted


class JsonFormatter(logging.Formatter):
    """A record's `about` (extra) becomes keys beside the message; secrets become `redaction.GONE`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": record.levelname,
            "message": record.getMessage(),
            "timestamp": self.formatTime(record),
            "service": os.environ.get("POWERTOOLS_SERVICE_NAME", "tessera"),
            "function_name": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "gpu_app"),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redacted(json.dumps(line))


class Stdout(logging.StreamHandler[TextIO]):
    """Whatever sys.stdout is at the time: a container that comes back from a snapshot has another one."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout


def to_stdout(name: str = "tessera_engine") -> None:
    """Sends what this logger and those below it say to standard output; once, however often it is called."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = Stdout()
    handler.setFormatter(JsonFormatter())
    logger.handlers = [handler]
