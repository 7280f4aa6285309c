"""docs/openapi.json and the page made of it. That real answers keep it every contract test checks (`reference`)."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from reference import document
from reference.app import lambda_handler

from tests.contract import reference
from tests.contract.reference import DOCUMENT
from tests.world import CONTEXT, ROOT, template

OPERATIONS = [
    (path, method, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def test_the_document_is_that_of_the_code() -> None:
    assert (ROOT / "docs/openapi.json").read_text() == document.text(), "out of date: make openapi"


def test_the_document_is_openapi_31() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"] == "3.1.0"


def test_every_route_of_the_template_is_told_and_no_other() -> None:
    documented = {(method.upper(), path) for path, method, _ in OPERATIONS}
    functions = ("UpscaylFunction", "NativeFunction", "CompanionFunction")
    events = [
        event["Properties"]
        for name in functions
        for event in template()["Resources"][name]["Properties"]["Events"].values()
    ]
    assert documented == {(event["Method"], event["Path"]) for event in events if "{proxy+}" not in event["Path"]}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=lambda value: str(value)[:30])
def test_examples_fit_their_own_schemas(path: str, method: str, operation: dict[str, Any]) -> None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        place = path.replace("/", "~1")
        schema = f"/paths/{place}/{method}/requestBody/content/application~1json/schema"
        reference.validator(schema).validate(content["example"])
    for status, answer in operation["responses"].items():
        for example in answer["content"]["application/json"].get("examples", {}).values():
            reference.check(path, method, int(status), example["value"])


def test_operations_have_names_of_their_own_and_say_what_they_do() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and operation["description"] for _, _, operation in OPERATIONS)


def test_a_wrong_answer_is_noticed() -> None:
    with pytest.raises(AssertionError):
        reference.check("/v1/account", "GET", 200, {"status": "success", "data": {"credits": "5"}})
    with pytest.raises(AssertionError):
        reference.check("/v1/account", "GET", 418, {})


# ---------------------------------------------------------------- served


def get(path: str) -> dict[str, Any]:
    http = {"method": "GET", "path": path, "sourceIp": "127.0.0.1"}
    event = {
        "version": "2.0",
        "rawPath": path,
        "headers": {},
        "requestContext": {"http": http, "stage": "$default", "requestId": "t"},
    }
    answer = lambda_handler(event, CONTEXT)
    return answer | {"headers": {name.lower(): value for name, value in answer["headers"].items()}}


def test_the_document_is_served_without_a_key() -> None:
    answer = get("/openapi.json")
    assert answer["headers"]["content-type"] == "application/json"
    assert json.loads(answer["body"]) == DOCUMENT


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_runs_nothing_and_loads_nothing_from_elsewhere() -> None:
    answer = get("/reference")
    policy = answer["headers"]["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'") and "unsafe" not in policy
    tags = Tags()
    tags.feed(answer["body"])
    assert not any(tag in ("script", "style", "img") or "style" in attributes for tag, attributes in tags.seen)
    links = [attributes[name] or "" for _, attributes in tags.seen for name in ("href", "src") if name in attributes]
    assert {link for link in links if not link.startswith("#")} == {"reference/style.css", "openapi.json"}
    anchors = {attributes["id"] for _, attributes in tags.seen if "id" in attributes}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    assert get("/reference/style.css")["headers"]["content-type"].startswith("text/css")


def test_the_page_tells_of_every_route_and_shape() -> None:
    page = get("/reference")["body"]
    assert all(f"</b> {path}</h3>" in page for path in DOCUMENT["paths"])
    assert all(f'id="shape-{name}"' in page for name in DOCUMENT["components"]["schemas"])
    assert not re.search(r"\{'|None|<code></code>", page)
