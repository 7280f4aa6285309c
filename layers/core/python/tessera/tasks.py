"""Tasks and their files: starting them and reading them. How they go on from there is in `lifecycle`.

A task's state is never stored: it follows from its counters (`left`, `done`, `failed`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Literal

from boto3.dynamodb.conditions import Attr
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from tessera import credits, uploads
from tessera.accounts import Account, Credential, account_key, next_window, window
from tessera.dispatch import FileRef
from tessera.errors import InsufficientCredits, Invalid, NotFound, RateLimited, Unauthorized, UnknownUpload
from tessera.ids import new_task_number
from tessera.observability import logger
from tessera.ratelimit import Window
from tessera.recipe import ImageFormat, Recipe
from tessera.storage import ObjectFacts, upload_key
from tessera.table import Contended, Item, Key, Put, TransactionFailed, Update, due_shard

if TYPE_CHECKING:
    from tessera.services import Services

MAX_FILES = 48  # a transaction has 100 writes: two for each file, three for the task
MAX_ATTEMPTS = 3  # at one file
START_TRIES = 8
HISTORY_QUERIES = 10  # a page of a filtered history ends early rather than read on for ever
MAX_PAGE_FILES = 300  # a file with its links is up to 8 KB of JSON, and Lambda answers at most 6 MB

FileState = Literal["queued", "running", "done", "failed"]
TaskState = Literal["pending", "processing", "completed", "partially_failed", "failed"]


class Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class File(Row):
    """One picture of a task. Times in ms; `width`, `height`, `bytes`, `format` are the result's."""

    task: int
    nn: int
    account: str
    upload: str
    name: str
    original: str
    recipe: Recipe
    created: int
    deadline: int
    state: FileState = "queued"
    attempt: int = 0
    lease: int = 0
    call: str = ""
    source_bytes: int | None = None
    source_format: ImageFormat | None = None
    result_key: str = ""
    thumbnail_key: str = ""
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    format: ImageFormat | None = None
    model: str = ""
    stand_in: bool = False
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    error: str = ""
    ended: int | None = None
    expires: int | None = None

    @property
    def key(self) -> Key:
        return file_key(self.task, self.nn)

    @property
    def ref(self) -> FileRef:
        return FileRef(task=self.task, nn=self.nn)

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")


class Task(Row):
    """`held` credits were taken at the start, `refunded` of them went back. `expires`: when its results are deleted."""

    id: int
    account: str
    created: int
    recipe: Recipe
    total: int
    left: int
    done: int = 0
    failed: int = 0
    held: int = 0
    refunded: int = 0
    expires: int

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
        if not self.task.failed:
            return "completed"
        return "partially_failed" if self.task.done else "failed"

    @property
    def error(self) -> str:
        """Why files failed, one sentence each; empty while none has."""
        return "; ".join(
            f"{file.original}: {file.error}" if len(self.files) > 1 else file.error
            for file in self.files
            if file.state == "failed"
        )


@dataclass(frozen=True)
class HistoryPage:
    """`next_before` is the `before_ms` of the next page, None at the end."""

    views: tuple[View, ...]
    next_before: int | None


class Wanted(Row):
    """A file to start: its upload's id, the name by which the caller knows it, and that to save its result by."""

    upload: str
    name: str
    original: str

    @classmethod
    def of(cls, name: str, original: str = "") -> Wanted:
        """By the name that was handed out with the upload link."""
        return cls(upload=uploads.upload_id(name), name=name, original=original or uploads.original_of(name) or name)


def task_key(task: int) -> Key:
    return Key(f"TASK#{task}", "TASK")


def file_key(task: int, nn: int) -> Key:
    return Key(f"TASK#{task}", f"FILE#{nn:02d}")


def watch_pk(task: int) -> str:
    return f"WATCH#{due_shard(str(task))}"


# ---------------------------------------------------------------- start


@dataclass(frozen=True)
class Start:
    """One attempt at the transaction, with what earlier ones have taught: S3's word on uploads without a probed row,
    and why files cannot be processed."""

    who: Credential
    wanted: tuple[Wanted, ...]
    recipe: Recipe
    task: int
    now_ms: int
    nonce: str
    window: Window | None
    max_pixels: int
    seen: Mapping[int, ObjectFacts]
    refused: Mapping[int, str]

    @property
    def held(self) -> int:
        return credits.PRICE * (len(self.wanted) - len(self.refused))


