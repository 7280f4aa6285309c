"""Telling a caller's server that a task has ended: an outbox row beside the task, worked off attempt by attempt.

    from     to         trigger                                  condition              with it
    -        pending    the transaction that ends the task       no such row            the task's last file
    pending  pending    claim: a message whose time has come     same attempt, no lease lease
    pending  pending    an attempt failed, there are others      same lease             attempt + 1, when to go on
    pending  delivered  an attempt was answered 2xx              same lease             attempt + 1
    pending  dead       the last attempt failed                  same lease             attempt + 1
    any      pending    replay: the operator                     the row is there       attempt 0, at once

Told at least once, and once where nothing dies between an answer and its record: then the same attempt is made again,
with the same id, by which a receiver knows it. What is due and has no message is the watchdog's: it sends one. The row
ends with its task, by an expiry of its own, so that a task without a webhook costs nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from tessera import rounds
from tessera.addresses import check_url
from tessera.dispatch import SQS_BATCH, HookRef
from tessera.errors import NotFound
from tessera.ids import created_ms, to_uuid
from tessera.metrics import Metric, emit
from tessera.observability import about, logger
from tessera.settings import MINUTES, SECONDS, Settings
from tessera.table import DUE_SHARDS, ConditionFailed, Key, Put, Update, due_shard

if TYPE_CHECKING:
    from tessera.services import Services

RETRY_AFTER = (3 * MINUTES, 6 * MINUTES, 10 * MINUTES)  # as one of the services has it: then only asking helps
LEASE = 1 * MINUTES  # of an attempt, above its function's time-out
LONGEST_MESSAGE = 900 * SECONDS  # SQS delays a message by so much at most; what waits longer is the watchdog's
GRACE = 30 * SECONDS  # in which a message should have come
ROUND = 5 * SECONDS  # of the watchdog, beside that over files
AGAIN = 5 * MINUTES  # between two messages of the watchdog's about one attempt
EARLY = 1 * SECONDS  # by which the clocks of two functions may differ
MAX_CLAIMS = 5  # of one attempt, each of which died: then it counts as made
MAX_LOG = 20  # attempts that are remembered

# As RFC 3986 has them; anything else before an @ is left to the check of the whole, which refuses it.
WITH_CREDENTIALS = re.compile(
    r"(?P<scheme>https?://)(?P<credentials>[\w.~!$&'()*+,;=:%-]{1,512})@(?P<rest>.*)", re.I | re.A
)

State = Literal["pending", "delivered", "dead"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Hook(Frozen):
    """Where a task's end is told. `pauses`: ms before each attempt, the first one counted from the end."""

    url: str
    pauses: tuple[int, ...]

    @classmethod
    def after(cls, url: str, delay_ms: int = 0) -> Hook:
        return cls(url=url, pauses=(delay_ms, *RETRY_AFTER))


class Attempt(Frozen):
    """`status` of the answer, or in a few words why there was none. `ms`: how long it took."""

    at: int
    status: int | None = None
    error: str = ""
    ms: int = 0

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Delivery(Frozen):
    """The outbox row. `attempt`: how many were made; `next`: when the next may be; `lease`: until when one is at it."""

    task: int
    account: str
    correlation: str = ""
    id: str
    url: str
    pauses: tuple[int, ...]
    state: State = "pending"
    attempt: int = 0
    claims: int = 0
    lease: int = 0
    next: int
    ended: int | None = None
    log: tuple[Attempt, ...] = ()

    @classmethod
    def of(cls, task: int, account: str, hook: Hook, correlation: str, now_ms: int) -> Delivery:
        return cls(
            task=task, account=account, correlation=correlation, id=f"msg_{to_uuid(task).replace('-', '')}",
            url=hook.url, pauses=hook.pauses, next=now_ms + hook.pauses[0],
        )  # fmt: skip

    @property
    def ref(self) -> HookRef:
        return HookRef(task=self.task, correlation=self.correlation)

    def put(self, now_ms: int) -> Put:
        """For the transaction that ends the task."""
        row = self.model_dump(mode="json", exclude_none=True) | hook_key(self.task).as_item()
        return Put(row | _due(self.task, self.next, now_ms), new=True)


def hook_key(task: int) -> Key:
    return Key(f"TASK#{task}", "HOOK")


def parted(url: str) -> tuple[str, tuple[str, str] | None]:
    """The address, and the user and password that stand in it, if any: sent as Basic authentication."""
    match = WITH_CREDENTIALS.fullmatch(url)
    if match is None:
        return url, None
    user, _, password = match["credentials"].partition(":")
    return match["scheme"] + match["rest"], (unquote(user), unquote(password))


def check(url: str, settings: Settings) -> None:
    """Whether a task's end may be told there. Raises Invalid."""
    check_url(parted(url)[0], settings)


def find(services: Services, task: int) -> Delivery | None:
    """None while the task has not ended."""
    row = services.table.get(hook_key(task))
    return Delivery.model_validate(row) if row else None


# ---------------------------------------------------------------- messages


def announce(services: Services, delivery: Delivery) -> None:
    """The message about the next attempt, for the time at which it may be made."""
    delay = max(0, delivery.next - services.now_ms())
    if delay > LONGEST_MESSAGE:
        return
    try:
        services.hooks.send([delivery.ref], delay)
    except (BotoCoreError, ClientError, OSError) as error:
        # The row stands: the watchdog finds it within two minutes of its time and sends the message.
        logger.warning("webhook not sent on", error=type(error).__name__)


