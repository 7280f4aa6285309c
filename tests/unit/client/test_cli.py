from __future__ import annotations

import concurrent.futures
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tessera_client import Client
from tessera_client.cli import COMMANDS, main
from tessera_client.terminal import Terminal

from tests.unit.client.conftest import Ran
from tests.unit.client.fake_server import API, JPEG, KEY, RESULT, FakeServer, error, success

Tessera = Callable[..., Ran]


def nobody(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    places = [folder / name for name in ("a.jpg", "b.jpg", "c.jpg")]
    for place in places:
        place.write_bytes(JPEG)
    return places


def test_a_photo_beside_its_source(tessera: Tessera, photo: Path) -> None:
    ran = tessera("upscale", photo)
    assert (ran.code, ran.out) == (0, f"{photo} -> {photo.with_name('photo-4x.png')}, 40 x 20\n")
    assert photo.with_name("photo-4x.png").read_bytes() == RESULT
    assert ran.err.splitlines() == [
        f"{photo}: uploading",
        f"{photo}: queued, task task-1",
        f"{photo}: downloading",
    ]


def test_options_reach_the_server(tessera: Tessera, server: FakeServer, photo: Path, tmp_path: Path) -> None:
    options = (
        "--scale",
        2,
        "--model",
        "digital-art-4x",
        "--format",
        "webp",
        "--face",
        "--out",
        tmp_path / "new" / "out",
    )
    assert tessera("upscale", photo, *options).code == 0
    (form,) = server.bodies("start-task")
    for value in ("digital-art-4x", "webp", "true", "2"):
        assert f"\r\n\r\n{value}\r\n" in form
    assert (tmp_path / "new" / "out" / "photo-2x.webp").exists()


def test_json_is_one_object_per_file_and_nothing_else(
    tessera: Tessera, server: FakeServer, photos: list[Path], tmp_path: Path
) -> None:
    server.final = {
        "engineModel": "mini",
        "standIn": True,
        "cache": "hit",
        "notes": ["no face model"],
        "fidelity": 41.5,
        "seam": 1,
    }
    (tmp_path / "bad.jpg").write_bytes(b"GIF89a")
    ran = tessera("upscale", photos[0], tmp_path / "bad.jpg", "--json", "--parallel", 1)
    good, bad = ran.json
    assert ran.code == 1
    assert good.pop("seconds") >= 0
    assert good == {
        "file": str(photos[0]),
        "ok": True,
        "result": str(photos[0].with_name("a-4x.png")),
        "taskId": "task-1",
        "model": "upscayl-standard-4x",
        "scale": "4",
        "format": "png",
        "width": 40,
        "height": 20,
        "bytes": len(RESULT),
        "engineModel": "mini",
        "standIn": True,
        "cache": "hit",
        "notes": ["no face model"],
        "fidelity": 41.5,
        "seam": 1.0,
    }
    assert bad == {
        "file": str(tmp_path / "bad.jpg"),
        "ok": False,
        "taskId": None,
        "error": {
            "type": "UnsupportedFile",
            "message": "not a JPEG, PNG or WebP picture: its bytes are of another kind",
        },
    }
    assert ran.err == ""


def test_a_stand_in_is_told(tessera: Tessera, server: FakeServer, photo: Path) -> None:
    server.final = {"engineModel": "mini", "standIn": True}
    assert "note: mini stood in for upscayl-standard-4x" in tessera("upscale", photo).out


def test_one_bad_file_does_not_stop_the_others(tessera: Tessera, photos: list[Path], tmp_path: Path) -> None:
    photos[1].write_bytes(b"not a picture")
    ran = tessera("upscale", photos[0].parent, tmp_path / "missing.jpg", "--parallel", 3)
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 2
    assert f"{photos[1]}: failed: not a JPEG" in ran.err
    assert f"{tmp_path / 'missing.jpg'}: failed: No such file or directory" in ran.err


def test_a_failed_task_is_named_with_its_id(tessera: Tessera, server: FakeServer, photo: Path) -> None:
    server.statuses = [{"status": "failed", "error": "corrupt \x1b[31mimage"}]
    ran = tessera("upscale", photo)
    assert ran.code == 1
    assert "failed: corrupt ?[31mimage (task task-1)" in ran.err


def test_nothing_is_overwritten_and_no_file_goes_twice(tessera: Tessera, server: FakeServer, photo: Path) -> None:
    tessera("upscale", photo, photo.parent / "." / photo.name)
    assert len(server.bodies("start-task")) == 1
    assert "photo-4x-1.png" in tessera("upscale", photo).out
    assert photo.with_name("photo-4x.png").exists()
    assert "photo-4x.png" in tessera("upscale", photo, "--overwrite").out


def test_overwrite_spares_the_sources_and_results_of_the_same_run(tessera: Tessera, tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg", "b-4x.png"):
        (tmp_path / name).write_bytes(JPEG)
    ran = tessera("upscale", *sorted(tmp_path.glob("*.*")), "--overwrite", "--json")
    results = {Path(line["file"]).name: Path(line["result"]).name for line in ran.json}
    assert sorted([results["a.jpg"], results["a.png"]]) == ["a-4x-1.png", "a-4x.png"]
    assert (results["b.jpg"], results["b-4x.png"]) == ("b-4x-1.png", "b-4x-4x.png")
    assert (tmp_path / "b-4x.png").read_bytes() == JPEG


def test_an_empty_folder_is_a_failure(tessera: Tessera, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = tessera("upscale", tmp_path / "empty", photo)
    assert ran.code == 1
    assert "empty: failed: no JPEG, PNG or WebP picture in this folder" in ran.err
    assert "photo-4x.png" in ran.out


@pytest.mark.parametrize(
    ("route", "answer", "code", "tried"),
    [
        ("get-upload-url", lambda _: error(401, "UNAUTHORIZED", "Invalid or missing API key"), 3, 1),
        ("start-task", lambda _: error(402, "INSUFFICIENT_CREDITS", "Not enough credits"), 4, 1),
        ("start-task", lambda _: error(429, "RATE_LIMIT_EXCEEDED", "Try again in 1 hour"), 1, 1),
        ("get-upload-url", nobody, 5, 4),
        ("get-upload-url", lambda _: error(500, "INTERNAL_SERVER_ERROR", "oops"), 5, 12),
        ("get-upload-url", lambda _: error(400, "FILE_SIZE_EXCEEDED", "too big"), 1, 3),
    ],
)
def test_exit_codes_and_what_stops_a_batch(
    tessera: Tessera,
    server: FakeServer,
    photos: list[Path],
    route: str,
    answer: Callable[[httpx.Request], httpx.Response],
    code: int,
    tried: int,
) -> None:
    server.next(route, *[answer] * 99)
    ran = tessera("upscale", *photos, "--json", "--parallel", 1)
    assert ran.code == code
    assert len(server.bodies(route)) == tried
    assert [line["ok"] for line in ran.json] == [False] * 3
    assert [line["file"] for line in ran.json] == [str(place) for place in photos]
    later = ran.json[2]["error"]["type"]
    assert (later == "NotTried") == (tried in (1, 4))


def test_an_outage_later_does_not_stop_a_batch(tessera: Tessera, server: FakeServer, photos: list[Path]) -> None:
    server.next("get-upload-url", server.on_get_upload_url, *[nobody] * 4)
    ran = tessera("upscale", *photos, "--json", "--parallel", 1)
    assert [line["ok"] for line in ran.json] == [True, False, True]
    assert ran.code == 5


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("upscale",),
        ("nonsense",),
        ("upscale", "a.jpg", "--scale", "3"),
        ("upscale", "a.jpg", "--parallel", "0"),
        ("upscale", "a.jpg", "--out", "result.png"),
        ("history", "--limit", "0"),
        ("status", "t", "--url", "not a url"),
        ("status", "t", "--url", "ftp://x"),
    ],
)
def test_wrong_usage_is_2(tessera: Tessera, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]) -> None:
    assert tessera(*argv).code == 2


