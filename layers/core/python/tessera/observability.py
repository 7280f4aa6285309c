"""One structured logger for all functions. Keys, signatures and bodies are never handed to it; what an exception says
goes through `redaction` all the same.
"""

from __future__ import annotations

import logging

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from tessera.redaction import redacted


class RedactingFormatter(LambdaPowertoolsFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


logger = Logger(logger_formatter=RedactingFormatter())
