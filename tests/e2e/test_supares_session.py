"""SUP-01 to SUP-13 on the running stack: the document's own requests by curl, then a picture from request to disk."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from infra.local.stack import REGION, Stack
from tests.e2e.conftest import PATIENCE, Session, picture
from tests.receiver import Receiver, receiving
from tests.served import Answer, Served

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the document's requests are curl's")

HOST, KEY = "https://api.supares.com", "your-api-key"  # as the document writes them
# Every request of the document, word for word.
ACCOUNT_BASIC = "curl -u your-api-key: https://api.supares.com/1.0/account"
ACCOUNT_BEARER = 'curl -H "Authorization: Bearer your-api-key" https://api.supares.com/1.0/account'
RESULTS = "curl -u your-api-key: https://api.supares.com/1.0/results/f26656d4-3322-4279-acf4-0e1b3ef9d4bd"
DOCUMENTED_ID = "f26656d4-3322-4279-acf4-0e1b3ef9d4bd"
STEPS = {"superres": {"factor": 2}}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def source() -> Iterator[Served]:
    with Served(lambda path: Answer.of(picture())) as server:
        yield server


@pytest.fixture(scope="module")
def parameters() -> dict[str, str]:
    """What the tests serve and the stack's own storage are on this machine."""
    return {"AllowedAddresses": "127.0.0.1/32"}


