from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tessera_client import Client, InsufficientCredits, ProcessedFile, Progress, TaskFailed, TransferError
from tessera_client.names import pictures_in, result_path

from tests.unit.client.fake_server import RESULT, SIGNATURE, STORE, FakeServer, error

FILE = ProcessedFile(download_link=f"{STORE}/result?{SIGNATURE}", final_file_size=len(RESULT))


def test_the_result_appears_whole(client: Client, tmp_path: Path) -> None:
    seen: list[Progress] = []
    names: set[str] = set()

    def watch(progress: Progress) -> None:
        seen.append(progress)
        names.update(path.name for path in (tmp_path / "new").iterdir())

    place = client.download(FILE, tmp_path / "new" / "a.png", on_progress=watch)
    assert place.read_bytes() == RESULT
    assert "a.png" not in names
    assert [path.name for path in place.parent.iterdir()] == ["a.png"]
    assert seen[-1] == Progress("download", len(RESULT), len(RESULT))


def test_nothing_is_overwritten_unless_told(client: Client, tmp_path: Path) -> None:
    wanted = tmp_path / "a-4x.png"
    wanted.write_text("precious")
    assert client.download(FILE, wanted).name == "a-4x-1.png"
    assert client.download(FILE, wanted).name == "a-4x-2.png"
    assert wanted.read_text() == "precious"
    assert client.download(FILE, wanted, overwrite=True) == wanted
    assert wanted.read_bytes() == RESULT


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("gone")


@pytest.mark.parametrize("fault", [broken, lambda _: httpx.Response(503)])
def test_a_broken_download_is_tried_again(
    client: Client, server: FakeServer, tmp_path: Path, fault: Callable[[httpx.Request], httpx.Response]
) -> None:
    server.next("GET", fault, fault)
    assert client.download(FILE, tmp_path / "a.png").read_bytes() == RESULT


@pytest.mark.parametrize(
    ("answer", "words"),
    [(httpx.Response(403), "with 403"), (httpx.Response(200, content=b"short"), "5 bytes in place of")],
)
def test_a_failed_download_leaves_nothing(
    client: Client, server: FakeServer, tmp_path: Path, answer: httpx.Response, words: str
) -> None:
    server.next("GET", lambda _: answer)
    with pytest.raises(TransferError, match=words):
        client.download(FILE, tmp_path / "out" / "a.png")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_without_a_link_is_an_error(client: Client, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="no link"):
        client.download(ProcessedFile(), tmp_path / "a.png")
    with pytest.raises(TransferError, match="corrupt image"):
        client.download(ProcessedFile(error="corrupt image"), tmp_path / "a.png")


def test_upscale_walks_the_whole_way(client: Client, server: FakeServer, photo: Path) -> None:
    server.statuses = [{"status": "pending"}, {"status": "processing", "progress": "50"}]
    seen: list[Progress] = []
    done = client.upscale(photo, scale=2, model="digital-art-4x", on_progress=seen.append)
    assert done.path == photo.with_name("photo-2x.png")
    assert done.path.read_bytes() == RESULT
    assert done.task_id == "task-1"
    phases = [progress.phase for progress in seen]
    assert sorted(set(phases), key=phases.index) == ["upload", "queued", "upscale", "download"]
    assert '"fileName": "00000001-photo.jpg"' in server.bodies("start-task")[0]


def test_ups_05_no_credits_starts_nothing(client: Client, server: FakeServer, photo: Path) -> None:
    server.next("start-task", lambda _: error(402, "INSUFFICIENT_CREDITS", "Not enough credits to process request"))
    with pytest.raises(InsufficientCredits):
        client.upscale(photo)


def test_a_folder_that_cannot_be_written_is_told_before_the_upload(
    client: Client, server: FakeServer, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        client.upscale(photo, out=tmp_path / "file" / "out")
    assert server.calls == []


def test_a_completed_task_without_files_is_a_failure(client: Client, server: FakeServer, photo: Path) -> None:
    server.statuses = [{"status": "completed"}]
    with pytest.raises(TaskFailed, match="no file"):
        client.upscale(photo)


def test_names(tmp_path: Path) -> None:
    assert result_path(Path("a/p.tar.jpg"), None, 4, "png") == Path("a/p.tar-4x.png")
    assert result_path(Path("a/p.jpg"), Path("o"), 8, "webp") == Path("o/p-8x.webp")


def test_a_folder_gives_its_pictures_and_not_their_results(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "a-4x.png", "a-4x-1.png", "poster-2x.webp", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub.png").mkdir()
    assert [path.name for path in pictures_in(tmp_path)] == ["a.png", "b.JPG", "poster-2x.webp"]
