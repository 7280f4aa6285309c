"""OpenAPI 3.1 of all routes, from the types that the handlers use. `make openapi` writes docs/openapi.json.

A new dialect is one more table in TABLES.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from companion.routes import TABLE as COMPANION
from jsonapi.errors import Answer, answer_to
from jsonapi.routes import Route, Table
from jsonapi.schemas import Failure
from native.routes import TABLE as NATIVE
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from tessera import errors
from upscayl.routes import TABLE as UPSCAYL

TABLES = (NATIVE, UPSCAYL, COMPANION)
REFERENCES = "#/components/schemas/{model}"
ALWAYS = (errors.Unauthorized(), errors.RateLimited(60))  # of every route with a key
WITH_BODY = (errors.BodyTooLarge(4_400_000),)
INTRODUCTION = """\
Upload files straight to storage by pre-signed links, start a task, read its status, download results by links that
expire. Every call carries the key in `X-API-Key`. Ids of others are answered as unknown ones. What was created with an
`Idempotency-Key` is answered again, for a day, to a repeat with the same content."""

Json = dict[str, Any]


@cache
def document() -> Json:
    names, schemas = _schemas()
    paths: Json = defaultdict(dict)
    for table in TABLES:
        for route in table.routes:
            paths[route.path][route.method.lower()] = _operation(table, route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tessera",
            "version": "1",
            "summary": "Self-hosted image upscaling",
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": table.tag, "description": table.description} for table in TABLES],
        "security": [{"key": []}],
        "paths": dict(paths),
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
            "schemas": schemas,
        },
    }


def text() -> str:
    """As it is checked in."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- schemas


def _types() -> list[tuple[Any, JsonSchemaMode]]:
    routes = [route for table in TABLES for route in table.routes]
    bodies: list[tuple[Any, JsonSchemaMode]] = [(route.body, "validation") for route in routes if route.body]
    answers: list[tuple[Any, JsonSchemaMode]] = [(route.answer, "validation") for route in routes]
    return list(dict.fromkeys([*bodies, *answers, (Failure, "validation")]))


def _schemas() -> tuple[dict[Any, Json], Json]:
    """Type -> reference to its schema, and all schemas by name."""
    found, described = models_json_schema(_types(), ref_template=REFERENCES)
    schemas: Json = described["$defs"]
    for route in (route for table in TABLES for route in table.routes if route.body):
        name = found[(route.body, "validation")]["$ref"].rpartition("/")[2]  # type: ignore[index]
        for used in (name, *_used(schemas, schemas[name])):
            schemas[used] = _nulls_left_out(schemas[used])
    untitled = {name: _untitled(schema) for name, schema in sorted(schemas.items())}
    return {kind: reference for (kind, _), reference in found.items()}, untitled


def _untitled(schema: Json) -> Json:
    """Without pydantic's titles, which repeat the names."""
    fields = schema.get("properties", {})
    told = {name: {key: value for key, value in inner.items() if key != "title"} for name, inner in fields.items()}
    return {key: value for key, value in schema.items() if key != "title"} | ({"properties": told} if fields else {})


def _used(schemas: Json, schema: Any) -> set[str]:
    """Names of the schemas that one refers to."""
    if isinstance(schema, list):
        return set().union(*(_used(schemas, inner) for inner in schema))
    if not isinstance(schema, dict):
        return set()
    names = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
    within = set().union(*(_used(schemas, inner) for inner in schema.values()))
    return names | within | set().union(*(_used(schemas, schemas[name]) for name in names))


def _nulls_left_out(schema: Json) -> Json:
    """What may be missing may be null: many clients send that for it."""
    required = schema.get("required", ())
    properties = {
        name: inner if name in required or _nullable(inner) else _or_null(inner)
        for name, inner in schema.get("properties", {}).items()
    }
    return schema | {"properties": properties}


def _nullable(schema: Json) -> bool:
    return any(option.get("type") == "null" for option in schema.get("anyOf", ()))


