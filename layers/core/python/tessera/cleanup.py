"""Deleting what has expired: objects first, rows after, so that a cut in between loses no object.

Nothing here is revived: a start accepts an upload only while it has not expired, and GRACE covers clocks that differ.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr

from tessera.accounts import account_key
from tessera.settings import HOURS, MINUTES
from tessera.storage import AttemptKey, upload_key
from tessera.table import DUE_SHARDS, Key, TransactionFailed, Update
from tessera.tasks import File, Task, View

if TYPE_CHECKING:
    from tessera.services import Services

GRACE = 1 * MINUTES


def sweep(services: Services) -> dict[str, int]:
    """One round over everything that is due; returns how many uploads, results (tasks) and histories it ended."""
    due = services.now_ms() - GRACE
    counts = {"uploads": 0, "results": 0, "histories": 0, "parts": 0}
    for shard in range(DUE_SHARDS):
        keys = services.table.query_due("EXPIRES", shard, due)
        uploads = [key for key in keys if key.sk.startswith("UPLOAD#")]
        _delete_uploads(services, uploads)
        counts["uploads"] += len(uploads)
        for key in keys:
            if key.sk == "TASK":
                counts[_expire_task(services, key)] += 1
    counts["parts"] = services.storage.abort_multiparts(due - services.settings.upload_ttl_ms - HOURS // 2)
    return counts


def _delete_uploads(services: Services, keys: list[Key]) -> None:
    services.storage.delete_many(
        upload_key(key.pk.removeprefix("ACCOUNT#"), key.sk.removeprefix("UPLOAD#")) for key in keys
    )
    services.table.delete_many(keys)


def _expire_task(services: Services, key: Key) -> str:
    """Its results' time is over, later that of the task itself."""
    rows = services.table.query_partition(key.pk)
    task = next(Task.model_validate(row) for row in rows if row["sk"] == "TASK")
    files = tuple(File.model_validate(row) for row in rows if row["sk"].startswith("FILE#"))
    forget_at = task.created + services.settings.history_retention_ms
    if forget_at > services.now_ms():
        services.storage.delete_many(objects_of(View(task, files)))
        services.table.update(Update(key, set={"due_ms": forget_at}))
        return "results"
    services.storage.delete_many(objects_of(View(task, files)))
    services.table.delete_many(Key(row["pk"], row["sk"]) for row in rows if row["sk"] != "TASK")
    with suppress(TransactionFailed):  # counted off by a round that was cut before it deleted the row
        services.table.transact(
            Update(key, Attr("forgotten").not_exists(), set={"forgotten": True}),
            Update(account_key(task.account), add={"tasks": -1}),
        )
    services.table.delete_many([key])
    return "histories"


def objects_of(view: View) -> list[str]:
    """Every object that a worker may have written for a task."""
    return [
        AttemptKey(file.account, file.task, file.nn, attempt).key(kind)
        for file in view.files
        for attempt in range(1, file.attempt + 1)
        for kind in ("results", "thumbnails", "reports", "failures")
    ]
