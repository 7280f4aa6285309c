"""Holds answers against a vendor's OpenAPI 3.0 document.

Its schemas are read as JSON Schema draft 4, the dialect that OpenAPI 3.0 is made of: strict on types and required
fields, while fields beyond the documented ones are allowed, since an addition breaks no client.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from jsonschema import Draft4Validator, FormatChecker

Json = Any
CONFLICT, PAYLOAD_TOO_LARGE = 409, 413  # ours, documented nowhere: Idempotency-Key, and a gateway's limit
FORMATS = FormatChecker(formats=("uuid",))


@FORMATS.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or (urlsplit(value).scheme in ("http", "https") and bool(urlsplit(value).netloc))


@FORMATS.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


class Contract:
    """`enums` replaces the values of named component schemas."""

    def __init__(self, document: dict[str, Any], enums: dict[str, Iterable[str]] | None = None) -> None:
        self.document = deepcopy(document)
        for name, values in (enums or {}).items():
            self.document["components"]["schemas"][name]["enum"] = list(values)
        self._validators: dict[tuple[str, int], Draft4Validator] = {}

    @classmethod
    def load(cls, path: Path, enums: dict[str, Iterable[str]] | None = None) -> Contract:
        return cls(yaml.safe_load(path.read_text()), enums)

    @property
    def routes(self) -> tuple[str, ...]:
        return tuple(self.document["paths"])

    def statuses(self, route: str) -> set[int]:
        return {int(status) for status in self.operation(route)["responses"]} | {CONFLICT, PAYLOAD_TOO_LARGE}

    def operation(self, route: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document["paths"][route]["post"]
        return found

    def response(self, route: str, status: int) -> dict[str, Any]:
        """The JSON media type of a documented answer: its schema and examples."""
        if status in (CONFLICT, PAYLOAD_TOO_LARGE):
            return {"schema": {"$ref": "#/components/schemas/Error"}}
        answer = self.operation(route)["responses"][str(status)]
        found: dict[str, Any] = self._resolve(answer)["content"]["application/json"]
        return found

    def check(self, route: str, status: int, body: Json) -> None:
        """Raises AssertionError where this answer is not what the document promises for the route."""
        assert status in self.statuses(route), f"{route} has no answer {status} in the document"
        if (route, status) not in self._validators:
            self._validators[route, status] = self._validator(self.response(route, status)["schema"])
        problems = _problems(self._validators[route, status], body)
        assert not problems, f"{route} {status}: {'; '.join(problems)}"
        if status >= 400:  # the schema requires neither, each of its examples has both
            assert {name: type(value) for name, value in body.items()} == {"error": str, "message": str}, body

    def problems(self, schema: dict[str, Any], value: Json) -> list[str]:
        """What is wrong with a value, each with the place where it is."""
        return _problems(self._validator(schema), value)

    def _validator(self, schema: dict[str, Any]) -> Draft4Validator:
        whole = {"components": _draft4(self.document["components"]), "allOf": [_draft4(schema)]}
        return Draft4Validator(whole, format_checker=FORMATS)

    def _resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in value:
            return value
        found: Any = self.document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return self._resolve(found)


def _problems(validator: Draft4Validator, value: Json) -> list[str]:
    errors = validator.iter_errors(value)
    return [f"{'.'.join(map(str, error.absolute_path)) or 'body'}: {error.message}" for error in errors]


def _draft4(schema: Json) -> Json:
    """The same schema with OpenAPI's `nullable` in JSON Schema's words. $ref and allOf mean the same in both."""
    if isinstance(schema, list):
        return [_draft4(element) for element in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _draft4(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain
