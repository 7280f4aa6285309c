"""Let's Enhance's document from top to bottom against the running stack: A0.6, LE-01 to LE-36 as its samples say them.

Every request is the document's own text and goes through curl, as it is written there. What is changed: the base URL,
the hosts of the picture and of the webhook, the id (which the document says to replace), and the link that was given.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from standardwebhooks.webhooks import Webhook

from infra import admin
from infra.local.stack import Stack
from tests.e2e.conftest import PATIENCE
from tests.receiver import Receiver, receiving
from tests.served import Answer, Served
from tests.world import ROOT

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the document's requests are curl's")

BURGER = "/docs/assets/samples/burger.jpg"

QUICK_START = """curl -X POST "https://api.letsenhance.io/v1/pipeline" \\
     -H "X-API-KEY: 1234567890" \\
     -H "Content-Type: application/json" \\
     -d '
{
    "source": {
        "http": {
            "url": "https://letsenhance.io/docs/assets/samples/burger.jpg"
        }
    }, 
    "operations": [
        {
            "op": "preset/marketplace",
            "width": 1800,
            "height": 1200,
            "restoration_level": 4,
            "lightai_intensity": 1.0,
            "toneai_intensity": 0.5,
            "image_format": "JPEG",
            "quality": 75
        }
    ],
    "sink": {
        "temp_store": true
    }
}
'
"""  # as it is written there, but for the last quote, which the document forgets
POLL = """curl -X GET https://api.letsenhance.io/v1/pipeline/26082838 -H "X-API-KEY: 1234567890"
"""
SAVE = """curl -X GET "https://s3.amazonaws.com/leapi-tmp-us-east-1/p/26082838/1200x727-1_KThGB7.jpg?response-content-type=image%2Fjpeg&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIFU5PY2YVSAGMK3Q%2F20210406%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20210406T112257Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=c984b3f6d237031bc9300abdb87963be8b5712bedd3dafc8568ac4758bbefe26"
"""
IN_DEPTH = """curl -X POST https://api.letsenhance.io/v1/pipeline \\
-H "X-API-KEY: yourkey" \\
-H "Content-type: application/json" \\
-d @filename.json \\
"""
FILENAME_JSON = """{
    "source": {
        "http": {
            "url": "https://letsenhance.io/docs/assets/samples/burger.jpg"
        }
    },
    "notify_url": "https://your.domain/path/to/webhook",
    "operations": [
        {
            "op": "preset/marketplace",
            "width": 1800,
            "height": 1200,
            "restoration_level": 4,
            "lightai_intensity": 1.0,
            "toneai_intensity": 0.5,
            "image_format": "JPEG",
            "quality": 75
        }
    ],
    "sink": {
        "temp_store": true
    }
}
"""
# what its part on webhooks has: the same call with notify_url
WEBHOOK = f"{QUICK_START.partition('{')[0]}{FILENAME_JSON}'\n"
RETRIEVE = """curl -X GET https://api.letsenhance.io/v1/pipeline/26082838 \\
-H "X-API-KEY: yourkey" \\
"""
REALESTATE = """{
    "op": "preset/realestate",
    "width": 1600,
    "height": 900,
    "restoration_level": 4,
    "lightai_intensity": 1.0,
    "toneai_intensity": 0.5,
    "image_format": "JPEG",
    "quality": 75
}
"""
PRINT = """{
    "op": "preset/print",
    "width": 1600,
    "height": 1065,
    "restoration_level": 2,
    "lightai_intensity": 1.0,
    "toneai_intensity": 0.5,
    "dpi": 300,
    "image_format": "JPEG",
    "quality": 85
}
"""
MARKETPLACE = """{
    "op": "preset/marketplace",
    "width": 1200,
    "height": 1600,
    "restoration_level": 2,
    "lightai_intensity": 1.0,
    "toneai_intensity": 0.5,
    "image_format": "JPEG",
    "quality": 75
}
"""
USAGE = """curl -X GET "https://api.letsenhance.io/v1/me/usage/" \\
     -H "X-API-KEY: 1234567890" \\
