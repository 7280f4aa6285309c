"""A route as the reference tells of it: `reference.document` makes OpenAPI of tables of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jsonapi.errors import Answer
from jsonapi.schemas import Body


@dataclass(frozen=True)
class Route:
    """`errors` are examples of what it raises: their status, code and words come from the edge's own table.

    `enveloped`: the body may also come as {"data": body}. `form`: it may also be a form with the same fields, files
    among them. `repeatable`: an Idempotency-Key counts. `query`: its fields come in the query. `optional`: the body
    may be left out.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    summary: str
    description: str
    answer: Any
    body: type[Body] | None = None
    example: Mapping[str, Any] | None = None
    errors: tuple[Exception, ...] = ()
    enveloped: bool = False
    form: bool = False
    repeatable: bool = False
    key: bool = True
    query: type[Body] | None = None
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """One dialect's routes. `own` are its words for errors, by path where one route has others."""

    tag: str
    description: str
    routes: tuple[Route, ...]
    own: Mapping[str, Mapping[type[Exception], Answer]] = field(default_factory=dict)