@pytest.mark.parametrize("missing", ["TESSERA_URL", "TESSERA_KEY"])
def test_a_missing_setting_is_named(tessera: Tessera, missing: str) -> None:
    ran = tessera("status", "t", **{missing: ""})
    assert ran.code == 2
    assert missing in ran.err


def test_options_win_over_the_environment(tessera: Tessera) -> None:
    assert tessera("status", "t", "--url", API, "--key", KEY, TESSERA_URL="http://no.test", TESSERA_KEY="no").code == 0


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command.name in shown for command in COMMANDS)
    assert "130 interrupted" in shown


def test_status(tessera: Tessera, server: FakeServer) -> None:
    server.statuses = [{"status": "processing", "progress": "40", "model": "m", "scale": "4", "saveImageAs": "png"}]
    assert tessera("status", "t").out == "t: processing, 40 %\n  m, 4x, png\n"
    done = tessera("status", "t")
    assert "photo.jpg, 40 x 20" in done.out and "Signature" not in done.out
    assert tessera("status", "t", "--json").json[0]["files"][0]["downloadLink"].startswith("https://store.test/")
    server.statuses = [{"status": "failed", "error": "corrupt image"}]
    failed = tessera("status", "t")
    assert failed.code == 1 and "reason: corrupt image" in failed.out
    server.next("get-task-status", lambda _: error(404, "NOT_FOUND", "Requested resource could not be found"))
    unknown = tessera("status", "t")
    assert (unknown.code, unknown.out) == (1, "")
    assert "NOT_FOUND" in unknown.err


