"""The decoder's process: what it has, what ends it, and that the one who asked goes on."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tessera_engine import decoder, decoding, header, sandbox
from tessera_engine.errors import CorruptImage, EngineError, TooLate
from tessera_engine.header import PNG_SIGNATURE, ImageInfo
from tessera_engine.picture import Picture
from tessera_engine.sandbox import Decoder, DecoderFault

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]

MAX_PIXELS = 20_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def running() -> Iterator[Decoder]:
    with Decoder() as started:
        yield started


def decode(running: Decoder, data: bytes, check: Callable[[], None] = lambda: None) -> tuple[Picture, tuple[str, ...]]:
    return running.decode(data, header.probe(data, header.ALL), max_pixels=MAX_PIXELS, check=check)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8) -> bytes:
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return PNG_SIGNATURE + start + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def small(make_scene: Scene, make_file: MakeFile) -> bytes:
    return make_file(Image.fromarray(make_scene(24, 16)), "png")


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "gif", "bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_it_gives_what_the_core_gives(
    kind: str, mode: str, running: Decoder, make_scene: Scene, make_file: MakeFile
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Copyright] = "A. Author"
    image = Image.fromarray(make_scene(24, 600, 4)).convert("RGB" if kind == "jpeg" and mode == "RGBA" else mode)
    data = make_file(image, kind, **({"exif": exif} if kind in ("jpeg", "png", "webp") else {}))
    picture, notes = decode(running, data)
    wanted, wanted_notes = decoding.decode(data, header.probe(data, header.ALL))
    assert np.array_equal(picture.pixels, wanted.pixels)
    assert (picture.alpha is None) == (wanted.alpha is None)
    assert picture.alpha is None or (wanted.alpha is not None and np.array_equal(picture.alpha, wanted.alpha))
    assert (picture.exif, notes) == (wanted.exif, wanted_notes)


def test_errors_keep_their_kind_and_words(running: Decoder, small: bytes, make_file: MakeFile) -> None:
    for data in (small[:-40], make_file(Image.new("F", (4, 4)), "tiff"), b"RIFF\xff\xff\0\0WEBPVP8 " + bytes(40)):
        info = ImageInfo(header.recognised(data) or "png", 4, 4)
        with pytest.raises(EngineError) as here:
            decoding.decode(data, info)
        with pytest.raises(EngineError) as there:
            running.decode(data, info, max_pixels=MAX_PIXELS, check=lambda: None)
        assert (type(here.value), str(here.value)) == (type(there.value), str(there.value))
    assert decode(running, small)[0].width == 24


def test_a_picture_outlives_its_process(running: Decoder, small: bytes) -> None:
    picture, _ = decode(running, small)
    before = picture.pixels.copy()
    decode(running, small)
    running.close()
    assert np.array_equal(picture.pixels, before)


def test_threads_take_turns(running: Decoder, small: bytes) -> None:
    widths: list[int] = []
    threads = [threading.Thread(target=lambda: widths.append(decode(running, small)[0].width)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert widths == [24] * 6


@linux
def test_the_process_survives_the_thread_that_needed_it_first(running: Decoder, small: bytes) -> None:
    thread = threading.Thread(target=lambda: decode(running, small))
    thread.start()
    thread.join()
    first = running.pid
    decode(running, small)
    assert running.pid == first


def test_it_does_not_keep_the_memory_of_a_large_picture(
    running: Decoder, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "LARGE", 24 * 16)
    picture, _ = decode(running, small)
    assert running.pid is None and picture.width == 24
    assert decode(running, small)[0].width == 24


# --- what it has ------------------------------------------------------------------------------------------------------


@linux
def test_it_has_no_credentials(running: Decoder, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """G17."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    decode(running, small)
    environment = Path(f"/proc/{running.pid}/environ").read_bytes()
    names = {line.partition(b"=")[0].decode() for line in environment.split(b"\0") if line}
    assert names <= {*sandbox.ENVIRONMENT, *sandbox.INHERITED}
    assert b"a secret" not in environment
    assert b"secret" not in Path(f"/proc/{running.pid}/cmdline").read_bytes()


@linux
def test_it_is_confined(running: Decoder, small: bytes) -> None:
    """G17."""
    decode(running, small)
    lines = Path(f"/proc/{running.pid}/limits").read_text().splitlines()[1:]
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    most = str(sandbox.memory(MAX_PIXELS))
    assert limits["Max address space"] == [most, most]
    assert limits["Max file size"] == limits["Max core file size"] == ["0", "0"]
    assert limits["Max open files"] == [str(decoder.OPEN_FILES)] * 2
    assert 0 < int(limits["Max cpu time"][0]) < 60
    assert "NoNewPrivs:\t1" in Path(f"/proc/{running.pid}/status").read_text()
    assert len(list(Path(f"/proc/{running.pid}/fd").iterdir())) == 4  # three streams and the socket


def test_it_imports_no_more_than_it_needs() -> None:
    ask = (
        "import sys, tessera_engine.decoder; print({'pydantic', 'onnxruntime', 'urllib3', 'tessera'} & {*sys.modules})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", ask],
        env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == "set()"


