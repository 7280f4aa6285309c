from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tessera_client import BadRequest, Cancelled, Client, Progress, TransferError, UnsupportedFile
from tessera_client.photo import file_type
from tessera_client.sessions import default_folder

from tests.unit.client.conftest import FakeTime
from tests.unit.client.fake_server import API, JPEG, KEY, PNG, WEBP, FakeServer, error


def refuse(status: int, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, headers={name.replace("_", "-"): text for name, text in headers.items()})


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.WriteError(f"lost {request.url}")


@pytest.fixture
def large(tmp_path: Path, server: FakeServer) -> Path:
    """Five parts, the last one short."""
    server.part_size = 1000
    place = tmp_path / "large.jpg"
    place.write_bytes(JPEG + bytes(range(256)) * 17)
    return place


def put_paths(server: FakeServer) -> list[str]:
    return sorted(request.url.path for request in server.puts)


def states(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(("head", "kind"), [(JPEG, "image/jpeg"), (PNG, "image/png"), (WEBP, "image/webp")])
def test_ups_38_the_type_is_by_the_bytes(
    client: Client, server: FakeServer, tmp_path: Path, head: bytes, kind: str
) -> None:
    assert file_type(head) == kind
    misnamed = tmp_path / "misnamed.gif"
    misnamed.write_bytes(head)
    assert client.upload(misnamed).file_type == kind
    assert server.puts[0].headers["content-type"] == kind


@pytest.mark.parametrize("content", [b"", b"GIF89a....", b"RIFF....WAVE", b"\xff\xd8"])
def test_another_kind_is_refused_before_any_network(
    client: Client, server: FakeServer, tmp_path: Path, content: bytes
) -> None:
    place = tmp_path / "photo.jpg"
    place.write_bytes(content)
    with pytest.raises(UnsupportedFile, match="not a JPEG, PNG or WebP"):
        client.upload(place)
    assert server.calls == []


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_picture_is_called_by_the_name_it_was_given(client: Client, server: FakeServer, photo: Path) -> None:
    link = photo.with_name(os.fsdecode(b"caf\xe9.jpg"))
    try:
        link.symlink_to(photo)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert client.upload(link).original_file_name == "caf?.jpg"


def test_ups_14_a_small_file_is_one_put(client: Client, server: FakeServer, photo: Path) -> None:
    seen: list[Progress] = []
    file = client.upload(photo, on_progress=seen.append)
    assert server.stored == {"/u1": JPEG}
    assert (file.file_name, file.file_size, file.original_file_name) == ("00000001-photo.jpg", 100, "photo.jpg")
    assert seen == [Progress("upload", 0, 100), Progress("upload", 100, 100)]


@pytest.mark.parametrize("fault", [refuse(503), refuse(429), refuse(500), broken])
def test_storage_is_asked_four_times(
    client: Client,
    server: FakeServer,
    photo: Path,
    time: FakeTime,
    fault: Callable[[httpx.Request], httpx.Response],
) -> None:
    server.next("PUT", fault, fault, fault)
    seen: list[Progress] = []
    client.upload(photo, on_progress=seen.append)
    assert time.slept == [0.5, 1.0, 2.0]
    assert seen[-1].done == 100
    server.next("PUT", fault, fault, fault, fault)
    with pytest.raises(TransferError):
        client.upload(photo)
    assert len(server.puts) == 8


def test_storages_retry_after_is_kept(client: Client, server: FakeServer, photo: Path, time: FakeTime) -> None:
    server.next("PUT", refuse(503, Retry_After="4"))
    client.upload(photo)
    assert time.slept == [4.0]


def test_c_12_a_403_is_told_once_and_clearly(client: Client, server: FakeServer, photo: Path) -> None:
    server.next("PUT", refuse(403))
    with pytest.raises(TransferError, match="storage refused the upload with 403: the link has expired") as caught:
        client.upload(photo)
    assert caught.value.status == 403
    assert len(server.puts) == 1
    assert "Signature" not in str(caught.value)


def test_c_07_a_large_file_goes_in_parts(client: Client, server: FakeServer, large: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    file = client.upload(large, on_progress=seen.append)
    assert b"".join(server.stored[f"/u1/{n}"] for n in range(1, 6)) == large.read_bytes()
    (body,) = server.bodies("complete-multipart-upload")
    assert [part["ETag"] for part in body["data"]["parts"]] == [f"etag-{n}" for n in range(1, 6)]
    assert (body["data"]["uploadId"], body["data"]["key"]) == ("id1", "uploads/1")
    assert file.file_size == large.stat().st_size == seen[-1].done
    assert states(tmp_path) == []


def test_a_server_that_knows_no_parts_gets_one_put(client: Client, server: FakeServer, large: Path) -> None:
    server.part_size = None
    client.upload(large)
    assert put_paths(server) == ["/u1"]


def test_a_part_is_retried_alone(client: Client, server: FakeServer, large: Path) -> None:
    server.next("PUT /u1/3", refuse(500), broken)
    client.upload(large)
    assert put_paths(server) == ["/u1/1", "/u1/2", "/u1/3", "/u1/3", "/u1/3", "/u1/4", "/u1/5"]


def interrupted_after_two_parts(connect: Callable[..., Client], server: FakeServer, large: Path) -> None:
    """A run that is cut off when two parts are stored: one thread, so that the order is sure."""
    with connect(API, KEY, part_threads=1) as client:

        def cut_off(request: httpx.Request) -> httpx.Response:
            client.cancel()
            raise httpx.WriteError("gone")

        server.next("PUT /u1/3", cut_off)
        with pytest.raises(Cancelled):
            client.upload(large)
    assert put_paths(server) == ["/u1/1", "/u1/2", "/u1/3"]
    server.puts.clear()


def test_the_next_run_sends_only_the_rest(
    connect: Callable[..., Client],
    server: FakeServer,
    large: Path,
    tmp_path: Path,
) -> None:
    interrupted_after_two_parts(connect, server, large)
    (state,) = states(tmp_path)
    if os.name == "posix":
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert KEY not in state.read_text()
    seen: list[Progress] = []
    connect(API, KEY).upload(large, on_progress=seen.append)
    assert put_paths(server) == ["/u1/3", "/u1/4", "/u1/5"]
    assert seen[0].done == 2000
    assert b"".join(server.stored[f"/u1/{n}"] for n in range(1, 6)) == large.read_bytes()
    assert len(server.bodies("get-upload-url")) == 1
    assert states(tmp_path) == []


@pytest.mark.parametrize("change", ["file", "key", "server"])
def test_another_file_key_or_server_is_another_upload(
    connect: Callable[..., Client],
    server: FakeServer,
    large: Path,
    change: str,
) -> None:
    interrupted_after_two_parts(connect, server, large)
    if change == "file":
        os.utime(large, ns=(1, 1))
    server.key = "other" if change == "key" else KEY
    url = "https://another.test" if change == "server" else API
    connect(url, server.key).upload(large)
    assert len(put_paths(server)) == 5
    assert all(path.startswith("/u2/") for path in put_paths(server))


def test_an_expired_session_starts_anew(connect: Callable[..., Client], server: FakeServer, large: Path) -> None:
    interrupted_after_two_parts(connect, server, large)
    connect(API, KEY, now=lambda: 5_000_000_000.0).upload(large)
    assert put_paths(server) == [f"/u2/{n}" for n in range(1, 6)]


@pytest.mark.parametrize("status", [403, 404])
def test_a_session_that_storage_refuses_starts_anew(
    connect: Callable[..., Client],
    server: FakeServer,
    large: Path,
    tmp_path: Path,
    status: int,
) -> None:
    interrupted_after_two_parts(connect, server, large)
    for number in (3, 4, 5):
        server.next(f"PUT /u1/{number}", refuse(status))
    connect(API, KEY).upload(large)
    assert [path for path in put_paths(server) if path.startswith("/u2/")] == [f"/u2/{n}" for n in range(1, 6)]
    assert states(tmp_path) == []


def test_a_session_that_the_server_forgot_starts_anew_once(
    connect: Callable[..., Client], server: FakeServer, large: Path
) -> None:
    interrupted_after_two_parts(connect, server, large)
    forgotten = [lambda _: error(400, "BAD_REQUEST", "no such upload")] * 2
    server.next("complete-multipart-upload", *forgotten)
    with pytest.raises(BadRequest):
        connect(API, KEY).upload(large)
    assert len(server.bodies("get-upload-url")) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b'{"ticket":{"uploadURL":"x","fileName":"y","expiresAt":9e14}}']
)
def test_a_damaged_state_is_dropped(
    connect: Callable[..., Client],
    server: FakeServer,
    large: Path,
    tmp_path: Path,
    content: bytes,
) -> None:
    interrupted_after_two_parts(connect, server, large)
    states(tmp_path)[0].write_bytes(content)
    connect(API, KEY).upload(large)
    assert put_paths(server) == [f"/u2/{n}" for n in range(1, 6)]