def history(request: httpx.Request) -> httpx.Response:
    body = json.loads(request.content)
    newest = body.get("timestampOffset", 1000)
    task = {"status": "completed", "model": "m", "scale": "4", "saveImageAs": "png"}
    file = {"originalFileName": "p.jpg", "downloadLink": "https://store.test/x?Signature=1"}
    shown = [{**task, "taskId": f"t{newest - n}", "createdAt": newest - n, "files": [file]} for n in range(1, 4)]
    return success(shown, pagination={"total": 999, "hasMore": True, "nextOffset": newest - 3})


def test_history_walks_pages_up_to_the_limit(tessera: Tessera, server: FakeServer) -> None:
    server.next("get-upscayl-history", *[history] * 5)
    ran = tessera("history", "--limit", 5, "--status", "completed", "--json")
    assert [task["taskId"] for task in ran.json] == ["t999", "t998", "t997", "t996", "t995"]
    assert server.bodies("get-upscayl-history")[0] == {"processed": "completed", "limit": 5}
    assert "Signature" not in ran.out
    (line,) = tessera("history", "--limit", 1).out.splitlines()
    assert "t999  completed   m 4x png  p.jpg" in line


def test_download_fetches_what_an_interrupted_run_left(tessera: Tessera, server: FakeServer, tmp_path: Path) -> None:
    server.statuses = [{"status": "processing", "progress": "9"}]
    server.final = {"originalFileName": "../../etc\\photo.jpg"}
    ran = tessera("download", "t", "--out", tmp_path / "got")
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'got' / 'photo-4x.png'}, 40 x 20\n")
    server.next("GET", lambda _: httpx.Response(403))
    failed = tessera("download", "t", "--out", tmp_path / "got", "--json")
    assert failed.code == 1
    assert failed.json[0]["error"]["type"] == "TransferError"


def test_nothing_printed_holds_a_secret(tessera: Tessera, server: FakeServer, photos: list[Path]) -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"lost {request.url} {request.headers.get('x-api-key')}")

    leaky = f"key {KEY} at https://store.test/u1?X-Amz-Signature=deadbeefcafe"
    server.next("start-task", lambda _: error(400, "BAD_REQUEST", leaky), lost)
    server.next("GET", *[lost] * 4)
    for flags in ((), ("--json",)):
        ran = tessera("upscale", *photos, *flags, "--parallel", 1)
        assert KEY not in ran.out + ran.err
        assert "deadbeefcafe" not in ran.out + ran.err
        assert ran.code in (0, 1, 5)


def test_ctrl_c_names_the_running_task_and_ends_with_130(
    connect: Callable[..., Client], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting(client: Client, task_id: str, **_: object) -> None:
        while True:
            client._pace.pause(0.01)

    monkeypatch.setattr(Client, "wait", waiting)
    looks = iter(range(99))

    def look(futures: Any, **options: Any) -> object:
        if next(looks) == 3:
            raise KeyboardInterrupt
        return concurrent.futures.wait(futures, **options)

    monkeypatch.setattr("tessera_client.batch.wait", look)
    out, err = io.StringIO(), io.StringIO()
    code = main(
        ["upscale", str(photo)],
        environ={"TESSERA_URL": API, "TESSERA_KEY": KEY},
        connect=lambda url, key: connect(url, key, sleep=None),
        terminal=Terminal(out, err),
    )
    assert code == 130
    assert "run the same command again" in err.getvalue().lower()
    assert "tessera download task-1" in err.getvalue()


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_on_a_terminal_leave_the_results_readable(
    connect: Callable[..., Client], server: FakeServer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    photos[1].write_bytes(b"bad")
    for out in (Screen(), io.StringIO()):
        err = Screen()
        code = main(
            ["upscale", *map(os.fspath, photos)],
            environ={"TESSERA_URL": API, "TESSERA_KEY": KEY},
            connect=connect,
            terminal=Terminal(out, err),
        )
        assert code == 1
        shown = err.getvalue() if out.isatty() else out.getvalue()
        assert f"{photos[0]} -> " in shown
        assert f"{photos[1]}: failed: not a JPEG" in err.getvalue()
        assert (out.getvalue() == "") == out.isatty()
