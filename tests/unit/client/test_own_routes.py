"""Tessera's own routes: what is sent, what is read, and the commands on top."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tessera_client import Client, NotFound
from tessera_client.errors import UnsupportedFile
from tessera_client.header import picture_size

from tests.unit.client.conftest import Ran
from tests.unit.client.fake_server import FakeServer, error, success

Tessera = Callable[..., Ran]
MODEL = {
    "name": "m", "title": "M", "description": "Small.", "scales": [2, 4], "licence": "MIT", "available": True,
    "reason": None, "standIn": None, "default": True,
}  # fmt: skip
LIMITS = {
    "maxFileBytes": 1, "maxInputPixels": 2, "maxOutputPixels": 3, "partThreshold": 4, "maxFilesPerTask": 5,
}  # fmt: skip


def test_what_is_sent_and_read(client: Client, server: FakeServer) -> None:
    server.next(
        "v1/account", lambda _: success({"credits": 7, "apiVersion": "1", "limits": LIMITS, "retentionSeconds": 9})
    )
    server.next("v1/tasks/cancel", lambda _: success({"taskId": "t", "status": "cancelled", "cancelled": 2}))
    server.next("v1/tasks/delete", lambda _: success({"taskId": "t", "deleted": 2}))
    server.next("v1/uploads/abort", lambda _: success({}))
    assert client.account().limits.max_files_per_task == 5
    assert (client.cancel_task("t").cancelled, client.delete_task("t").deleted) == (2, 2)
    client.abort_upload("u", "k")
    assert server.bodies("v1/uploads/abort") == [{"uploadId": "u", "key": "k"}]
    assert server.bodies("v1/tasks/cancel") == server.bodies("v1/tasks/delete") == [{"taskId": "t"}]


def test_a_server_without_them_says_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.models()


def test_models_says_what_is_missing(tessera: Tessera, server: FakeServer) -> None:
    missing = MODEL | {"name": "n", "available": False, "default": False, "reason": "not installed"}
    offers = {"models": [MODEL, missing, missing | {"standIn": "m"}], "formats": [], "operations": {}}
    server.next("v1/models", lambda _: success(offers), lambda _: success(offers))
    lines = tessera("models").out.splitlines()
    assert [line.split("Small.")[1] for line in lines] == [
        " (default)",
        " (not installed)",
        " (not installed, m stands in)",
    ]
    assert tessera("models", "--json").json[0]["licence"] == "MIT"


def test_estimate_takes_pictures_and_sizes(tessera: Tessera, server: FakeServer, tmp_path: Path) -> None:
    photo = tmp_path / "p.png"
    Image.new("RGB", (12, 8)).save(photo)
    good = {"width": 48, "height": 32, "pixels": 1536, "accepted": True, "reason": None}
    bad = {"width": None, "height": None, "pixels": None, "accepted": False, "reason": "too large"}
    told = {"files": [good, bad], "credits": 1, "seconds": 2.5}
    server.next("v1/estimate", lambda _: success(told))
    ran = tessera("estimate", photo, "9000x9000", "--format", "webp")
    assert (ran.code, ran.out) == (1, f"{photo}: 48 x 32\n9000x9000: refused: too large\n1 credits, about 2.5 s\n")
    files = [{"width": 12, "height": 8}, {"width": 9000, "height": 9000}]
    assert server.bodies("v1/estimate") == [{"files": files, "scale": 4, "saveImageAs": "webp"}]
    assert tessera("estimate", tmp_path / "missing.png").code == 2


def test_cancel_and_delete_name_their_tasks(tessera: Tessera, server: FakeServer) -> None:
    cancelled = {"taskId": "t", "status": "partially_cancelled", "done": 1, "failed": 0, "cancelled": 2}
    server.next("v1/tasks/cancel", lambda _: success(cancelled))
    server.next("v1/tasks/delete", lambda _: success({"taskId": "t", "deleted": 1}))
    assert tessera("cancel", "t").out == "t: partially_cancelled, 2 cancelled, 1 done\n"
    assert tessera("delete", "t").out == "t: deleted, 1 results\n"
    server.next("v1/tasks/delete", lambda _: error(404, "NOT_FOUND", "no"))
    assert tessera("delete", "unknown").code == 1


def test_account(tessera: Tessera, server: FakeServer) -> None:
    server.next(
        "v1/account", lambda _: success({"credits": 1234, "apiVersion": "1", "limits": LIMITS, "retentionSeconds": 9})
    )
    assert tessera("account").out == "1,234 credits\n"


@pytest.mark.parametrize(
    ("kind", "options"),
    [("png", {}), ("jpeg", {}), ("jpeg", {"progressive": True}), ("webp", {}), ("webp", {"lossless": True})],
)
def test_the_size_is_read_from_the_header(tmp_path: Path, kind: str, options: dict[str, bool]) -> None:
    place = tmp_path / "p"
    Image.new("RGB", (301, 77), (9, 80, 200)).save(place, kind, **options)
    assert picture_size(place) == (301, 77)
    rgba = io.BytesIO()
    Image.new("RGBA", (33, 44), (9, 80, 200, 90)).save(rgba, "webp")
    place.write_bytes(rgba.getvalue())
    assert picture_size(place) == (33, 44)


@pytest.mark.parametrize(
    "damaged", [b"", b"GIF89a", b"\xff\xd8\xff", b"\xff\xd8\xff\xda\x00\x02", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8 "]
)
def test_a_header_without_a_size_is_told(tmp_path: Path, damaged: bytes) -> None:
    place = tmp_path / "p"
    place.write_bytes(damaged)
    with pytest.raises(UnsupportedFile):
        picture_size(place)
