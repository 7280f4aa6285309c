"""One structured logger for all functions. Keys, signatures and bodies are never handed to it."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger()
