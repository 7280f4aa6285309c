"""Starting a task: credits held, task and files written, uploads marked, all in one transaction.

How the files go on from there is in `lifecycle`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from boto3.dynamodb.conditions import Attr
from botocore.exceptions import BotoCoreError, ClientError

from tessera import credits, ids, uploads, usage, webhooks
from tessera.accounts import Credential, account_key, authenticate, check, next_window, window
from tessera.addresses import check_url
from tessera.dispatch import FileRef
from tessera.errors import InsufficientCredits, Invalid, RateLimited, Unauthorized, UnknownUpload
from tessera.idempotency import Once
from tessera.metrics import Metric, emit
from tessera.observability import about, logger
from tessera.ratelimit import Window
from tessera.recipe import WEB, Recipe, SourceFormat
from tessera.storage import ObjectFacts, parse_upload_key, upload_key
from tessera.stores import Store
from tessera.table import Contended, Item, Put, TransactionFailed, Update
from tessera.tasks import MAX_FILES, File, Row, Task, file_item, task_item, watch_pk
from tessera.webhooks import Delivery, Hook

if TYPE_CHECKING:
    from tessera.services import Services

START_TRIES = 8


class Wanted(Row):
    """A file to start: its upload's id, the name by which the caller knows it, and that to save its result by.

    `url`: where it is to be fetched from, which makes the upload; empty for one that was sent here.
    """

    upload: str
    url: str = ""
    name: str
    original: str

    @classmethod
    def of(cls, name: str, original: str = "") -> Wanted:
        """By the name that was handed out with the upload link, or by the key of the object (Uppy tells no more)."""
        if key := parse_upload_key(name):
            return cls(upload=key[1], name=name, original=original or "upload")
        return cls(upload=uploads.upload_id(name), name=name, original=original or uploads.original_of(name) or name)

    @classmethod
    def fetched(cls, services: Services, url: str, original: str = "") -> Wanted:
        """A picture at an address that its caller names. Raises Invalid; asks no network."""
        check_url(url, services.settings)
        original = original or _last_segment(url)
        name = uploads.new_name(services, original)
        return cls(upload=uploads.upload_id(name), url=url, name=name, original=original)


@dataclass(frozen=True)
class Terms:
    """What an API settles for its tasks beside the recipe. `retention_ms` of the results: None for the deployment's.
    `calls`: the kind of call that a start counts as, None where the edge has counted it. `memo`: at most 4 KB.
    `formats`: those of pictures that it takes, in the order in which they are told. `hook`: who is told of the end,
    at an address that has been checked. `store`: where the one file's result goes besides."""

    dialect: str = ""
    memo: str = ""
    retention_ms: int | None = None
    calls: str | None = "start"
    formats: tuple[SourceFormat, ...] = WEB
    hook: Hook | None = None
    store: Store | None = None


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
    once: Once | None
    correlation: str
    terms: Terms
    quota: int | None
    seen: Mapping[int, ObjectFacts]
    refused: Mapping[int, str]

    @property
    def files(self) -> int:
        """Those that cost something."""
        return len(self.wanted) - len(self.refused)

    @property
    def held(self) -> int:
        return credits.PRICE * self.files

    @property
    def month(self) -> str:
        return usage.counter(ids.created_ms(self.task))

    @property
    def delivery(self) -> Delivery | None:
        """Of a task that ends as it starts."""
        hook = self.terms.hook
        if hook is None or len(self.refused) < len(self.wanted):
            return None
        return Delivery.of(self.task, self.who.account, hook, self.correlation, self.now_ms)


def start(
    services: Services,
    who: Credential,
    wanted: tuple[Wanted, ...],
    recipe: Recipe,
    once: Once | None = None,
    correlation: str = "",
    terms: Terms = Terms(),
) -> int:
    """Takes the credits, makes the task and starts its files, whole or not at all; returns the task's id.

    One transaction checks the key, counts the call, holds the credits, writes task, files and ledger, and marks the
    uploads; where it fails the rows that come back say why, so the common case costs two AWS calls (transaction,
    work message). A file whose upload is no picture, or too large for this scale, is part of the task, failed and
    not charged. With `once`, a request that was started before gives its task again and is charged no more.

    Raises Unauthorized, RateLimited, InsufficientCredits, Invalid, UnknownUpload, IdempotencyConflict.
    """
    if not wanted:
        raise Invalid("no file is given")
    if len(wanted) > MAX_FILES:
        raise Invalid(f"more than {MAX_FILES} files in one task")
    if len({file.upload for file in wanted}) < len(wanted):
        raise Invalid("a file is listed twice")
    now_ms = services.now_ms()
    settings = services.settings
    limit = min(settings.max_input_pixels, recipe.max_input_pixels(settings.max_output_pixels))
    calls = window(services, who, terms.calls) if terms.calls else None
    attempt = Start(
        who, wanted, recipe, ids.new_task_number(now_ms), now_ms, secrets.token_hex(8), calls, limit, once, correlation,
        terms, quota=None, seen={}, refused={},
    )  # fmt: skip
    for _ in range(START_TRIES):
        writes = _writes(services, attempt)
        try:
            services.table.transact(*writes)
            break
        except Contended:
            continue
        except TransactionFailed as failed:
            task_row = failed.failures.get(1)
            if task_row and task_row["nonce"] == attempt.nonce:
                break  # written by a call whose answer was lost
            if once and (first := once.recall(failed.failures.get(len(writes) - 1), now_ms)):
                # nothing of this transaction was written, nor its call counted
                authenticate(services, who, terms.calls) if terms.calls else check(services, who)
                return int(first["task"])
            attempt = _learn(services, attempt, failed.failures)
    else:
        raise RateLimited(1)  # other calls of the account were faster every time
    about(correlation_id=correlation, task=attempt.task)
    logger.info("task started", files=len(wanted), refused=len(attempt.refused))
    emit({Metric.FILES_ACCEPTED: len(wanted), Metric.FILES_FAILED: len(attempt.refused) or None})
    if ended := attempt.delivery:
        webhooks.announce(services, ended)
    open_files = [nn for nn in range(len(wanted)) if nn not in attempt.refused]
    try:
        services.work.send([FileRef(task=attempt.task, nn=nn, correlation=correlation) for nn in open_files])
    except (BotoCoreError, ClientError, OSError) as error:
        # The task stands and is paid for: the watchdog finds its files within two minutes and sends them.
        logger.warning("work not sent", error=type(error).__name__)
    return attempt.task


