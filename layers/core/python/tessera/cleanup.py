"""Deleting what has expired: objects first, rows after, so that a cut in between loses no object.

    what                                          how it is found                        AWS calls
    uploads, and all rows but tasks               index `due`                            objects / 1000, rows / 25
    objects of a task's results                   index `due`                            objects / 1000, tasks / 100
    a task that leaves the history                index `due`, at the row's second time  rows / 25, tasks / 99
    uploads without a row: their event was lost   folders of uploads/ whose turn is over   1, then 1 for 1000
    parts that nobody completed                   S3's list of them                      1 for 1000, 1 each

and a page of `due` for each of its shards, so that the cost follows from what has expired and not from what lives.

A row's expiry is the mark: nothing here is revived, since a start accepts an upload only while it has not expired, and
GRACE covers clocks that differ. Whatever was cut is found again by the next round, and two rounds at once do the same
things: deleting twice is deleting, and counting off is conditional.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr

from tessera import rounds, uploads
from tessera.accounts import account_key
from tessera.observability import about, logger
from tessera.settings import MINUTES
from tessera.storage import UPLOADS, AttemptKey, parse_upload_key, upload_key
from tessera.table import DUE_SHARDS, MAX_TRANSACTION, Item, Key, TransactionFailed, Update
from tessera.tasks import MAX_ATTEMPTS, file_key

if TYPE_CHECKING:
    from tessera.services import Services

GRACE = 1 * MINUTES
OVERDUE = 30 * MINUTES  # beyond a link's life: for events that are late, and parts that are still being sent
ROUND = 3 * MINUTES  # below the function's time-out; what is left is the next round's

Counts = Counter[str]


def sweep(services: Services) -> dict[str, int]:
    """One round over everything that is due; returns how many of each it ended. What failed flies at the end."""
    counts: Counts = Counter(uploads=0, tasks=0, strays=0, parts=0)
    steps = (_end_expired, _delete_strays, _abort_parts)
    rounds.each(steps, lambda step: step(services, services.now_ms() - GRACE, counts))
    return dict(counts)


# ---------------------------------------------------------------- what has a row


def _end_expired(services: Services, due: int, counts: Counts) -> None:
    def end(rows: list[Item]) -> None:
        tasks = [row for row in rows if row["sk"] == "TASK"]
        others = [row for row in rows if row["sk"] != "TASK"]
        rounds.each(((_end_tasks, tasks), (_end_others, others)), lambda step: step[0](services, step[1], counts))

    rounds.each(_pages(services, due), end)


def _pages(services: Services, due: int) -> Iterator[list[Item]]:
    """What has expired, a page of every shard at a time: together they fill the calls that delete."""
    until = services.now_ms() + ROUND
    starts: dict[int, Item | None] = dict.fromkeys(range(DUE_SHARDS))
    while starts and services.now_ms() < until:
        pages = {shard: services.table.query_due("EXPIRES", shard, due, start) for shard, start in starts.items()}
        yield [row for page in pages.values() for row in page.items]
        starts = {shard: page.last for shard, page in pages.items() if page.last}


def _end_others(services: Services, rows: Sequence[Item], counts: Counts) -> None:
    held = [row for row in rows if row["sk"].startswith("UPLOAD#")]
    services.storage.delete_many(
        upload_key(row["pk"].removeprefix("ACCOUNT#"), row["sk"].removeprefix("UPLOAD#")) for row in held
    )
    services.table.delete_many(map(Key.of, rows))
    counts["uploads"] += len(held)


def _end_tasks(services: Services, rows: Sequence[Item], counts: Counts) -> None:
    """Their results' time is over, later that of the tasks themselves."""
    services.storage.delete_many(key for row in rows for key in objects_of(row["account"], _number(row), row["total"]))
    for row in rows:
        about(correlation_id=row.get("correlation", ""), task=_number(row))
        logger.info("results deleted", files=row["total"])
    history_ms, now_ms = services.settings.history_retention_ms, services.now_ms()
    kept = [row for row in rows if row["created"] + history_ms > now_ms]
    _transact(
        services,
        [Update(Key.of(row), Attr("pk").exists(), set={"due_ms": row["created"] + history_ms}) for row in kept],
    )
    _forget(services, [row for row in rows if row["created"] + history_ms <= now_ms])
    counts["tasks"] += len(rows)


def _forget(services: Services, rows: Sequence[Item]) -> None:
    services.table.delete_many(file_key(_number(row), nn) for row in rows for nn in range(row["total"]))
    by_account: dict[str, list[Item]] = defaultdict(list)
    for row in rows:
        by_account[row["account"]].append(row)
    for account, ended in by_account.items():
        # Those that were counted off by a round that was cut before it deleted the row are not counted again.
        first = Attr("pk").exists() & Attr("forgotten").not_exists()
        off = [Update(Key.of(row), first, set={"forgotten": True}) for row in ended]
        _transact(services, off, partial(_counted_off, account))
    services.table.delete_many(map(Key.of, rows))


def _counted_off(account: str, tasks: int) -> list[Update]:
    return [Update(account_key(account), add={"tasks": -tasks})]


def _transact(
    services: Services, updates: Sequence[Update], beside: Callable[[int], list[Update]] = lambda n: []
) -> None:
    """All updates whose condition holds, in as few transactions as take them; each has `beside`(how many) with it."""
    size = MAX_TRANSACTION - len(beside(0))
    for first in range(0, len(updates), size):
        left = list(updates[first : first + size])
        while left:
            try:
                services.table.transact(*left, *beside(len(left)))
                break
            except TransactionFailed as failed:
                left = [update for n, update in enumerate(left) if n not in failed.failures]


def objects_of(account: str, task: int, files: int) -> list[str]:
    """Every object that a worker may have written for a task of so many files."""
    return [
        AttemptKey(account, task, nn, attempt).key(kind)
        for nn in range(files)
        for attempt in range(1, MAX_ATTEMPTS + 1)  # also those taken back, which may have run all the same
        for kind in ("results", "thumbnails", "reports", "failures")
    ]


def _number(task: Item) -> int:
    return int(task["pk"].removeprefix("TASK#"))


# ---------------------------------------------------------------- what has none


def _delete_strays(services: Services, due: int, counts: Counts) -> None:
    before = due - services.settings.upload_ttl_ms - OVERDUE
    over = uploads.slots_over(services, before)
    for folder in services.storage.folders(UPLOADS):
        if folder.removesuffix("/") in over:
            strays = [key for key in _written(services, UPLOADS + folder, before) if not _has_row(services, key)]
            services.storage.delete_many(strays)
            counts["strays"] += len(strays)


def _written(services: Services, prefix: str, before: int) -> Iterator[str]:
    return (key for key, modified_ms in services.storage.modified(prefix) if modified_ms < before)


def _has_row(services: Services, key: str) -> bool:
    """The row says until when the object is kept: for instance one that was used late."""
    owner = parse_upload_key(key)
    return owner is not None and uploads.find(services, *owner) is not None


def _abort_parts(services: Services, due: int, counts: Counts) -> None:
    counts["parts"] += services.storage.abort_multiparts(due - services.settings.upload_ttl_ms - OVERDUE)