def look_after_all(services: Services) -> int:
    """One round: sends messages about everything that is due and has none; returns how many tens there were."""
    return rounds.each(_overdue(services, services.now_ms()), lambda refs: _send_again(services, refs))


def _overdue(services: Services, now_ms: int) -> Iterator[list[HookRef]]:
    for shard in random.sample(range(DUE_SHARDS), DUE_SHARDS):
        rows = services.table.query_due("HOOK", shard, now_ms).items
        refs = [HookRef(task=int(row["pk"].removeprefix("TASK#")), correlation=row["correlation"]) for row in rows]
        for first in range(0, len(refs), SQS_BATCH):
            if services.now_ms() > now_ms + ROUND:
                return
            yield refs[first : first + SQS_BATCH]


def _send_again(services: Services, refs: list[HookRef]) -> None:
    services.hooks.send(refs)
    now_ms = services.now_ms()
    for ref in refs:
        due = Attr("state").eq("pending") & Attr("due_ms").lte(now_ms)
        with suppress(ConditionFailed):  # claimed meanwhile
            services.table.update(Update(hook_key(ref.task), due, set={"due_ms": now_ms + AGAIN}))


# ---------------------------------------------------------------- attempts


def deliver(services: Services, ref: HookRef, post: Callable[[Delivery], Attempt]) -> None:
    """One attempt, where its time has come and nobody else is at it. `post` raises NotFound where the task is gone."""
    found = find(services, ref.task)
    if found is None:
        return
    now_ms = services.now_ms()
    about(correlation_id=found.correlation, task=found.task, attempt=found.attempt + 1)
    if found.state != "pending" or found.next > now_ms + EARLY or found.lease > now_ms:
        return
    claimed = _claim(services, found, now_ms)
    if claimed is None:
        return
    if claimed.claims > MAX_CLAIMS:
        _record(services, claimed, Attempt(at=now_ms, error="interrupted"))
        return
    try:
        made = post(claimed)
    except NotFound:  # its time in the history was over
        _record(services, claimed, Attempt(at=now_ms, error="the task is gone"), last=True)
        return
    _record(services, claimed, made)


def replay(services: Services, task: int) -> None:
    """From the first attempt on, at once, whatever became of earlier ones. Raises NotFound."""
    now_ms = services.now_ms()
    anew = {"state": "pending", "attempt": 0, "claims": 0, "lease": 0, "next": now_ms, **_due(task, now_ms, now_ms)}
    try:
        row = services.table.update(Update(hook_key(task), Attr("pk").exists(), set=anew, remove=("ended",)))
    except ConditionFailed as failed:
        raise NotFound from failed
    announce(services, Delivery.model_validate(row))


def _claim(services: Services, found: Delivery, now_ms: int) -> Delivery | None:
    """As claimed, or None where another message was faster."""
    until = now_ms + LEASE
    claim = Update(hook_key(found.task), _same(found), set={"lease": until, "due_ms": until}, add={"claims": 1})
    try:
        return Delivery.model_validate(services.table.update(claim))
    except ConditionFailed:
        return None


def _record(services: Services, claimed: Delivery, made: Attempt, last: bool = False) -> None:
    """What became of an attempt. Of one that was given up meanwhile nothing: it has been made again."""
    now_ms, attempt = services.now_ms(), claimed.attempt + 1
    log = [each.model_dump(exclude_none=True) for each in (*claimed.log, made)[-MAX_LOG:]]
    changes: dict[str, Any] = {"attempt": attempt, "claims": 0, "lease": 0, "log": log}
    last = last or attempt >= len(claimed.pauses)
    if made.accepted or last:
        over = created_ms(claimed.task) + services.settings.history_retention_ms
        expiry = {"due_pk": f"EXPIRES#{due_shard(str(claimed.task))}", "due_ms": over}
        changes |= {"state": "delivered" if made.accepted else "dead", "ended": now_ms, **expiry}
    else:
        after = now_ms + claimed.pauses[attempt]
        changes |= {"next": after, **_due(claimed.task, after, now_ms)}
    try:
        now = Delivery.model_validate(
            services.table.update(Update(hook_key(claimed.task), _same(claimed), set=changes))
        )
    except ConditionFailed:
        return
    _tell(now, made)
    if now.state == "pending":
        announce(services, now)


def _tell(now: Delivery, made: Attempt) -> None:
    if now.state == "delivered":
        logger.info("webhook delivered", webhook=now.id, status=made.status, ms=made.ms)
        emit({Metric.WEBHOOKS_DELIVERED: 1})
        return
    said = "webhook given up" if now.state == "dead" else "webhook failed"
    logger.warning(said, webhook=now.id, status=made.status, why=made.error, ms=made.ms)
    if now.state == "dead":
        emit({Metric.WEBHOOKS_DEAD: 1})


def _same(delivery: Delivery) -> ConditionBase:
    """The row is as it was read, as far as attempts go."""
    pending = Attr("state").eq("pending") & Attr("attempt").eq(delivery.attempt)
    return pending & Attr("lease").eq(delivery.lease) & Attr("claims").eq(delivery.claims)


def _due(task: int, next_ms: int, now_ms: int) -> dict[str, Any]:
    """When the watchdog has to look: after the time of a message that should have come, or at once."""
    grace = GRACE if next_ms - now_ms <= LONGEST_MESSAGE else 0
    return {"due_pk": f"HOOK#{due_shard(str(task))}", "due_ms": next_ms + grace}
