"""What an operator does with a correlation id: one search over the logs shows a request's whole walk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra import admin
from infra.local.stack import Stack
from tests.e2e.conftest import Session, picture

ID = "walk-7f3a.21"
WALK = {
    "UpscaylFunction": "task started",
    "DispatchFunction": "handed over",
    "UpscaleWorkerFunction": "job done",
    "OnResultFunction": "file done",
}


def lines_with(stack: Stack, text: str) -> Iterator[dict[str, Any]]:
    for log in stack.logs.glob("*.log"):
        for line in log.read_text().splitlines():
            if text in line:
                yield json.loads(line)


@pytest.fixture(scope="module")
def walked(stack: Stack, http: httpx.Client) -> str:
    """The task of one request that brought its own id."""
    session = Session(http, stack.api_url, stack.api_key)
    upload = session.upload(picture())
    file = {name: upload[name] for name in ("fileName", "fileType", "fileSize")}
    headers = {"X-API-Key": session.key, "X-Request-Id": ID}
    answer = http.post(f"{session.url}/start-task", json={"files": [file]}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == ID
    task = str(answer.json()["data"]["taskId"])
    assert session.ended(task)["status"] == "completed"
    return task


def test_one_search_shows_the_whole_walk(stack: Stack, walked: str) -> None:
    lines = list(lines_with(stack, f'"{ID}"'))
    said = {(line["function_name"], line["message"]) for line in lines if "message" in line}
    assert WALK.items() <= said
    assert {str(line["task"]) for line in lines if "task" in line} == {
        admin.show(admin.local(stack.logs.parent)[0], walked).split()[1]
    }
    assert all(line["correlation_id"] == ID for line in lines)


def test_every_line_is_json_and_none_holds_a_secret(stack: Stack, walked: str) -> None:
    text = "".join(log.read_text() for log in stack.logs.glob("*.log"))
    assert all(isinstance(json.loads(line), dict) for line in text.splitlines())
    assert stack.api_key not in text
    assert not re.search(r"X-Amz-Signature=(?!\[redacted\])", text, re.IGNORECASE)


def test_the_worker_tells_what_the_metrics_measure(stack: Stack, walked: str) -> None:
    (line,) = [line for line in lines_with(stack, f'"{ID}"') if "FilesCompleted" in line]
    assert line["MegapixelsIn"] == [12 * 8 / 1e6]
    assert line["MegapixelsOut"] == [48 * 32 / 1e6]
    assert line["EstimatedCost"] == [pytest.approx(line["WorkerSeconds"][0] * 0.000049)]
    assert 0 <= line["StartSeconds"][0] <= line["TotalSeconds"][0]
    assert line["service"] == "tessera"


def test_without_an_id_of_the_callers_the_gateway_gives_one(session: Session) -> None:
    first, second = (session.post("/get-upscayl-history", {}).headers["x-request-id"] for _ in range(2))
    assert first and second and first != second


def test_the_operator_reaches_the_stack_of_this_machine(
    stack: Stack, walked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder: Path = stack.logs.parent
    assert admin.main(["--local", str(folder), "audit"]) == 0
    assert capsys.readouterr().out == "1 accounts, 0 wrong\n"
    assert admin.main(["--local", str(folder), "show", walked]) == 0
    assert f"correlation {ID}" in capsys.readouterr().out
    assert admin.main(["--local", str(folder / "nowhere"), "spend"]) == 1
    assert stack.invoke("AuditFunction", {}) == {"accounts": 1, "mismatches": 0, "unsettled": 0}
