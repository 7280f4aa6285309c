"""A run over a folder that stops anywhere goes on there with the same command."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tessera_client.journal import NAME

from tests.unit.client.conftest import Ran
from tests.unit.client.fake_server import JPEG, KEY, RESULT, SIGNATURE, FakeServer, error, success

Tessera = Callable[..., Ran]


def killed(request: httpx.Request) -> httpx.Response:
    """Ctrl-C, as far as the request is concerned: nothing after it happens."""
    raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "holiday"
    place.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (place / name).write_bytes(JPEG)
    return place


def journals(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(NAME)]


def stopped(tessera: Tessera, server: FakeServer, folder: Path, route: str, *options: object) -> Ran:
    """The second picture's `route` is where it stops."""
    happy = server.storage if route in ("GET", "PUT") else getattr(server, "on_" + route.replace("-", "_"))
    passing = {"GET": lambda _: httpx.Response(200, content=RESULT), "PUT": lambda _: httpx.Response(200)}
    server.next(route, passing.get(route, happy), killed)
    return tessera("upscale", folder, "--parallel", 1, *options)


def test_a_finished_run_leaves_no_journal_and_a_repeat_is_a_new_run(
    tessera: Tessera, server: FakeServer, folder: Path
) -> None:
    assert tessera("upscale", folder).code == 0
    assert journals(folder) == []
    assert tessera("upscale", folder).code == 0
    assert len(server.bodies("start-task")) == 6


@pytest.mark.parametrize("route", ["PUT", "get-upload-url", "start-task", "get-task-status", "GET"])
def test_a_run_that_stops_anywhere_goes_on_there(
    tessera: Tessera, server: FakeServer, folder: Path, tmp_path: Path, route: str
) -> None:
    out = tmp_path / "large"
    assert stopped(tessera, server, folder, route, "--out", out).code == 130
    (journal,) = journals(out)
    assert KEY not in journal.read_text() and SIGNATURE not in journal.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    before = len(server.puts)
    ran = tessera("upscale", folder, "--parallel", 1, "--out", out)
    assert ran.code == 0
    assert f"a.jpg -> {out / 'a-4x.png'}, finished before" in ran.out
    assert sorted(path.name for path in out.iterdir()) == ["a-4x.png", "b-4x.png", "c-4x.png"]
    keys = server.start_keys
    assert len(set(keys)) == 3 and None not in keys  # a start that is repeated carries the key of the first
    assert len(keys) == (4 if route == "start-task" else 3)
    sent = len(server.puts) - before
    assert sent == (1 if route in ("start-task", "get-task-status", "GET") else 2)


def test_a_running_task_is_picked_up_by_its_id(tessera: Tessera, server: FakeServer, folder: Path) -> None:
    stopped(tessera, server, folder, "get-task-status")
    first = len(server.bodies("get-task-status"))
    ran = tessera("upscale", folder, "--parallel", 1, "--json")
    asked = [body["taskId"] for body in server.bodies("get-task-status")[first:]]
    assert asked == ["task-2", "task-3"]
    assert [line.get("finishedBefore", False) for line in ran.json] == [True, False, False]


def test_a_changed_picture_or_another_wish_starts_afresh(tessera: Tessera, server: FakeServer, folder: Path) -> None:
    stopped(tessera, server, folder, "get-task-status")
    os.utime(folder / "a.jpg", ns=(1, 1))
    assert "a-4x-1.png" in tessera("upscale", folder, "--parallel", 1).out
    stopped(tessera, server, folder, "get-task-status")
    ran = tessera("upscale", folder, "--parallel", 1, "--scale", 2)
    assert "before" not in ran.out
    assert (folder / "a-2x.png").exists()


def test_a_result_that_was_taken_away_is_made_again(tessera: Tessera, server: FakeServer, folder: Path) -> None:
    stopped(tessera, server, folder, "get-task-status")
    (folder / "a-4x.png").unlink()
    ran = tessera("upscale", folder, "--parallel", 1)
    assert ran.code == 0 and "finished before" not in ran.out
    assert (folder / "a-4x.png").read_bytes() == RESULT