@pytest.fixture(scope="module")
def stack(parameters: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(state_dir=tmp_path_factory.mktemp("state"), parameters=parameters, api_key=KEY) as running:
        yield running


def curl(stack: Stack, command: str, *more: str) -> dict[str, Any]:
    """The answer's JSON, whose `code` is the answer's status. Only the host is another one."""
    words = [word.replace(HOST, f"{stack.api_url}/supares") for word in shlex.split(command)]
    done = subprocess.run(
        [*words, "--silent", "--noproxy", "*", "--write-out", "\n%{http_code}", *more],
        capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    told: dict[str, Any] = json.loads(body)
    assert told["code"] == int(status)
    return told


def ended(stack: Stack, number: str) -> dict[str, Any]:
    """Polled as the document says, until it is no longer 202."""
    until = time.monotonic() + PATIENCE
    while (told := curl(stack, RESULTS.replace(DOCUMENTED_ID, number)))["code"] == 202:
        assert told == {"success": True, "code": 202, "id": number}
        assert time.monotonic() < until
        time.sleep(0.1)
    assert told["id"] == number
    return told


def downloaded(told: dict[str, Any], folder: Path) -> bytes:
    """By curl without -L: a link answers directly."""
    saved = folder / told["output"]["name"]
    url = told["output"]["url"]
    subprocess.run(["curl", "--silent", "--fail", "--noproxy", "*", "-o", saved, url], check=True, timeout=PATIENCE)
    return saved.read_bytes()


def fetched(stack: Stack, **wish: Any) -> dict[str, Any]:
    body = ("-H", "Content-Type: application/json", "-d", json.dumps(wish))
    return curl(stack, f"curl -u {KEY}: {HOST}/1.0/fetch", *body)


@pytest.mark.parametrize("command", [ACCOUNT_BASIC, ACCOUNT_BEARER])
def test_sup_01_sup_02_sup_03_the_documents_calls_for_the_account(stack: Stack, command: str) -> None:
    told = curl(stack, command)
    assert (told["success"], told["code"]) == (True, 200)
    assert told.keys() == {"success", "code", "company", "subscription", "quota"}
    wrong = curl(stack, command.replace(KEY, "another-key"))
    assert (wrong["success"], wrong["code"]) == (False, 401)


def test_sup_08_the_documents_call_for_results(stack: Stack) -> None:
    told = curl(stack, RESULTS)
    assert (told["success"], told["code"]) == (False, 404)  # that id was never given out here


def test_sup_15_headers_are_on_every_answer_and_paths_of_no_dialect_are_404(stack: Stack, session: Session) -> None:
    for path in ("/supares/1.0/account", "/supares/1.0/nothing", "/supares/nothing"):
        for auth in (None, (KEY, ""), ("another-key", "")):
            answer = session.http.get(stack.api_url + path, auth=auth)
            assert answer.headers["X-RateLimit-Limit"] == "100000"
            assert 0 < int(answer.headers["X-RateLimit-Reset"]) <= 900
            assert answer.json()["code"] == answer.status_code
            assert answer.status_code == (401 if auth != (KEY, "") else 200 if "account" in path else 404)
    for method in ("PUT", "DELETE"):
        assert session.http.request(method, f"{stack.api_url}/supares/1.0/fetch", auth=(KEY, "")).status_code == 404
    assert session.http.get(f"{stack.api_url}/1.0/account", auth=(KEY, "")).status_code == 404  # C-02


def test_sup_05_sup_09_sup_11_an_image_is_uploaded_polled_for_and_saved(stack: Stack, tmp_path: Path) -> None:
    image = tmp_path / "photo.png"
    image.write_bytes(picture(18, 12))
    form = ("-F", f"data={json.dumps(STEPS | {'denoise': True})}", "-F", f"file=@{image}")
    began = time.monotonic()
    accepted = curl(stack, f"curl -u {KEY}: {HOST}/1.0/upload", *form)
    assert accepted == {"success": True, "code": 202, "id": accepted["id"]}
    assert time.monotonic() - began < 10  # the function's first start among it
    told = ended(stack, accepted["id"])
    assert (told["success"], told["code"]) == (True, 200), told
    head, _, tail = str(accepted["id"]).partition("-")
    assert f"/{'/'.join((head[0:2], head[2:4], head[4:6], head[6:8], tail))}/" in told["output"]["url"]
    saved = downloaded(told, tmp_path)
    assert Image.open(io.BytesIO(saved)).size == (36, 24)
    output = told["output"]
    assert (output["sha1"], output["bytes"]) == (hashlib.sha1(saved).hexdigest(), len(saved))
    assert (output["name"], output["format"], output["width"], output["height"]) == ("image.jpg", "jpeg", 36, 24)
    assert told["input"]["sha1"] == hashlib.sha1(image.read_bytes()).hexdigest()
    assert (told["input"]["name"], told["input"]["colorspace"]) == ("photo.png", "srgb")


def test_sup_06_sup_10_an_image_is_fetched_and_its_end_is_told(stack: Stack, source: Served, tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.clock = lambda: time.time_ns() // 1_000_000
        webhook = {"url": receiver.url("/hook?a=b", credentials="me:you"), "delay": 1}
        accepted = fetched(stack, url=f"{source.url}/holiday/a.png", webhook=webhook, **STEPS)
        assert accepted["code"] == 202
        told = ended(stack, accepted["id"])
        assert Image.open(io.BytesIO(downloaded(told, tmp_path))).size == (24, 16)
        assert told["input"]["name"] == "a.png"
        got = heard(receiver)
    assert (got["id"], got["code"], got["output"]["sha1"]) == (accepted["id"], 200, told["output"]["sha1"])


def heard(receiver: Receiver) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE
    while not receiver.got and time.monotonic() < until:
        time.sleep(0.05)
    (got,) = receiver.got
    assert got.path == "/hook?a=b" and got.headers["authorization"].startswith("Basic ")
    told: dict[str, Any] = got.json
    return told


def test_sup_13_the_result_goes_into_a_bucket_of_the_callers(stack: Stack, source: Served, tmp_path: Path) -> None:
    """An S3 that checks signatures: the stack's own, by the address that its operator has allowed."""
    client = stack.client("s3")
    client.create_bucket(Bucket="callers-pictures")
    store = {
        "provider": "s3", "key": stack.environment["AWS_ACCESS_KEY_ID"], "region": REGION,
        "secret": stack.environment["AWS_SECRET_ACCESS_KEY"], "bucket": "callers-pictures",
        "endpoint": stack.storage_url, "path": "holiday/a large one.jpg",
    }  # fmt: skip
    wish = {"url": f"{source.url}/a.png", **STEPS}
    told = ended(stack, fetched(stack, **wish, store=store)["id"])
    assert told["code"] == 200, told
    assert told["output"]["url"] == f"{stack.storage_url}/callers-pictures/holiday/a%20large%20one.jpg"
    body = client.get_object(Bucket="callers-pictures", Key="holiday/a large one.jpg")["Body"].read()
    assert hashlib.sha1(body).hexdigest() == told["output"]["sha1"]
    refused = ended(stack, fetched(stack, **wish, store=store | {"secret": "another-one"})["id"])
    assert (refused["success"], refused["code"]) == (False, 422)
    assert "bucket" in refused["message"] and "403" in refused["message"]
    logs = "".join(log.read_text() for log in stack.logs.glob("*.log"))
    assert store["secret"] not in logs and "another-one" not in logs
    client.close()


def test_sup_18_the_documents_error_word_for_word(stack: Stack, source: Served) -> None:
    told = fetched(stack, url=f"{source.url}/a.png", superres={"factor": 0})
    assert told == {
        "success": False, "code": 422, "id": told["id"],
        "message": "Super-resolution 'factor' parameter must be a positive integer",
    }  # fmt: skip


def test_the_session_of_our_own_document_runs_as_it_stands(stack: Stack, source: Served, tmp_path: Path) -> None:
    document = (ROOT / "docs/dialects/supares.md").read_text()
    script = document.partition("```sh\n")[2].partition("```")[0]
    for written, here in (
        ("http://127.0.0.1:8000", stack.api_url), ("KEY=test", f"KEY={KEY}"), ("infra/local", f"{ROOT}/infra/local"),
        ("https://example.com", source.url),
    ):  # fmt: skip
        assert written in script
        script = script.replace(written, here)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=os.environ | {"NO_PROXY": "*"},
        capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    sample, large = (
        Image.open(io.BytesIO(path.read_bytes())).size
        for path in (ROOT / "infra/local/sample/lighthouse.jpg", tmp_path / "large.jpg")
    )
    assert large == (2 * sample[0], 2 * sample[1])
    said = re.findall(r'"code": ?(\d+)', done.stdout)
    assert said == ["200", "200", "200", "202", "422"], done.stdout
