"""Deleting what has expired: objects first, rows after, so that a cut in between loses no object.

Nothing here is revived: a start accepts an upload only while it has not expired, and GRACE covers clocks that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr

from tessera import rounds
from tessera.accounts import account_key
from tessera.settings import HOURS, MINUTES
from tessera.storage import AttemptKey, upload_key
from tessera.table import DUE_SHARDS, ConditionFailed, Key, TransactionFailed, Update
from tessera.tasks import MAX_ATTEMPTS, File, Task

if TYPE_CHECKING:
    from tessera.services import Services

GRACE = 1 * MINUTES


def sweep(services: Services) -> dict[str, int]:
    """One round over everything that is due; returns how many uploads, tasks and abandoned multiparts it ended."""
    due = services.now_ms() - GRACE
    found: dict[str, list[Key]] = {"UPLOAD": [], "TASK": [], "ONCE": [], "REUSE": [], "PARTS": []}
    for shard in range(DUE_SHARDS):
        for key in services.table.query_due("EXPIRES", shard, due):
            found[key.sk.partition("#")[0]].append(key)
    begun_before = due - services.settings.upload_ttl_ms - HOURS // 2
    counts = {"uploads": len(found["UPLOAD"]), "tasks": len(found["TASK"]), "parts": 0}

    def abort() -> None:
        counts["parts"] = services.storage.abort_multiparts(begun_before)

    steps: list[Callable[[], None]] = [
        partial(_delete_uploads, services, found["UPLOAD"]),
        partial(services.table.delete_many, found["ONCE"] + found["REUSE"] + found["PARTS"]),
        abort,
    ]
    steps += [partial(_expire_task, services, key) for key in found["TASK"]]
    rounds.each(steps, lambda step: step())
    return counts


def _delete_uploads(services: Services, keys: list[Key]) -> None:
    services.storage.delete_many(
        upload_key(key.pk.removeprefix("ACCOUNT#"), key.sk.removeprefix("UPLOAD#")) for key in keys
    )
    services.table.delete_many(keys)


def _expire_task(services: Services, key: Key) -> None:
    """Its results' time is over, later that of the task itself."""
    rows = services.table.query_partition(key.pk)
    if not any(row["sk"] == "TASK" for row in rows):
        return  # gone since the index was read
    task = next(Task.model_validate(row) for row in rows if row["sk"] == "TASK")
    files = tuple(File.model_validate(row) for row in rows if row["sk"].startswith("FILE#"))
    services.storage.delete_many(objects_of(files))
    forget_at = task.created + services.settings.history_retention_ms
    if forget_at > services.now_ms():
        with suppress(ConditionFailed):  # gone meanwhile
            services.table.update(Update(key, Attr("pk").exists(), set={"due_ms": forget_at}))
        return
    services.table.delete_many(Key(row["pk"], row["sk"]) for row in rows if row["sk"] != "TASK")
    with suppress(TransactionFailed):  # counted off by a round that was cut before it deleted the row
        services.table.transact(
            Update(key, Attr("pk").exists() & Attr("forgotten").not_exists(), set={"forgotten": True}),
            Update(account_key(task.account), add={"tasks": -1}),
        )
    services.table.delete_many([key])


def objects_of(files: Iterable[File]) -> list[str]:
    """Every object that a worker may have written for a task."""
    return [
        AttemptKey(file.account, file.task, file.nn, attempt).key(kind)
        for file in files
        for attempt in range(1, MAX_ATTEMPTS + 1)  # also those taken back, which may have run all the same
        for kind in ("results", "thumbnails", "reports", "failures")
    ]
