"""Decoding in a process that has nothing to lose: no credential in its environment, and limits of memory and time.

The process (`decoder`) is started for the first picture and kept. It is started again when it has died, when it was
ended for taking too long, for a picture of other limits, after a large one, and now and then. Pixels come back in
memory that both sides have mapped, so a picture exists once. There is nothing in it that AWS Lambda lacks: no /dev/shm,
no semaphores.

What a decoder that was taken over could still do is what the user of this process may do with files and the network.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import math
import mmap as mmaps
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from mmap import MAP_SHARED, PROT_READ, mmap
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

from tessera_engine import decoder, metadata
from tessera_engine.decoding import Stored
from tessera_engine.errors import CorruptImage, PictureError, TooManyPixels, UnsupportedFormat
from tessera_engine.header import ImageInfo
from tessera_engine.picture import BYTES, DEEP, Picture, Pixels

MB = 1024 * 1024
MEMORY, MEMORY_PER_PIXEL = 512 * MB, 24  # bytes of address space; docs/performance.md says what decoders need
SECONDS, PIXELS_PER_SECOND = 10, 2_000_000  # of CPU; the slowest decoder takes in several times as many
PATIENCE = 4  # wall time over CPU time, on a machine that has other work
START_SECONDS = 60
POLL_SECONDS = 0.2
PICTURES = 500  # after which a process is replaced, for what its libraries leak
LARGE = 16_000_000  # pixels of 8 bits, from which on the process' memory is more than its start is worth
POPULATE = getattr(mmaps, "MAP_POPULATE", 0)  # Linux: all pages at once, instead of one by one when they are read
LARGEST_REPLY = MB  # of JSON; EXIF and XMP beside it are hardly longer than the file, unless it has them compressed
LARGEST_TAGS = 4 * MB  # beyond the file's own size; Pillow gives up on a chunk of text at 1 MiB
INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # how Python finds its own libraries, on Lambda too
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}  # less address space
BOOT = "import sys; sys.path[:] = sys.argv[3:]; from tessera_engine.decoder import main; main(*map(int, sys.argv[1:3]))"

ERRORS: dict[str, type[PictureError]] = {
    kind.__name__: kind for kind in (CorruptImage, TooManyPixels, UnsupportedFormat)
}
OVER = "The picture could not be decoded within the limits of time and memory."


class DecoderFault(RuntimeError):
    """The process could not be started, or answered nonsense: our fault, not the picture's."""


class _Ended(Exception):
    """The process has died."""


class _Late(Exception):
    """The process has had its time."""