def _or_null(schema: Json) -> Json:
    kept = {name: value for name, value in schema.items() if name in ("title", "description", "default", "examples")}
    core = {name: value for name, value in schema.items() if name not in kept}
    return {"anyOf": [core, {"type": "null"}], **kept}


# ---------------------------------------------------------------- operations


def _operation(table: Table, route: Route, names: Mapping[Any, Json]) -> Json:
    told: Json = {
        "tags": [table.tag],
        "operationId": route.name if table.tag != "Tessera" else f"v1_{route.name}",
        "summary": route.summary,
        "description": route.description,
    }
    if not route.key:
        told["security"] = []
    if parameters := [*_in_path(route), *_in_query(route), *([IDEMPOTENCY] if route.repeatable else [])]:
        told["parameters"] = parameters
    if route.body is not None:
        told["requestBody"] = {"required": not route.optional, "content": _bodies(route, names[route.body])}
    told["responses"] = {
        "200": {"description": "Done", "content": {"application/json": {"schema": names[route.answer]}}},
        **_failures(table, route, names[Failure]),
    }
    return told


PATH_PARAMETER = re.compile(r"\{(\w+)\}")
IN_PATH = {
    "token": ("an upload token", {"type": "string"}),
    "id": ("the upload's id", {"type": "string"}),
    "n": ("a part's number", {"type": "integer", "minimum": 1, "maximum": 10_000}),
}


def _in_path(route: Route) -> Iterator[Json]:
    for name in PATH_PARAMETER.findall(route.path):
        description, schema = IN_PATH[name]
        yield {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _in_query(route: Route) -> Iterator[Json]:
    for name, given in (route.query.model_json_schema()["properties"] if route.query else {}).items():
        told = {key: value for key, value in given.items() if key not in ("title", "description", "default")}
        described = given.get("description", "as in the table of docs/uppy.md")
        place = {"name": name, "in": "query", "description": described, "schema": told}
        if told.get("type") == "object":
            yield {**place, "style": "deepObject", "explode": True}
        else:
            yield {**place, "required": True, **({"explode": False} if told.get("type") == "array" else {})}


IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "of the caller's making: the same key with the same content is done once; an empty one is none",
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{0,255}$"},
}


def _bodies(route: Route, schema: Json) -> Json:
    shape = {"anyOf": [schema, _envelope(schema)]} if route.enveloped else schema
    as_json: Json = {"schema": shape}
    if route.example is not None:
        as_json["example"] = dict(route.example)
    content: Json = {"application/json": as_json}
    if route.form:
        content["multipart/form-data"] = {"schema": FORM}
    return content


def _envelope(schema: Json) -> Json:
    return {"type": "object", "properties": {"data": schema}, "required": ["data"]}


FORM = {
    "type": "object",
    "description": "The same fields, lists as JSON; or the files themselves in place of `files`.",
    "properties": {"files": {"type": "string"}, "file": {"type": "string", "contentMediaType": "image/*"}},
    "additionalProperties": {"type": "string"},
}


def _failures(table: Table, route: Route, schema: Json) -> Json:
    """Status -> answer, with one example for each way to fail."""
    raised: Iterable[Exception] = (*route.errors, *(ALWAYS if route.key else ()), *(WITH_BODY if route.body else ()))
    by_status: dict[int, list[tuple[Exception, Answer]]] = defaultdict(list)
    own = table.own.get(route.path, {})
    for error in (*raised, RuntimeError()):
        answer = answer_to(error, own)
        by_status[answer.status].append((error, answer))
    return {str(status): _failure(status, by_status[status], schema) for status in sorted(by_status)}


def _failure(status: int, ways: list[tuple[Exception, Answer]], schema: Json) -> Json:
    examples = {
        type(error).__name__: {"value": {"error": answer.code, "message": answer.message(error)}}
        for error, answer in ways
    }
    told: Json = {
        "description": ", ".join(dict.fromkeys(answer.code for _, answer in ways)),
        "content": {"application/json": {"schema": schema, "examples": examples}},
    }
    if status == 429:
        told["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return told