# --- what ends it -----------------------------------------------------------------------------------------------------


def test_a_process_that_died_at_rest_is_not_noticed(running: Decoder, small: bytes) -> None:
    decode(running, small)
    assert running.pid
    os.kill(running.pid, signal.SIGKILL)
    assert decode(running, small)[0].width == 24


@linux
def test_a_process_killed_in_the_middle(running: Decoder, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "POLL_SECONDS", 0.01)
    decode(running, small)
    first = running.pid

    def kill() -> None:
        """Not before it has begun: until then another process would be asked."""
        assert first
        if b"memfd" in Path(f"/proc/{first}/maps").read_bytes():
            os.kill(first, signal.SIGKILL)

    with pytest.raises(CorruptImage, match="limits"):
        decode(running, png(5_000, 4_000, bytes(60_004_000)), check=kill)
    assert decode(running, small)[0].width == 24
    assert running.pid != first


def test_who_asked_may_stop_it(running: Decoder, small: bytes) -> None:
    decode(running, small)
    first = running.pid
    assert first

    def over() -> None:
        raise TooLate("over")

    os.kill(first, signal.SIGSTOP)
    with pytest.raises(TooLate):
        decode(running, small, check=over)
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert decode(running, small)[0].width == 24


def test_time_that_passes_without_an_answer(running: Decoder, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    decode(running, small)
    assert running.pid
    os.kill(running.pid, signal.SIGSTOP)
    monkeypatch.setattr(sandbox, "PATIENCE", 0.02)
    with pytest.raises(CorruptImage, match="limits"):
        decode(running, small)
    monkeypatch.undo()
    assert decode(running, small)[0].width == 24


@linux
def test_cpu_time(running: Decoder, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    none = {"format": "png", "width": 3_000, "height": 2_000, "seconds": 0}  # until the second that has begun is over
    monkeypatch.setattr(sandbox, "_request", lambda _: json.dumps(none).encode())
    slow = png(3_000, 2_000, bytes(2_000 * 9_001))
    with pytest.raises(CorruptImage, match="limits"):
        for _ in range(1_000):
            decode(running, slow)
    monkeypatch.undo()
    assert decode(running, small)[0].width == 24


@linux
def test_memory(running: Decoder, small: bytes, monkeypatch: pytest.MonkeyPatch, make_file: MakeFile) -> None:
    monkeypatch.setattr(sandbox, "MEMORY", 300 * sandbox.MB)
    monkeypatch.setattr(sandbox, "MEMORY_PER_PIXEL", 0)
    with pytest.raises(CorruptImage):
        decode(running, make_file(Image.new("RGB", (4_000, 4_500)), "bmp"))
    assert decode(running, small)[0].width == 24


@linux
def test_the_parents_death_is_its_own(small: bytes) -> None:
    program = (
        "import os, sys; from tessera_engine import header, sandbox\n"
        "data = bytes.fromhex(sys.argv[1])\n"
        "decoder = sandbox.Decoder()\n"
        "decoder.decode(data, header.probe(data), max_pixels=10**6, check=lambda: None)\n"
        "os.kill(decoder.pid, 19)\n"  # SIGSTOP: it cannot end of its own accord
        "print(decoder.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    ran = subprocess.run([sys.executable, "-c", program, small.hex()], env=path, capture_output=True, text=True)
    orphan = Path(f"/proc/{int(ran.stdout)}/stat")
    until = time.monotonic() + 30
    while orphan.exists() and orphan.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.02)


# --- bombs ------------------------------------------------------------------------------------------------------------


def test_a_size_that_is_a_lie(running: Decoder, small: bytes) -> None:
    with pytest.raises(CorruptImage):
        decode(running, png(5_000, 4_000, b"\0" * 100))
    assert decode(running, small)[0].width == 24


@pytest.mark.parametrize("kind", [b"iTXt", b"iCCP", b"zTXt"])
def test_compressed_chunks_that_grow(kind: bytes, running: Decoder, small: bytes) -> None:
    """300 MB of zeros in 300 kB: ignored or refused, and never inflated without end."""
    bomb = zlib.compress(bytes(300_000_000), 9)
    content = {b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0", b"zTXt": b"a\0\0"}[kind] + bomb
    data = png(8, 8, bytes(8 * 25), chunk(kind, content))
    with suppress(CorruptImage):
        decode(running, data)
    assert decode(running, small)[0].width == 24


# --- the other side is not believed -----------------------------------------------------------------------------------

FACTS = {"height": 4, "width": 6, "channels": 3, "depth": 8, "alpha": False, "orientation": 1, "dpi": None, "notes": []}


@pytest.mark.parametrize(
    "lie",
    [{"height": 400}, {"channels": 4}, {"orientation": 9}, {"depth": 16}, {"error": "SystemExit", "message": "out"}],
)
def test_facts_that_cannot_be(lie: dict[str, object]) -> None:
    with sandbox.shared_memory(4 * 24) as file, pytest.raises(DecoderFault):
        sandbox.stored(FACTS | lie, b"", b"", ImageInfo("png", 6, 4), file.fileno())
