"""How far one picture has come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tessera_client.errors import Cancelled
from tessera_client.pace import Pace

Phase = Literal["upload", "queued", "upscale", "download"]


@dataclass(frozen=True)
class Progress:
    """`done` of `total`: bytes while uploading and downloading, percent while queued and upscaling."""

    phase: Phase
    done: int
    total: int
    task_id: str | None = None
    note: str = ""


OnProgress = Callable[[Progress], None]


class Meter:
    """Counts the bytes of one transfer, also from several threads; calls back one at a time."""

    def __init__(self, phase: Phase, total: int, pace: Pace, on_progress: OnProgress | None, done: int = 0) -> None:
        self._phase = phase
        self._total = total
        self._done = done
        self._pace = pace
        self._on_progress = on_progress
        self._stopped = False
        self._lock = threading.Lock()
        self.add(0)

    def add(self, count: int) -> None:
        """Count bytes (a failed try gives its bytes back). Raises Cancelled once the transfer is to end."""
        self._pace.check()
        if self._stopped:
            raise Cancelled("cancelled")
        self.move(count)

    def move(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._on_progress:
                self._on_progress(Progress(self._phase, self._done, self._total))

    def stop(self) -> None:
        """Let every thread that still counts here end at its next chunk."""
        self._stopped = True