class Decoder:
    """One process at a time; threads wait for each other. Use as a context, or `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._max_pixels = self._pictures = 0
        # Linux tells a process of its parent's death when the thread ends that has started it: this one stays.
        self._starter = ThreadPoolExecutor(1, "decoder")

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def decode(
        self, data: bytes, info: ImageInfo, *, max_pixels: int, check: Callable[[], None]
    ) -> tuple[Picture, tuple[str, ...]]:
        """As `decoding.decode`. `check` is called several times a second and may raise, which ends the process.

        `max_pixels` is the job's limit, from which the memory of the process follows; a picture that does not get
        by with that, or with its share of time, is a CorruptImage. Raises DecoderFault too.
        """
        with self._lock, shared_memory(len(data)) as source, shared_memory(4 * _bytes(info)) as pixels:
            source.write(data)
            until = time.monotonic() + PATIENCE * _seconds(info)
            most = max_pixels * info.dtype.itemsize  # as much memory as that many pixels of 8 bits
            ask = partial(self._ask, _request(info), [source.fileno(), pixels.fileno()], most, until, check)
            try:
                try:
                    ask()
                except _Ended:  # at rest, or before it knew of this picture
                    self._stop()
                    ask()
                found = self._answer(info, len(data), pixels.fileno(), until, check)
            except (_Ended, _Late) as ended:
                self._stop()
                raise CorruptImage(OVER) from ended
            except PictureError:
                raise
            except BaseException:
                self._stop()
                raise
            if _bytes(info) >= LARGE:
                self._stop()
            return found.picture(), found.notes

    def close(self) -> None:
        with self._lock:
            self._stop()
            self._starter.shutdown()

    def _ask(
        self, request: bytes, descriptors: list[int], max_pixels: int, until: float, check: Callable[[], None]
    ) -> None:
        """Of a process that is alive and has the right limits; _Ended when it died before it took the request."""
        alive = self._process is not None and self._process.poll() is None
        if not alive or max_pixels != self._max_pixels or self._pictures >= PICTURES:
            self._stop()
            self._start(max_pixels)
        assert self._channel
        try:
            socket.send_fds(self._channel, [request], descriptors)
        except ConnectionError as error:
            raise _Ended from error
        self._read(len(decoder.READY), until, check)

    def _start(self, max_pixels: int) -> None:
        self._channel, theirs = socket.socketpair()
        self._max_pixels, self._pictures = max_pixels, 0
        with theirs:
            path = [entry for entry in sys.path if entry]
            self._process = self._starter.submit(
                subprocess.Popen,
                [sys.executable, "-I", "-S", "-c", BOOT, str(theirs.fileno()), str(memory(max_pixels)), *path],
                env=ENVIRONMENT | {name: os.environ[name] for name in INHERITED if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            ).result()
        self._channel.settimeout(START_SECONDS)
        if self._channel.recv(1) != decoder.READY:
            raise DecoderFault("The decoder's process could not be started.")
        self._channel.settimeout(POLL_SECONDS)

    def _stop(self) -> None:
        if self._channel:
            self._channel.close()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = self._channel = None

    def _answer(self, info: ImageInfo, size: int, pixels: int, until: float, check: Callable[[], None]) -> Stored:
        lengths = decoder.LENGTHS.unpack(self._read(decoder.LENGTHS.size, until, check))
        if lengths[0] > LARGEST_REPLY or max(lengths[1:]) > size + LARGEST_TAGS:
            raise DecoderFault("The decoder's reply is too long.")
        body = self._read(sum(lengths), until, check)
        self._pictures += 1
        facts, exif, xmp = cut(body, lengths)
        return stored(json.loads(facts), exif, xmp, info, pixels)

    def _read(self, count: int, until: float, check: Callable[[], None]) -> bytes:
        got = bytearray()
        while len(got) < count:
            if time.monotonic() > until:
                raise _Late
            try:
                part = self._channel.recv(min(count - len(got), MB)) if self._channel else b""
            except TimeoutError:
                check()
                continue
            except ConnectionError as error:
                raise _Ended from error
            if not part:
                raise _Ended
            got += part
        return bytes(got)


def memory(max_pixels: int) -> int:
    """Bytes of address space that the process has for pictures up to that size."""
    return MEMORY + MEMORY_PER_PIXEL * max_pixels


def _bytes(info: ImageInfo) -> int:
    """Of one sample of every pixel."""
    return info.pixels * info.dtype.itemsize


def _seconds(info: ImageInfo) -> int:
    return SECONDS + math.ceil(_bytes(info) / PIXELS_PER_SECOND)


def _request(info: ImageInfo) -> bytes:
    return json.dumps(asdict(info) | {"seconds": _seconds(info)}).encode()


def cut(body: bytes, lengths: tuple[int, ...]) -> Iterator[bytes]:
    start = 0
    for length in lengths:
        yield body[start : start + length]
        start += length


def stored(facts: dict[str, Any], exif: bytes, xmp: bytes, info: ImageInfo, pixels: int) -> Stored:
    """What the decoder says, where it can be so."""
    if "error" in facts:
        raise _error(str(facts["error"]), str(facts["message"]))
    height, width, channels, orientation = (int(facts[name]) for name in ("height", "width", "channels", "orientation"))
    same = (width, height) in ((info.width, info.height), (info.height, info.width))
    if not same and not (info.format == "heic" and min(width, height) > 0 and width * height <= info.pixels):
        raise DecoderFault("The decoder's picture has another size.")
    if channels not in (1, 3) or orientation not in range(1, 9):
        raise DecoderFault("The decoder's picture is none.")
    if facts["depth"] not in (8, info.depth):
        raise DecoderFault("The decoder's picture is deeper than it can be.")
    dtype = DEEP if facts["depth"] == 16 else BYTES
    has_alpha, colours = facts["alpha"] is True, width * height * channels
    used = (colours + width * height * has_alpha) * dtype.itemsize
    shared: Pixels = np.frombuffer(mmap(pixels, used, flags=MAP_SHARED | POPULATE, prot=PROT_READ), dtype)
    alpha = shared[colours:].reshape(height, width) if has_alpha else None
    notes, foreign = tuple(str(note) for note in facts["notes"]), facts["foreign"] is True
    dpi = metadata.sensible(*map(float, facts["dpi"])) if facts["dpi"] else None
    return Stored(shared[:colours].reshape(height, width, channels), alpha, exif, xmp, dpi, orientation, notes, foreign)


def _error(kind: str, message: str) -> Exception:
    if kind in ERRORS:
        return ERRORS[kind](message)
    return CorruptImage(OVER) if kind == decoder.MEMORY else DecoderFault(message)


@contextmanager
def shared_memory(size: int) -> Iterator[BinaryIO]:
    """A file without a name, in memory where the system can do that; a map of it outlives it."""
    with _memory_file() if hasattr(os, "memfd_create") else TemporaryFile(buffering=0) as file:
        file.truncate(size)
        if hasattr(os, "memfd_create"):  # nobody can take away what is mapped here
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        yield file


def _memory_file() -> BinaryIO:
    return open(os.memfd_create("picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+b", buffering=0)


_shared = Decoder()


def decode(
    data: bytes, info: ImageInfo, *, max_pixels: int, check: Callable[[], None]
) -> tuple[Picture, tuple[str, ...]]:
    """`Decoder.decode`, by one process for all of this program."""
    return _shared.decode(data, info, max_pixels=max_pixels, check=check)


def _forget() -> None:
    """After a fork: the process belongs to the parent."""
    global _shared
    _shared = Decoder()


os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _shared.close())