def test_a_file_that_changes_under_way_is_not_completed(
    connect: Callable[..., Client], server: FakeServer, large: Path, tmp_path: Path
) -> None:
    def change(_: httpx.Request) -> httpx.Response:
        large.write_bytes(JPEG + b"other" * 1000)
        return httpx.Response(200, headers={"ETag": '"e"'})

    server.next("PUT /u1/5", change)
    with pytest.raises(TransferError, match="changed"):
        connect(API, KEY, part_threads=1).upload(large)
    assert server.bodies("complete-multipart-upload") == []
    assert states(tmp_path) == []


def test_a_file_that_is_cut_under_way_is_told(client: Client, server: FakeServer, photo: Path) -> None:
    def cut(_: httpx.Request) -> httpx.Response:
        photo.write_bytes(JPEG[:50])
        return httpx.Response(503)

    server.next("PUT", cut)
    with pytest.raises(TransferError, match="changed"):
        client.upload(photo)


def test_without_a_place_for_states_uploads_still_work(
    connect: Callable[..., Client], large: Path, tmp_path: Path
) -> None:
    (tmp_path / "blocked").write_text("a file, not a folder")
    assert connect(API, KEY, cache_dir=tmp_path / "blocked" / "cache").upload(large)


def test_the_states_folder_follows_the_platform() -> None:
    home = Path.home()
    assert default_folder({"TESSERA_CACHE": "/x"}, "linux") == Path("/x")
    assert default_folder({"XDG_CACHE_HOME": "/c"}, "linux") == Path("/c/tessera")
    assert default_folder({"XDG_CACHE_HOME": "relative"}, "linux") == home / ".cache" / "tessera"
    assert default_folder({}, "darwin") == home / "Library" / "Caches" / "tessera"
    assert default_folder({"LOCALAPPDATA": "/l"}, "win32") == Path("/l/Tessera/Cache")
