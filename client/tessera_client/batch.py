"""Many pictures, each a task of its own: one that fails does not stop the others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tessera_client.client import Client, Upscaled
from tessera_client.errors import InsufficientCredits, RateLimited, TesseraError, Unauthorized, Unreachable
from tessera_client.progress import OnProgress, Progress
from tessera_client.reporters import Reporter

LOOK = 0.2  # seconds; on some platforms Ctrl-C is only seen between two waits
GRACE = 3.0  # seconds for threads to end after Ctrl-C


class NotTried(TesseraError):
    """An earlier file failed for a reason that every later one would share."""


@dataclass
class Attempt:
    """One picture's way: `result` or `error` once it has ended, `task_id` as soon as a task was started."""

    photo: Path
    task_id: str | None = None
    result: Upscaled | None = None
    error: TesseraError | OSError | None = None
    seconds: float = 0.0


Work = Callable[[Path, OnProgress], Upscaled]


class Batch:
    def __init__(self, client: Client, work: Work, reporter: Reporter, threads: int) -> None:
        self._client = client
        self._work = work
        self._reporter = reporter
        self._threads = threads
        self._running: dict[Future[Attempt], Attempt] = {}

    def run(self, photos: Sequence[Path]) -> Iterator[Attempt]:
        """Each attempt as it ends. What every later picture would meet too ends the batch: a refused key, spent
        credits, a long rate limit, or a server that was never reached."""
        waiting = deque(photos)
        reached = False
        pool = ThreadPoolExecutor(self._threads)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._threads:
                    attempt = Attempt(waiting.popleft())
                    self._running[pool.submit(self._try, attempt)] = attempt
                for future in wait(self._running, timeout=LOOK, return_when=FIRST_COMPLETED).done:
                    attempt = future.result()
                    del self._running[future]
                    reached = reached or attempt.result is not None
                    yield attempt
                    if concerns_all(attempt.error, reached):
                        yield from (Attempt(photo, error=NotTried(f"not tried: {attempt.error}")) for photo in waiting)
                        waiting.clear()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def cancel(self) -> list[Attempt]:
        """Cancel the client and give the threads a moment; what was under way comes back, ended or cut off."""
        self._client.cancel()
        cut_off = list(self._running.values())
        wait(self._running, timeout=GRACE)
        return cut_off

    def _try(self, attempt: Attempt) -> Attempt:
        def on_progress(progress: Progress) -> None:
            attempt.task_id = progress.task_id or attempt.task_id
            self._reporter.progress(attempt.photo, progress)

        begun = time.monotonic()
        try:
            attempt.result = self._work(attempt.photo, on_progress)
        except (TesseraError, OSError) as error:
            attempt.error = error
        finally:
            attempt.seconds = time.monotonic() - begun
            self._reporter.finished(attempt.photo)
        return attempt


def concerns_all(error: Exception | None, reached: bool) -> bool:
    if isinstance(error, (Unauthorized, InsufficientCredits, RateLimited)):
        return True
    return isinstance(error, Unreachable) and not reached
