"""The process in which the bytes of strangers are decoded. `sandbox` starts it, asks it, and ends it.

Request: one line of JSON and two descriptors, the file's bytes and the memory for its pixels. Reply: `READY` at once,
then three lengths, JSON, EXIF, XMP. The JSON is the picture's facts, or what kind of error it has, with its message.
Nothing that comes from here is believed by the other side.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from typing import Any

import numpy as np
from PIL import Image

from tessera_engine import decoding
from tessera_engine.errors import EngineError
from tessera_engine.header import ImageInfo
from tessera_engine.picture import Depth, Pixels

READY = b"+"  # sent at the start, and when a request has been read
LENGTHS = struct.Struct(">III")  # of JSON, EXIF and XMP
MEMORY = "memory"  # beside the names of EngineErrors and `FAULT`
FAULT = "fault"
REQUEST_BYTES = 4096

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
OPEN_FILES = 16  # three streams, the socket, two of a picture, and what an import opens


def main(connection: int, memory: int) -> None:
    """Answers requests until the other side hangs up. `memory` is the most address space, in bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    die_with_parent()
    with socket.socket(fileno=connection) as channel:
        confine(memory)
        Image.MAX_IMAGE_PIXELS = None  # sizes are checked before a picture comes here
        silence()
        channel.sendall(READY)
        while serve(channel):
            pass


def die_with_parent() -> None:
    """At once where Linux does it; elsewhere when the picture in work is done and the socket is found closed."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def confine(memory: int) -> None:
    """For good: hard limits cannot be raised again. Not every platform has every one of them."""
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for which, most in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(which, (most, most))


def silence() -> None:
    """libtiff and others print what they think of a file: a stranger's words do not belong into our log."""
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), sys.stderr.fileno())


def limit_time(seconds: int) -> None:
    """The system ends the process that uses more than that from now on: SIGXCPU."""
    most = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def serve(channel: socket.socket) -> bool:
    """False when there is nobody to serve any more."""
    line, descriptors, _, _ = socket.recv_fds(channel, REQUEST_BYTES, 2)
    if not line:
        return False
    request = json.loads(line)
    limit_time(request["seconds"])
    channel.sendall(READY)
    facts, *tags = answer(request, descriptors)
    parts = (json.dumps(facts).encode(), *tags)
    channel.sendall(LENGTHS.pack(*map(len, parts)) + b"".join(parts))
    return True


def answer(request: dict[str, Any], descriptors: list[int]) -> tuple[dict[str, Any], bytes, bytes]:
    info = ImageInfo(request["format"], request["width"], request["height"], request["depth"])
    try:
        with mapped(descriptors) as (data, room):
            stored = decoding.read(data, info, Room(room).empty)
            height, width, channels = stored.pixels.shape
            return (
                {
                    "height": height,
                    "width": width,
                    "channels": channels,
                    "depth": 8 * stored.pixels.itemsize,
                    "alpha": stored.alpha is not None,
                    "orientation": stored.orientation,
                    "dpi": stored.dpi,
                    "notes": stored.notes,
                    "foreign": stored.foreign,
                },
                stored.exif,
                stored.xmp,
            )
    except EngineError as error:
        return {"error": type(error).__name__, "message": str(error)}, b"", b""
    except Exception as error:
        short = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
        return {"error": MEMORY if short else FAULT, "message": traceback.format_exc()}, b"", b""


@contextmanager
def mapped(descriptors: list[int]) -> Iterator[tuple[mmap, mmap]]:
    source, pixels = descriptors
    try:
        maps = mmap(source, 0, access=ACCESS_READ), mmap(pixels, 0)
    finally:
        os.close(source)
        os.close(pixels)
    yield maps  # they end with the last array that uses them


class Room:
    """Arrays one after the other in one piece of memory."""

    def __init__(self, memory: mmap) -> None:
        self.memory, self.used = memory, 0

    def empty(self, shape: tuple[int, ...], dtype: Depth) -> Pixels:
        count = math.prod(shape)
        array: Pixels = np.frombuffer(self.memory, dtype, count, self.used).reshape(shape)
        self.used += array.nbytes
        return array
