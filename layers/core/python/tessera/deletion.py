"""Deleting what belongs to a task, at its owner's wish: the task stays in the history, with nothing behind it.

Objects first, rows after, as `cleanup` does it: a cut in between is made good by asking again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr

from tessera import lifecycle, uploads
from tessera.cleanup import objects_of
from tessera.observability import about, logger
from tessera.table import TransactionFailed, Update
from tessera.tasks import File, View, task_key

if TYPE_CHECKING:
    from tessera.services import Services


def delete(services: Services, account: str, task: int) -> int:
    """Results, thumbnails and reports are gone, and uploads that no other task uses; returns how many results went.

    An open task is cancelled before. A worker that is still at it may write what nobody is shown: cleanup deletes that
    after the task's deadline, beyond which no link of a job is good. Raises NotFound, RateLimited.
    """
    view = lifecycle.cancel(services, account, task)
    services.storage.delete_many(objects_of(account, task, view.task.total))
    if view.task.deleted is not None:
        return 0
    now_ms = services.now_ms()
    shown = [file for file in view.files if file.state == "done" and (file.expires or 0) > now_ms]
    for file in view.files:
        if file.holds:
            _release(services, file)
        uploads.delete_unused(services, account, file.upload)
    _mark(services, view, shown, now_ms)
    about(correlation_id=view.task.correlation, task=task)
    logger.info("deleted by its owner", files=len(shown))
    return len(shown)


def _release(services: Services, file: File) -> None:
    """Once: the file's row and its upload's count change together."""
    with suppress(TransactionFailed):  # released before, or the upload has expired
        services.table.transact(
            Update(file.key, Attr("holds").eq(True), set={"holds": False}),
            uploads.release(file.account, file.upload),
        )


def _mark(services: Services, view: View, shown: list[File], now_ms: int) -> None:
    late = max(file.deadline for file in view.files)
    writes = [Update(file.key, Attr("state").eq("done"), set={"expires": now_ms}) for file in shown]
    task = Update(task_key(view.task.id), Attr("pk").exists(), set={"deleted": now_ms, "due_ms": max(now_ms, late)})
    with suppress(TransactionFailed):  # its time in the history was over meanwhile
        services.table.transact(task, *writes)
