"""Holds answers against docs/openapi.json, as it is checked in."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.world import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs/openapi.json").read_text())


@cache
def validator(pointer: str) -> Draft202012Validator:
    """Of the schema at a place of the document, such as /components/schemas/Failure."""
    return Draft202012Validator({"components": DOCUMENT["components"], **at(pointer)})


def at(pointer: str) -> Any:
    found: Any = DOCUMENT
    for step in pointer.split("/")[1:]:
        found = found[step.replace("~1", "/")]
    return found


def place(path: str) -> str | None:
    """The documented path, as /u/{token}/s3/params, of a request's; words go before what stands for anything."""
    for documented in sorted(DOCUMENT["paths"], key=lambda each: each.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", documented), path):
            return str(documented)
    return None


def check(path: str, method: str, status: int, body: Any) -> None:
    """Raises AssertionError where the document promises something else."""
    operation = DOCUMENT["paths"][path][method.lower()]
    assert str(status) in operation["responses"], f"{path} has no answer {status} in the document"
    place = path.replace("/", "~1")
    schema = f"/paths/{place}/{method.lower()}/responses/{status}/content/application~1json/schema"
    problems = [f"{error.json_path}: {error.message}" for error in validator(schema).iter_errors(body)]
    assert not problems, problems