@pytest.mark.parametrize("gone", ["unknown", "expired"])
def test_a_task_that_is_no_longer_there_is_started_again(
    tessera: Tessera, server: FakeServer, folder: Path, gone: str
) -> None:
    stopped(tessera, server, folder, "get-task-status")
    finished = server.completed()
    finished["files"][0].pop("downloadLink")
    answer = error(404, "NOT_FOUND", "no") if gone == "unknown" else success(finished)
    server.next("get-task-status", lambda _: answer)
    assert tessera("upscale", folder, "--parallel", 1).code == 0
    assert len(server.bodies("start-task")) == 4
    assert len(set(server.start_keys)) == 4


def test_an_upload_that_has_expired_is_sent_again(tessera: Tessera, server: FakeServer, folder: Path) -> None:
    stopped(tessera, server, folder, "start-task")
    server.next("start-task", lambda _: error(400, "BAD_REQUEST", "no file 'b' was uploaded, or it has expired"))
    before = len(server.puts)
    assert tessera("upscale", folder, "--parallel", 1).code == 0
    assert len(server.puts) - before == 2


def test_a_failed_picture_is_tried_again_and_the_others_are_not(
    tessera: Tessera, server: FakeServer, folder: Path
) -> None:
    server.statuses = [{"status": "failed", "error": "corrupt image"}]
    assert tessera("upscale", folder, "--parallel", 1).code == 1
    assert len(journals(folder)) == 1
    ran = tessera("upscale", folder, "--parallel", 1)
    assert ran.code == 0 and ran.out.count("finished before") == 2
    assert len(server.bodies("start-task")) == 4
    assert journals(folder) == []


def test_another_key_has_a_journal_of_its_own(tessera: Tessera, server: FakeServer, folder: Path) -> None:
    stopped(tessera, server, folder, "get-task-status")
    server.key = "another"
    assert "finished before" not in tessera("upscale", folder, TESSERA_KEY="another").out


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\n", b"{}\n[]\n", b'{"photo": "x'])
def test_a_journal_that_is_cut_off_or_damaged_costs_no_more_than_a_repeat(
    tessera: Tessera, server: FakeServer, folder: Path, damage: bytes
) -> None:
    stopped(tessera, server, folder, "get-task-status")
    (journal,) = journals(folder)
    journal.write_bytes(journal.read_bytes()[:-20] + damage)
    assert tessera("upscale", folder, "--parallel", 1).code == 0
    journal.write_bytes(damage)
    assert tessera("upscale", folder, "--parallel", 1).code == 0


def test_overwrite_spares_what_the_interrupted_run_has_finished(
    tessera: Tessera, server: FakeServer, tmp_path: Path
) -> None:
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).write_bytes(JPEG)
    photos = (tmp_path / "a.jpg", tmp_path / "a.png")
    server.next("get-task-status", server.on_get_task_status, killed)
    assert tessera("upscale", *photos, "--overwrite", "--parallel", 1).code == 130
    assert "a-4x-1.png" in tessera("upscale", *photos, "--overwrite", "--parallel", 1).out


# ---------------------------------------------------------------- parts, as the server knows them


def test_parts_are_sent_by_what_storage_has_with_fresh_links(
    connect: Callable[..., object], server: FakeServer, tmp_path: Path
) -> None:
    from tests.unit.client.test_uploads import interrupted_after_two_parts

    server.part_size = 1000
    large = tmp_path / "large.jpg"
    large.write_bytes(JPEG + bytes(range(256)) * 17)
    interrupted_after_two_parts(connect, server, large)  # type: ignore[arg-type]
    stored = [
        {"PartNumber": 2, "ETag": "etag-2", "Size": 1000},
        {"PartNumber": 3, "ETag": "cut", "Size": 7},
    ]
    fresh = [{"PartNumber": n, "url": f"{server.store}/fresh/{n}?{SIGNATURE}"} for n in (1, 3, 4, 5)]
    server.next("v1/uploads/parts/list", lambda _: success({"parts": stored}))
    server.next("v1/uploads/parts", lambda _: success({"parts": fresh, "expiresAt": 1}))
    connect("https://api.test", KEY).upload(large)  # type: ignore[attr-defined]
    assert sorted(request.url.path for request in server.puts) == [f"/fresh/{n}" for n in (1, 3, 4, 5)]
    assert server.bodies("v1/uploads/parts") == [{"uploadId": "id1", "key": "uploads/1", "partNumbers": [1, 3, 4, 5]}]
    (body,) = server.bodies("complete-multipart-upload")
    assert [part["PartNumber"] for part in body["data"]["parts"]] == [1, 2, 3, 4, 5]