"""


@dataclass
class Reader:
    """Somebody who reads the document from top to bottom and copies what stands there, in a folder of their own."""

    stack: Stack
    pictures: Served
    receiver: Receiver
    folder: Path

    def changed(self, text: str) -> str:
        for theirs, ours in {
            "https://api.letsenhance.io": self.stack.api_url,
            "https://letsenhance.io": self.pictures.url,
            "https://your.domain": f"http://127.0.0.1:{self.receiver.port}",
        }.items():
            text = text.replace(theirs, ours)
        return text

    def run(self, text: str, number: int = 26082838) -> bytes:
        command = self.changed(text).replace("26082838", str(number))
        done = subprocess.run(["sh", "-c", command], cwd=self.folder, capture_output=True, timeout=30, check=True)
        return done.stdout

    def told(self, text: str, number: int = 26082838) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.run(text, number))
        return body

    def accepted(self, text: str) -> int:
        body = self.told(text)
        assert body["status"] == "ACCEPTED", body
        return int(body["pipeline"]["id"])

    def ended(self, text: str, number: int) -> dict[str, Any]:
        """Polls as the document says, until there is another status than PROCESSING."""
        until = time.monotonic() + PATIENCE
        while (body := self.told(text, number))["pipeline"]["status"] == "PROCESSING":
            assert time.monotonic() < until, body
            time.sleep(0.2)
        pipeline: dict[str, Any] = body["pipeline"]
        return pipeline

    def saved(self, pipeline: dict[str, Any]) -> Path:
        """The picture on disk, by the document's plain GET: no key, no redirect."""
        output = pipeline["results"][0]["output_object"]
        sent = SAVE.rstrip("\n").partition('"')[0] + f'"{output["tmp_url"]}" -o {output["filename"]}'
        self.run(sent)
        return self.folder / output["filename"]


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def burger() -> bytes:
    """A photo as large as the document's, as badly stored, and as dark."""
    photo = Image.open(ROOT / "infra/local/sample/lighthouse.jpg").convert("RGB").resize((900, 600))
    buffer = io.BytesIO()
    photo.point([level // 2 for level in range(256)] * 3).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures() -> Iterator[Served]:
    body = burger()
    with Served(lambda path: Answer.of(body) if path == BURGER else Answer(404)) as server:
        yield server


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stack(pictures: Served, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    allowed = f"{pictures.allowed}, 127.0.0.1:{receiver.port}"
    folder = tmp_path_factory.mktemp("state")
    with Stack(state_dir=folder, parameters={"AllowedAddresses": allowed}, api_key="1234567890") as running:
        admin.create_account(admin.local(running.logs.parent)[0], "yourkey", 10)
        yield running


@pytest.fixture
def reader(stack: Stack, pictures: Served, receiver: Receiver, tmp_path: Path) -> Reader:
    return Reader(stack, pictures, receiver, tmp_path)


def test_the_quick_start_ends_with_the_picture_on_disk(reader: Reader, http: httpx.Client) -> None:
    before = reader.told(USAGE)
    accepted = reader.told(QUICK_START)
    assert (accepted["status"], accepted["pipeline"]["notify_url"]) == ("ACCEPTED", None)
    pipeline = reader.ended(POLL, accepted["pipeline"]["id"])
    assert (pipeline["status"], pipeline["errors"], pipeline["error"]) == ("DONE", [], None)
    path = reader.saved(pipeline)
    assert re.fullmatch(r"burger_[A-Za-z0-9]{6}\.jpg", path.name)
    image = opened(path)
    assert (image.format, image.size) == ("JPEG", (1800, 1200))
    (result,) = pipeline["results"]
    assert (result["input_object"]["mps"], result["output_object"]["mps"]) == (0.54, 2.16)
    assert 86_300 < int(re.findall(r"X-Amz-Expires=(\d+)", result["output_object"]["tmp_url"])[0]) <= 86_400
    answer = http.get(result["output_object"]["tmp_url"])  # httpx follows no redirect
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    with_key = http.get(result["output_object"]["tmp_url"], headers={"X-API-Key": "1234567890"})  # as one client does
    assert with_key.content == answer.content == path.read_bytes()
    after = reader.told(USAGE)
    assert (after["used"], after["remaining"]) == (before["used"] + 1, before["remaining"] - 1)
    times = [pipeline[name] for name in ("submitted_at", "started_at", "finished_at")]
    assert times == sorted(times)


def test_in_depth_with_a_webhook_that_a_public_library_verifies(
    reader: Reader, http: httpx.Client, receiver: Receiver
) -> None:
    key = {"X-API-Key": "yourkey"}
    secret = http.post(f"{reader.stack.api_url}/v1/webhook-secret", json={}, headers=key).json()["data"]["secret"]
    (reader.folder / "filename.json").write_text(reader.changed(FILENAME_JSON))
    number = reader.accepted(IN_DEPTH)
    pipeline = reader.ended(RETRIEVE, number)
    assert (pipeline["status"], pipeline["operations"]) == ("DONE", json.loads(FILENAME_JSON)["operations"])
    assert pipeline["notify_url"] == f"http://127.0.0.1:{receiver.port}/path/to/webhook"
    until = time.monotonic() + PATIENCE
    while not receiver.got and time.monotonic() < until:
        time.sleep(0.05)
    (got,) = receiver.got
    assert got.path == "/path/to/webhook"
    told = Webhook(secret).verify(got.body, got.headers)
    assert {name: told["pipeline"][name] for name in ("status", "submitted_at", "finished_at")} == {
        name: pipeline[name] for name in ("status", "submitted_at", "finished_at")
    }
    assert told["pipeline"]["id"] == number
    assert opened(reader.saved(told["pipeline"])).size == (1800, 1200)


def test_the_request_of_the_part_on_webhooks(reader: Reader, receiver: Receiver) -> None:
    before = len(receiver.got)
    number = reader.accepted(WEBHOOK)
    assert reader.ended(POLL, number)["notify_url"] == reader.changed("https://your.domain/path/to/webhook")
    until = time.monotonic() + PATIENCE
    while len(receiver.got) == before and time.monotonic() < until:
        time.sleep(0.05)
    assert receiver.got[-1].json["pipeline"]["id"] == number


@pytest.mark.parametrize(
    ("sample", "size"), [(REALESTATE, (1350, 900)), (PRINT, (1598, 1065)), (MARKETPLACE, (1200, 800))]
)
def test_the_presets_samples(reader: Reader, sample: str, size: tuple[int, int]) -> None:
    body = json.loads(reader.changed(FILENAME_JSON)) | {"operations": [json.loads(sample)], "notify_url": None}
    (reader.folder / "filename.json").write_text(json.dumps(body))
    pipeline = reader.ended(RETRIEVE, reader.accepted(IN_DEPTH))
    assert pipeline["operations"] == [json.loads(sample)]
    image = opened(reader.saved(pipeline))
    assert image.size == size
    if "dpi" in pipeline["operations"][0]:
        assert image.info["dpi"] == (300, 300)


def test_usage_as_written(reader: Reader) -> None:
    body = reader.told(USAGE)
    assert set(body) == {"quota", "used", "remaining", "reset_at"}
