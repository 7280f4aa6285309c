"""`Deployment`: what the template asks for and the stack itself has to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .template import Made


@dataclass(frozen=True)
class Function:
    name: str
    arn: str
    handler: str
    timeout: float
    memory: int
    environment: dict[str, str]
    paths: tuple[Path, ...]
    concurrency: int | None


@dataclass(frozen=True)
class Mapping:
    """A queue that feeds a function."""

    name: str
    function: str
    queue: str
    batch_size: int
    window: float
    reports_failures: bool
    concurrency: int | None


@dataclass(frozen=True)
class Schedule:
    name: str
    function: str
    expression: str
    arn: str
    source: str
    input: str | None


@dataclass(frozen=True)
class Throttle:
    rate: float | None = None
    burst: int | None = None


@dataclass
class Api:
    name: str
    body: dict[str, Any]
    throttle: Throttle = Throttle()
    route_throttles: dict[str, Throttle] = field(default_factory=dict)


@dataclass
class Deployment:
    made: dict[str, Made] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    mappings: list[Mapping] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    apis: dict[str, Api] = field(default_factory=dict)
    page_headers: list[tuple[str, str]] | None = None
    """Of every file of the browser's page; None where the template has no page."""
    buckets: list[str] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
