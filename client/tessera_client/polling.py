"""Asking for a task until it ends: soon at first, then every five seconds, never faster than the server allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tessera_client.errors import ApiError, RateLimited, ServerError, TaskFailed, Unreachable, WaitTimeout
from tessera_client.models import TaskStatus
from tessera_client.pace import Pace
from tessera_client.progress import OnProgress, Progress

FIRST, GROWTH, LAST = 0.5, 1.5, 5.0  # seconds, factor, seconds
LIMITED = 60.0  # seconds after a 429 that does not say how long
OUTAGE = 60.0  # seconds without an answer that a waiting task survives


def wait(
    task_id: str,
    ask: Callable[[], TaskStatus],
    pace: Pace,
    clock: Callable[[], float],
    on_progress: OnProgress | None = None,
    timeout: float | None = None,
) -> TaskStatus:
    """The completed task. Raises TaskFailed, or WaitTimeout rather than sleep past `timeout` seconds.

    A rate limit only slows the asking down, and a silent server is forgiven for a minute: the task runs on without
    us and is paid for.
    """
    started = answered = clock()
    progress = Progress("queued", 0, 100, task_id)
    delay = FIRST
    while True:
        pause, note = delay, ""
        try:
            task = ask()
            if task.state == "completed":
                return task
            if task.state == "failed":
                raise TaskFailed(task_id, task.reason)
            progress = Progress("queued" if task.state == "pending" else "upscale", task.percent, 100, task_id)
            answered = clock()
        except RateLimited as error:
            pause = max(delay, LIMITED if error.retry_after is None else error.retry_after)
            note = f"rate limited, asking again in {pause:.0f} s"
            answered = clock()
        except (ServerError, Unreachable) as error:
            if clock() - answered >= OUTAGE:
                raise
            pause = max(delay, (isinstance(error, ApiError) and error.retry_after) or 0.0)
            note = "no answer from the server, asking again"
        if on_progress:
            on_progress(replace(progress, note=note))
        if timeout is not None and clock() + pause - started > timeout:
            raise WaitTimeout(task_id, timeout)
        pace.pause(pause)
        delay = min(delay * GROWTH, LAST)