def start(services: Services, who: Credential, wanted: tuple[Wanted, ...], recipe: Recipe) -> int:
    """Takes the credits, makes the task and starts its files, whole or not at all; returns the task's id.

    One transaction checks the key, counts the call, holds the credits, writes task, files and ledger, and marks the
    uploads; where it fails the rows that come back say why, so the common case costs two AWS calls (transaction,
    work message). A file whose upload is no picture, or too large for this scale, is part of the task, failed and
    not charged.

    Raises Unauthorized, RateLimited, InsufficientCredits, Invalid, UnknownUpload.
    """
    if not wanted:
        raise Invalid("no file is given")
    if len(wanted) > MAX_FILES:
        raise Invalid(f"more than {MAX_FILES} files in one task")
    if len({file.upload for file in wanted}) < len(wanted):
        raise Invalid("a file is listed twice")
    now_ms = services.now_ms()
    limit = min(services.settings.max_input_pixels, services.settings.max_output_pixels // recipe.scale() ** 2)
    attempt = Start(
        who, wanted, recipe, new_task_number(now_ms), now_ms, secrets.token_hex(8), window(services, who, "start"),
        limit, seen={}, refused={},
    )  # fmt: skip
    for _ in range(START_TRIES):
        try:
            services.table.transact(*_writes(services, attempt))
            break
        except Contended:
            continue
        except TransactionFailed as failed:
            task_row = failed.failures.get(1)
            if task_row and task_row["nonce"] == attempt.nonce:
                break  # written by a call whose answer was lost
            attempt = _learn(services, attempt, failed.failures)
    else:
        raise RateLimited(1)  # other calls of the account were faster every time
    try:
        services.work.send(
            [FileRef(task=attempt.task, nn=nn) for nn in range(len(wanted)) if nn not in attempt.refused]
        )
    except (BotoCoreError, ClientError, OSError) as error:
        # The task stands and is paid for: the watchdog finds its files within two minutes and sends them.
        logger.warning("work not sent", task=attempt.task, error=type(error).__name__)
    return attempt.task


def _writes(services: Services, start: Start) -> list[Put | Update]:
    account, now_ms, settings = start.who.account, start.now_ms, services.settings
    deadline = now_ms + settings.task_deadline_ms
    calls = start.window
    caller = start.who.holds() if calls is None else start.who.holds() & calls.when()
    pay = Update(
        account_key(account),
        caller & Attr("balance").gte(start.held),
        set=calls.set() if calls else {},
        add={"balance": -start.held, "tasks": 1} | (calls.add() if calls else {}),
    )
    task = Task(
        id=start.task, account=account, created=now_ms, recipe=start.recipe, total=len(start.wanted),
        left=len(start.wanted) - len(start.refused), failed=len(start.refused), held=start.held,
        expires=deadline + settings.result_retention_ms,
    )  # fmt: skip
    rows: list[Put | Update] = [pay, Put(_task_item(task, start.nonce), new=True)]
    for nn, wanted in enumerate(start.wanted):
        file = File(
            task=start.task, nn=nn, account=account, upload=wanted.upload, name=wanted.name, original=wanted.original,
            recipe=start.recipe, created=now_ms, deadline=deadline,
        )  # fmt: skip
        if nn in start.refused:
            failed = {"state": "failed", "error": start.refused[nn], "ended": now_ms}
            rows.append(Put(_file_item(file.model_copy(update=failed))))
            continue
        rows.append(Put(_file_item(file) | {"due_pk": watch_pk(start.task), "due_ms": now_ms + settings.look_ms}))
        if nn in start.seen:
            rows.append(uploads.use_seen(services, account, wanted.upload, start.seen[nn], now_ms, file.ref))
        else:
            rows.append(uploads.use(services, account, wanted.upload, now_ms, start.max_pixels))
    if start.held:
        rows.append(credits.hold(account, start.task, start.held, now_ms))
    return rows


def _learn(services: Services, start: Start, failures: Mapping[int, Item | None]) -> Start:
    """The next attempt, or the error that no further attempt could change."""
    learnt = start
    if 0 in failures:
        learnt = replace(learnt, window=_window_after(services, start, failures[0]))
    if 1 in failures:
        learnt = replace(learnt, task=new_task_number(services.now_ms()))
    position = 2
    for nn, wanted in enumerate(start.wanted):
        upload_position = position + 1
        position += 1 if nn in start.refused else 2
        if nn not in start.refused and upload_position in failures:
            learnt = _learn_upload(services, learnt, nn, wanted, failures[upload_position])
    balance = (failures.get(0) or {}).get("balance", learnt.held)
    if balance < learnt.held:
        raise InsufficientCredits(learnt.held, balance)
    return learnt


def _window_after(services: Services, start: Start, row: Item | None) -> Window | None:
    if start.window is not None:
        return next_window(start.who, start.window, row, services.now_ms())
    if not start.who.is_held_by(row):
        raise Unauthorized
    return None


def _learn_upload(services: Services, start: Start, nn: int, wanted: Wanted, row: Item | None) -> Start:
    upload = uploads.Upload.model_validate(row) if row else None
    if upload and upload.expires <= start.now_ms:
        raise UnknownUpload(wanted.name)
    if upload and upload.state == "rejected":
        return replace(start, refused={**start.refused, nn: upload.reason})
    if upload and upload.state == "uploaded":
        if (upload.pixels or 0) > start.max_pixels:
            reason = f"{upload.pixels:,} pixels are too many for this scale: at most {start.max_pixels:,} are allowed"
            return replace(start, refused={**start.refused, nn: reason})
        # probed since the last attempt
        return replace(start, seen={key: facts for key, facts in start.seen.items() if key != nn})
    facts = services.storage.head(upload_key(start.who.account, wanted.upload))
    if facts is None or facts.modified_ms + services.settings.upload_ttl_ms <= start.now_ms:
        raise UnknownUpload(wanted.name)
    return replace(start, seen={**start.seen, nn: facts})


def _task_item(task: Task, nonce: str) -> Item:
    return _item(task, task_key(task.id), task.created, "~", task.account) | {
        "nonce": nonce,
        "due_pk": f"EXPIRES#{due_shard(str(task.id))}",
        "due_ms": task.expires,
    }


def _file_item(file: File) -> Item:
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
    if not rows:
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
