"""The helper itself: a contract that accepts everything would make every test of it worthless."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.contract import Contract
from tests.contract.upscayl import DOCUMENTED, HISTORY, OBSERVED, ROUTES, START, STATUS, UPLOAD, Api
from tests.world import World

TASK_ID = "30a89e69-c702-4247-9905-f0a53dfa45ab"


def test_ups_39_document_is_openapi_302_with_three_tags_and_five_operations() -> None:
    document = DOCUMENTED.document
    operations = {DOCUMENTED.operation(route)["operationId"]: DOCUMENTED.operation(route)["tags"] for route in ROUTES}
    assert document["openapi"] == "3.0.2"
    assert [tag["name"] for tag in document["tags"]] == ["Upload", "Tasks", "History"]
    assert operations == {
        "getUploadUrl": ["Upload"],
        "completeMultipartUpload": ["Upload"],
        "startTask": ["Tasks"],
        "getTaskStatus": ["Tasks"],
        "getUpscaylHistory": ["History"],
    }


def test_ups_39_every_documented_route_is_served_and_nothing_else(world: World) -> None:
    stranger = Api(world, None)
    assert {route: stranger.ask(route, {}).status for route in DOCUMENTED.routes} == dict.fromkeys(ROUTES, 401)
    assert world.post("/get-upload-urls", {})[0] == 404


@pytest.mark.parametrize("route", ROUTES)
def test_ups_39_documents_own_examples_pass(route: str) -> None:
    for status in DOCUMENTED.statuses(route):
        media = DOCUMENTED.response(route, status)
        examples = [media["example"]] if "example" in media else []
        for example in [*examples, *(named["value"] for named in media.get("examples", {}).values())]:
            DOCUMENTED.check(route, status, example)


@pytest.mark.parametrize(
    ("route", "status", "body"),
    [
        pytest.param(STATUS, 418, {}, id="undocumented status"),
        pytest.param(START, 404, {"error": "A", "message": "b"}, id="status of another route"),
        pytest.param(START, 200, {"status": "success", "data": {"taskId": TASK_ID}}, id="required field missing"),
        pytest.param(START, 200, {"status": "success", "data": {"taskId": "1", "message": ""}}, id="not a uuid"),
        pytest.param(START, 200, {"status": "ok", "data": {"taskId": TASK_ID, "message": ""}}, id="not in the enum"),
        pytest.param(STATUS, 200, {"status": "success", "data": {"progress": 75}}, id="number for a string"),
        pytest.param(STATUS, 200, {"status": "success", "data": {"error": None}}, id="null for a string"),
        pytest.param(STATUS, 200, {"status": "success", "data": {"status": "PROCESSED"}}, id="observed word"),
        pytest.param(
            STATUS, 200, {"status": "success", "data": {"files": [{"dimensions": {"width": 0}}]}}, id="below a minimum"
        ),
        pytest.param(
            STATUS, 200, {"status": "success", "data": {"files": [{"createdAt": 1.0}]}}, id="float for an integer"
        ),
        pytest.param(
            STATUS, 200, {"status": "success", "data": {"files": [{"downloadLink": "a/b"}]}}, id="path for a uri"
        ),
        pytest.param(HISTORY, 200, {"status": "success", "data": []}, id="no pagination"),
        pytest.param(UPLOAD, 400, {"error": "BAD_REQUEST"}, id="error without message"),
        pytest.param(UPLOAD, 400, {"error": "A", "message": "b", "trace": ""}, id="error with more"),
    ],
)
def test_contract_refuses(route: str, status: int, body: Any) -> None:
    with pytest.raises(AssertionError):
        DOCUMENTED.check(route, status, body)


def test_contract_of_the_envelope_refuses_documented_words() -> None:
    OBSERVED.check(STATUS, 200, {"status": "success", "data": {"status": "PROCESSED"}})
    with pytest.raises(AssertionError):
        OBSERVED.check(STATUS, 200, {"status": "success", "data": {"status": "completed"}})


def test_contract_reads_nullable_and_all_of() -> None:
    contract = Contract({"components": {"schemas": {"Name": {"type": "string"}}}})
    schema = {"allOf": [{"$ref": "#/components/schemas/Name"}], "nullable": True}
    assert [bool(contract.problems(schema, value)) for value in ("a", None, 1)] == [False, False, True]
