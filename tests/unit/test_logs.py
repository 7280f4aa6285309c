"""A worker's lines: JSON on the standard output of the moment, without secrets, and once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from tessera import logs


@pytest.fixture
def name() -> Iterator[str]:
    yield "test_logs.worker"
    logger = logging.getLogger("test_logs.worker")
    logger.handlers, logger.propagate = [], True


def test_a_line_is_one_json_object_with_what_it_is_about(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.to_stdout(name)
    logs.to_stdout(name)
    logging.getLogger(f"{name}.below").info("job begun", extra={"about": {"correlation_id": "c", "file": 0}})
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert (said["level"], said["message"], said["correlation_id"], said["file"]) == ("INFO", "job begun", "c", 0)


def test_a_link_in_an_exception_loses_its_signature(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.to_stdout(name)
    try:
        raise OSError("GET https://b.s3/k?X-Amz-Signature=0123456789abcdef failed")
    except OSError:
        logging.getLogger(name).exception("broke")
    (line,) = capsys.readouterr().out.splitlines()
    assert "0123456789abcdef" not in line
    assert "OSError" in json.loads(line)["exception"]
