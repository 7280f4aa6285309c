"""Tasks and their files: what they are, and reading them. `starts` makes them, `lifecycle` moves them on.

A task's state is never stored: it follows from its counters (`left`, `done`, `failed`, `cancelled`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from tessera.accounts import Account
from tessera.dispatch import FileRef
from tessera.errors import NotFound
from tessera.job import ErrorCode, Picture
from tessera.observability import about
from tessera.recipe import WEB, ImageFormat, Recipe, SourceFormat
from tessera.stores import Store
from tessera.table import Item, Key, due_shard
from tessera.webhooks import Hook

if TYPE_CHECKING:
    from tessera.services import Services

MAX_FILES = 48  # of a task: a start's transaction has 100 writes, two for each file and three for the task
MAX_ATTEMPTS = 3  # at one file
HISTORY_QUERIES = 10  # a page of a filtered history ends early rather than read on for ever
MAX_PAGE_FILES = 300  # a file with its links is up to 8 KB of JSON, and Lambda answers at most 6 MB

FileState = Literal["queued", "running", "done", "failed", "cancelled"]
TaskState = Literal[
    "pending", "processing", "completed", "partially_failed", "failed", "partially_cancelled", "cancelled"
]  # fmt: skip


class Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class File(Row):
    """One picture of a task. Times in ms; `width`, `height`, `bytes`, `format` are the result's.

    `retention`: how long the result is kept; None, of a file of an earlier version: as long as the deployment's are.
    `holds`: counts among the `uses` of its upload. `url`: where the source was fetched from, empty for one that was
    sent here. `formats`: those that its task takes. `source` and `result` are what a worker read in the two files.
    `store`: where the result goes besides.
    """

    task: int
    nn: int
    account: str
    upload: str
    url: str = ""
    name: str
    original: str
    recipe: Recipe
    created: int
    deadline: int
    retention: int | None = None
    correlation: str = ""
    formats: tuple[SourceFormat, ...] = WEB
    store: Store | None = None
    holds: bool = False
    state: FileState = "queued"
    attempt: int = 0
    lease: int = 0
    call: str = ""
    source_bytes: int | None = None
    source_format: SourceFormat | None = None
    result_key: str = ""
    thumbnail_key: str = ""
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    format: ImageFormat | None = None
    model: str = ""
    stand_in: bool = False
    reused: bool = False
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    fidelity: float | None = None
    seam: float | None = None
    source: Picture | None = None
    result: Picture | None = None
    error: str = ""
    code: ErrorCode | None = None
    ended: int | None = None
    expires: int | None = None

    @property
    def key(self) -> Key:
        return file_key(self.task, self.nn)

    @property
    def ref(self) -> FileRef:
        return FileRef(task=self.task, nn=self.nn, correlation=self.correlation)

    def is_the_subject(self) -> None:
        """Of the log lines that follow."""
        about(correlation_id=self.correlation, task=self.task, file=self.nn, attempt=self.attempt)

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")


class Task(Row):
    """`held` credits were taken at the start, `refunded` of them went back.

    `expires`: when its results are deleted; `deleted`: when its owner had that done before. `hook`: who is told of its
    end. `dialect` and `memo` are what the API that it was started by wants to find again: no other module reads them.
    """

    id: int
    account: str
    created: int
    recipe: Recipe
    total: int
    left: int
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    held: int = 0
    refunded: int = 0
    expires: int
    correlation: str = ""
    dialect: str = ""
    memo: str = ""
    hook: Hook | None = None
    deleted: int | None = None

    @property
    def deducted(self) -> int:
        return self.held - self.refunded


@dataclass(frozen=True)
class View:
    """A task with its files, in the order in which they were given."""

    task: Task
    files: tuple[File, ...]

    @property
    def state(self) -> TaskState:
        if self.task.left:
            return "pending" if all(file.state == "queued" for file in self.files) else "processing"
        if self.task.cancelled:
            return "partially_cancelled" if self.task.done else "cancelled"
        if self.task.failed:
            return "partially_failed" if self.task.done else "failed"
        return "completed"

    @property
    def error(self) -> str:
        """Why files have no result, one sentence each; empty while there is none such."""
        return "; ".join(
            f"{file.original}: {file.error}" if len(self.files) > 1 else file.error
            for file in self.files
            if file.state in ("failed", "cancelled")
        )


@dataclass(frozen=True)
class HistoryPage:
    """`next_before` is the `before_ms` of the next page, None at the end."""

    views: tuple[View, ...]
    next_before: int | None


def task_key(task: int) -> Key:
    return Key(f"TASK#{task}", "TASK")


def file_key(task: int, nn: int) -> Key:
    return Key(f"TASK#{task}", f"FILE#{nn:02d}")


def watch_pk(task: int) -> str:
    return f"WATCH#{due_shard(str(task))}"


def task_item(task: Task, nonce: str) -> Item:
    return _item(task, task_key(task.id), task.created, "~", task.account) | {
        "nonce": nonce,
        "due_pk": f"EXPIRES#{due_shard(str(task.id))}",
        "due_ms": task.expires,
    }


def file_item(file: File) -> Item:
    return _item(file, file.key, file.created, f"{file.nn:02d}", file.account)


def _item(row: Row, key: Key, created: int, order: str, account: str) -> Item:
    # Two tasks of one millisecond stay apart by their id: a task's row sorts right before its own files.
    return (
        row.model_dump(mode="json", exclude_none=True)
        | key.as_item()
        | {
            "history_pk": f"ACCOUNT#{account}",
            "history_sk": f"TASK#{created:013d}#{key.pk.removeprefix('TASK#')}#{order}",
        }
    )


# ---------------------------------------------------------------- read


def get(services: Services, account: str, task: int) -> View:
    """Raises NotFound, the same for a foreign task as for an unknown one."""
    rows = services.table.query_partition(f"TASK#{task}")
    if not any(row["sk"] == "TASK" for row in rows):
        raise NotFound
    view = _view(rows)
    if view.task.account != account:
        raise NotFound
    return view


def history(
    services: Services, account: Account, before_ms: int | None, limit: int, keep: Callable[[View], bool]
) -> HistoryPage:
    """Tasks older than `before_ms`, newest first, at most `limit` of those that `keep` accepts.

    Tasks of one millisecond are never parted, since the next page begins below it: a page may hold a few more for that.
    """
    kept: list[View] = []
    files = 0
    last_ms: int | None = None
    for view in _walk(services, account.id, before_ms, limit):
        if view is None:  # enough read for one call
            return HistoryPage(tuple(kept), last_ms)
        full = len(kept) >= limit or files + view.task.total > MAX_PAGE_FILES
        if kept and full and view.task.created != last_ms:
            return HistoryPage(tuple(kept), last_ms)
        last_ms = view.task.created
        if keep(view):
            kept.append(view)
            files += view.task.total
    return HistoryPage(tuple(kept), None)


def _walk(services: Services, account: str, before_ms: int | None, limit: int) -> Iterator[View | None]:
    """Views in order; None as the last one when HISTORY_QUERIES were not enough to reach the end."""
    below = "TASK#~" if before_ms is None else f"TASK#{max(0, before_ms):013d}"
    # Right for tasks of one file, the common case: one query a page.
    rows_a_query = 2 * (limit + 1) + MAX_FILES
    group: list[Item] = []
    last: Item | None = None
    shown_ms = -1
    for query in count(1):
        page = services.table.query_history(f"ACCOUNT#{account}", below, rows_a_query, last)
        for row in page.items:
            if row["sk"] == "TASK":
                if group:
                    shown_ms = group[0]["created"]
                    yield _view(group)
                group = [row]
            elif group and group[0]["pk"] == row["pk"]:  # else the index has the file before its task: show neither
                group.append(row)
        last = page.last
        if last is None:
            if group:
                yield _view(group)
            return
        if query >= HISTORY_QUERIES and group and group[0]["created"] != shown_ms:
            yield None
            return


def _view(rows: Sequence[Item]) -> View:
    """`rows` has one task's row among its files' rows."""
    (task,) = (Task.model_validate(row) for row in rows if row["sk"] == "TASK")
    files = (File.model_validate(row) for row in rows if row["sk"].startswith("FILE#"))
    return View(task, tuple(sorted(files, key=lambda file: file.nn)))
