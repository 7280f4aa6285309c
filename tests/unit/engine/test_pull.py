from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tessera_engine import __main__ as command
from tessera_engine import catalogue
from tessera_engine.catalogue import File
from tessera_engine.pull import Puller, PullFailed, state

BODY = bytes(range(256)) * 9000  # more than two chunks


def listed(body: bytes = BODY, name: str = "net.pth") -> File:
    return File(name, f"someone/net/releases/{name}", len(body), hashlib.sha256(body).hexdigest(), "a net", 4, 8)


@pytest.fixture
def puller(bucket: Any, tmp_path: Path) -> Puller:
    """Asks the loopback server of conftest, which wants an If-Match as it serves storage."""
    bucket.objects["someone/net/releases/net.pth"] = BODY
    pool = urllib3.PoolManager(headers={"If-Match": bucket.etag}, retries=False)
    return Puller(tmp_path / "models", f"{bucket.url}/", pool)


def test_a_file_is_fetched_once(puller: Puller, bucket: Any) -> None:
    assert puller.pull(listed())
    assert (puller.directory / "net.pth").read_bytes() == BODY
    assert not puller.pull(listed())
    assert len(bucket.asked) == 1


@pytest.mark.parametrize(
    "body",
    [BODY[:-1], BODY + b"x", BODY[:-1] + b"x", b"", BODY * 3],
    ids=["shorter", "longer", "a wrong byte", "empty", "much longer"],
)
def test_other_bytes_never_get_the_name(puller: Puller, bucket: Any, body: bytes) -> None:
    bucket.objects["someone/net/releases/net.pth"] = body
    with pytest.raises(PullFailed, match=r"net\.pth: the bytes"):
        puller.pull(listed())
    assert list(puller.directory.iterdir()) == []


@pytest.mark.parametrize(("words", "wanted"), [(["faces"], catalogue.FACES), (["all"], catalogue.FILES)])
def test_faces_are_fetched_by_name_only(
    words: list[str],
    wanted: dict[str, File],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Puller, "pull", lambda _, file: asked.append(file.name))
    assert command.main(["models", "pull", *words, "--directory", str(tmp_path)]) == 0
    assert asked == list(wanted)
    assert ("non-commercial" in capsys.readouterr().err) == (words == ["faces"])


def test_a_wrong_file_is_replaced_and_kept_until_then(puller: Puller, bucket: Any) -> None:
    puller.directory.mkdir()
    (puller.directory / "net.pth").write_bytes(b"old")
    bucket.refuse["GET /someone/net/releases/net.pth"] = [404]
    with pytest.raises(PullFailed, match="404"):
        puller.pull(listed())
    assert (puller.directory / "net.pth").read_bytes() == b"old"
    assert puller.pull(listed())
    assert [path.name for path in puller.directory.iterdir()] == ["net.pth"]


def test_a_server_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with pytest.raises(PullFailed, match=r"net\.pth"):
        Puller(tmp_path, "http://127.0.0.1:9/", urllib3.PoolManager(retries=False, timeout=1.0)).pull(listed())
    assert list(tmp_path.iterdir()) == []


def test_states(tmp_path: Path) -> None:
    assert state(tmp_path, listed()) == "missing"
    for body, expected in [(BODY[:-1] + b"x", "wrong"), (b"", "wrong"), (BODY, "right")]:
        (tmp_path / "net.pth").write_bytes(body)
        assert state(tmp_path, listed()) == expected


@pytest.fixture
def two_files(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[File]]:
    """`verify` and `pull all` know these two only."""
    files = [listed(b"one", "one.pth"), listed(b"two", "two.pth")]
    monkeypatch.setattr(command, "FILES", {file.name: file for file in files})
    yield files


def test_verify_tells_wrong_files(two_files: list[File], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.pth").write_bytes(b"one")
    verify = ["models", "verify", "--directory", str(tmp_path)]
    assert command.main(verify) == 0
    (tmp_path / "two.pth").write_bytes(b"2!!")
    assert command.main(verify) == 1
    assert capsys.readouterr().out.splitlines()[-4:-2] == ["right    one.pth", "wrong    two.pth"]


def test_pull_goes_on_after_a_failure_and_tells_it(
    two_files: list[File], bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.pth").write_bytes(b"two")
    assert command.main(["models", "pull", "all", "--base-url", f"{bucket.url}/", "--directory", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out == "two.pth: was there\n"
    assert "one.pth: the server answered with status 404" in told.err


def test_a_name_of_another_service_pulls_its_two_files(
    bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pull = ["models", "pull", "clear-boost-4x", "--base-url", f"{bucket.url}/", "--directory", str(tmp_path)]
    assert command.main(pull) == 1
    assert bucket.asked == [f"GET /{file.path}" for file in (catalogue.GENERAL, catalogue.GENERAL_WDN)]


def test_the_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["models", "list"]) == 0
    told = capsys.readouterr().out
    for name in ("tessera-fidelity", "realesrgan-x4plus", "texture-boost-4x"):
        assert name in told


def test_without_a_choice_files_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert catalogue.cache_directory({}) == tmp_path / ".cache" / "tessera" / "models"
    assert catalogue.cache_directory({"TESSERA_MODELS": "/models"}) == Path("/models")