def repeated(services: Services, who: Credential, once: Once, counted: bool = False) -> int | None:
    """The task that an earlier request of the same kind has started. For edges that would store files first.
    `counted`: the edge has checked the key and counted the call.

    Raises Unauthorized, RateLimited, IdempotencyConflict.
    """
    first = once.recall(services.table.get(once.key), services.now_ms())
    if first is None:
        return None
    if not counted:
        authenticate(services, who, "start")
    return int(first["task"])


def _writes(services: Services, start: Start) -> list[Put | Update]:
    account, now_ms, settings = start.who.account, start.now_ms, services.settings
    deadline = now_ms + settings.task_deadline_ms
    terms = start.terms
    retention = settings.result_retention_ms if terms.retention_ms is None else terms.retention_ms
    calls = start.window
    caller = start.who.holds() if calls is None else start.who.holds() & calls.when()
    pay = Update(
        account_key(account),
        caller & Attr("balance").gte(start.held) & usage.room(start.quota, start.month, start.files),
        set=calls.set() if calls else {},
        add={"balance": -start.held, start.month: start.files, "tasks": 1} | (calls.add() if calls else {}),
    )
    task = Task(
        id=start.task, account=account, created=now_ms, recipe=start.recipe, total=len(start.wanted),
        left=start.files, failed=len(start.refused), held=start.held,
        expires=deadline + retention, correlation=start.correlation, dialect=terms.dialect, memo=terms.memo,
        hook=terms.hook,
    )  # fmt: skip
    rows: list[Put | Update] = [pay, Put(task_item(task, start.nonce), new=True)]
    for nn, wanted in enumerate(start.wanted):
        file = File(
            task=start.task, nn=nn, account=account, upload=wanted.upload, url=wanted.url, name=wanted.name,
            original=wanted.original, recipe=start.recipe, created=now_ms, deadline=deadline, retention=retention,
            correlation=start.correlation, formats=terms.formats, store=terms.store, holds=nn not in start.refused,
        )  # fmt: skip
        if nn in start.refused:
            failed = {"state": "failed", "error": start.refused[nn], "ended": now_ms}
            rows.append(Put(file_item(file.model_copy(update=failed))))
            continue
        rows.append(Put(file_item(file) | {"due_pk": watch_pk(start.task), "due_ms": now_ms + settings.look_ms}))
        if wanted.url:
            rows.append(uploads.use_fetched(services, account, wanted.upload, wanted.url, now_ms, file.ref))
        elif nn in start.seen:
            rows.append(uploads.use_seen(services, account, wanted.upload, start.seen[nn], now_ms, file.ref))
        else:
            rows.append(uploads.use(services, account, wanted.upload, now_ms, start.max_pixels, terms.formats))
    if start.held:
        rows.append(credits.hold(account, start.task, start.held, now_ms))
    if ended := start.delivery:
        rows.append(ended.put(now_ms))
    if start.once:
        rows.append(start.once.claim(now_ms, task=start.task))
    return rows


def _learn(services: Services, start: Start, failures: Mapping[int, Item | None]) -> Start:
    """The next attempt, or the error that no further attempt could change."""
    learnt = start
    if 0 in failures:
        learnt = replace(learnt, window=_window_after(services, start, failures[0]))
        learnt = replace(learnt, quota=usage.require(failures[0] or {}, learnt.month, learnt.files))
    if 1 in failures:
        learnt = replace(learnt, task=ids.new_task_number(services.now_ms()))
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
    if wanted.url:
        return start  # another upload has this very name: whoever asks again gets another one
    upload = uploads.Upload.model_validate(row) if row else None
    if upload and upload.expires <= start.now_ms:
        raise UnknownUpload(wanted.name)
    if upload and (reason := upload.refusal(start.terms.formats)):
        return replace(start, refused={**start.refused, nn: reason})
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


def _last_segment(url: str) -> str:
    """What a picture is saved by: the last part of its URL's path, decoded; the host where it has no path."""
    parts = urlsplit(url)
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.hostname or "picture"
    return uploads.UNFIT.sub("_", name)[-uploads.MAX_NAME :]
