"""How a file goes on once its task has started. Every change is one conditional write or one transaction.

    from             to       trigger                           condition                           with it
    queued           running  claim: a work message             queued, or running and freed        attempt + 1
    running          running  reuse: an earlier result copied   first attempt                       nothing
    running          running  confirm: the job is handed over   same attempt                        lease
    running          running  extend: signs of life             same attempt                        lease
    running          running  retry: the attempt failed         same attempt, attempts left         freed, work
    running          done     result event, or watchdog         same attempt                        task, capture
    queued, running  failed   failure event, deadline,          open (same attempt, if one is       task, balance,
                              attempts spent                    named)                              refund
    queued, running  cancelled  cancel: the owner             as it was read                      the same, of all files

done, failed and cancelled never change. One retry counter: `attempt`. A result of an attempt that has been superseded
changes nothing. Whoever finds a condition false stops: somebody else has done the work already, or will.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Attr, ConditionBase

from tessera import credits, images, metrics, reuse, rounds, tasks, uploads, webhooks
from tessera.dispatch import LOST, FileRef, NotNow, OutcomeUnknown, Refused
from tessera.errors import RateLimited
from tessera.job import Job, JobError, Limits, Outcome
from tessera.metrics import Metric, emit
from tessera.observability import about, logger
from tessera.recipe import WEB
from tessera.reports import read_failure, read_report
from tessera.settings import HOURS, SECONDS
from tessera.storage import AttemptKey, upload_key
from tessera.table import DUE_SHARDS, ConditionFailed, Contended, Put, TransactionFailed, Update
from tessera.tasks import MAX_ATTEMPTS, File, Task, View, file_key, task_key, watch_pk
from tessera.webhooks import Delivery

if TYPE_CHECKING:
    from tessera.services import Services

SPAWN_LEASE = 90 * SECONDS  # covers handing a job over; a dispatcher that dies meanwhile is noticed after it
ROUND = 45 * SECONDS  # of the watchdog, below its function's time-out
CANCEL_TRIES = 8
END_TRIES = 3  # of a file: as of a task without a webhook, with one but not as its last file, as its last file
MAX_LINK_LIFE = 6 * HOURS  # a role's session, with which links are signed, may not last longer

OPEN = Attr("state").is_in(["queued", "running"])
LATE = JobError(code="too_late", message="The picture was not processed in time", retryable=False)
REFUSED = JobError(code="internal", message="Pictures cannot be processed at the moment", retryable=False)
CANCELLED = "Cancelled"
SOURCE_GONE = JobError(code="source_unavailable", message="The uploaded file is no longer there", retryable=False)


# ---------------------------------------------------------------- to the worker


def upload_known(services: Services, upload: uploads.Upload) -> None:
    """An upload's event came after the start of files that use it: sends them, or fails them if it is no picture."""
    if upload.state == "uploaded" and upload.format in WEB:  # which nearly every task takes; dispatch looks again
        services.work.send(upload.waiting())
        return
    for ref in upload.waiting():
        row = services.table.get(file_key(ref.task, ref.nn))
        if row is not None:
            _upload_known(services, File.model_validate(row), upload)


def _upload_known(services: Services, file: File, upload: uploads.Upload) -> None:
    if reason := upload.refusal(file.formats):
        fail(services, file, None, _refused(upload, reason))
    elif file.open:
        services.work.send([file.ref])


def dispatch(services: Services, ref: FileRef) -> None:
    """A work message: claims the file and hands its job over, or copies an earlier result. A duplicate does nothing.
    A picture that is still to be fetched is fetched first; the event of its arrival sends the file again.

    A lease that has run out is not this function's: the watchdog looks for the result before it frees a file.
    """
    row = services.table.get(file_key(ref.task, ref.nn))
    if row is None:
        return
    file = File.model_validate(row)
    file.is_the_subject()
    now_ms = services.now_ms()
    if not file.open or file.lease or file.attempt >= MAX_ATTEMPTS or file.deadline <= now_ms:
        return
    upload = uploads.find(services, file.account, file.upload)
    if upload is None:
        fail(services, file, None, SOURCE_GONE)
        return
    if reason := upload.refusal(file.formats):
        fail(services, file, None, _refused(upload, reason))
        return
    if upload.state == "fetching":
        services.fetches.send([file.ref])  # a fetch that is under way takes no notice
        return
    claimed = _claim(services, file, upload, now_ms)
    if claimed is None:
        return
    claimed.is_the_subject()
    if claimed.store is None and reuse.answer(
        services, attempt_key(claimed), claimed.recipe, upload, claimed.correlation
    ):
        logger.info("answered from storage")
        return  # the copy's event is on its way
    try:
        call = services.dispatcher.spawn(job_for(services, claimed, upload.etag, now_ms))
    except OutcomeUnknown as unknown:
        # As if it had been handed over: a result counts. Where none comes the watchdog finds the file without a call.
        logger.warning("hand-over unknown", why=str(unknown))
        return
    except NotNow as later:
        _free_uncounted(services, claimed)
        logger.warning("not handed over", why=str(later))
        return  # the watchdog sends it again each minute, until the deadline
    except Refused as refused:
        logger.error("refused by the provider", why=str(refused))
        emit({Metric.JOBS_REFUSED: 1})
        fail(services, claimed, claimed.attempt, REFUSED)
        return
    except Exception:
        # What is not foreseen flies, and the file is free again for the message's next delivery.
        _free_uncounted(services, claimed)
        raise
    handed_over = services.now_ms()
    logger.info("handed over", call=call)
    if not _change(services, claimed, {"lease": handed_over + services.settings.lease_ms, "call": call}):
        _end_if_cancelled(services, claimed, call)
    elif claimed.attempt == 1:
        emit({Metric.QUEUE_SECONDS: max(0, handed_over - file.created) / SECONDS})


def job_for(services: Services, file: File, etag: str, now_ms: int) -> Job:
    """The job of the file's current attempt: links that are good for its own objects, until the deadline."""
    settings, storage = services.settings, services.storage
    not_after = min(file.deadline, now_ms + MAX_LINK_LIFE)
    seconds = -(-(not_after - now_ms) // SECONDS)
    at = attempt_key(file)
    return Job(
        task=str(file.task),
        file=file.nn,
        attempt=file.attempt,
        recipe=file.recipe,
        limits=Limits(max_input_pixels=settings.max_input_pixels, max_output_pixels=settings.max_output_pixels),
        formats=file.formats,
        source_url=storage.presign_get(upload_key(file.account, file.upload), seconds),
        source_etag=etag,
        store_url=file.store.url if file.store else "",
        store_headers=file.store.headers if file.store else {},
        result_url=storage.presign_put(at.key("results"), seconds),
        thumbnail_url=storage.presign_put(at.key("thumbnails"), seconds),
        report_url=storage.presign_put(at.key("reports"), seconds),
        failure_url=storage.presign_put(at.key("failures"), seconds),
        correlation=file.correlation,
        handed_over=now_ms,
        not_after=not_after,
    )


def _refused(upload: uploads.Upload, reason: str) -> JobError:
    never_came = upload.url and not upload.etag
    return JobError(code="source_unavailable" if never_came else "unsupported_format", message=reason, retryable=False)


def attempt_key(file: File) -> AttemptKey:
    return AttemptKey(file.account, file.task, file.nn, file.attempt)


def _claim(services: Services, file: File, upload: uploads.Upload, now_ms: int) -> File | None:
    """The file as claimed, or None where another message was faster."""
    free = Attr("state").eq("queued") | (Attr("state").eq("running") & Attr("lease").eq(0))
    claim = Update(
        file.key,
        free & Attr("attempt").eq(file.attempt),
        set={
            "state": "running",
            "lease": now_ms + SPAWN_LEASE,
            "call": "",
            "due_ms": now_ms + services.settings.look_ms,
            "source_bytes": upload.size,
            "source_format": upload.format,
        },
        add={"attempt": 1},
    )
    try:
        return File.model_validate(services.table.update(claim))
    except ConditionFailed:
        return None


# ---------------------------------------------------------------- back from the worker


def result_arrived(services: Services, at: AttemptKey) -> bool:
    """A result object: the file is done, once. False where there is no such object."""
    got = services.storage.read_range(at.key("results"), 0, images.HEAD_BYTES)
    if got is None:
        return False
    head, facts = got

    try:
        header = images.probe_result(head, services.storage.reader(at.key("results")))
    except images.NotAPicture:  # the worker wrote something else: not a result
        attempt_failed(services, at.task, at.nn, at.attempt, LOST)
        return True
    report = read_report(services.storage, at)
    outcome = report.outcome if report else None
    about(correlation_id=report.correlation if report else "", task=at.task, file=at.nn, attempt=at.attempt)
    now_ms = services.now_ms()
    finish = Update(
        file_key(at.task, at.nn),
        _running(at.attempt),
        set={
            "state": "done",
            "result_key": at.key("results"),
            "thumbnail_key": at.key("thumbnails"),
            "format": header.format,
            "width": header.width,
            "height": header.height,
            "bytes": facts.size,
            "ended": now_ms,
            **({} if outcome is None else _told(outcome)),
        },
        # From when it was written: a late event must not promise it for longer than it is kept.
        sums={"expires": ("retention", services.settings.result_retention_ms, min(now_ms, facts.modified_ms))},
        remove=("due_pk", "due_ms"),
    )
    try:
        _end_file(services, at.task, {"done": 1}, finish, credits.capture(at.account, at.task, at.nn, now_ms))
    except TransactionFailed:  # ended already, or a superseded attempt: nothing visible changes
        return True
    logger.info("file done", bytes=facts.size, reused=bool(outcome and outcome.reused))
    metrics.completed(services.settings, at.task, outcome, header.pixels, credits.PRICE, facts.modified_ms, now_ms)
    return True


def failure_arrived(services: Services, at: AttemptKey) -> bool:
    """A failure object: the attempt has failed. False where there is no such object."""
    outcome = read_failure(services.storage, at)
    if outcome is None:
        return False
    attempt_failed(services, at.task, at.nn, at.attempt, outcome.error or LOST)
    return True


def job_lost(services: Services, job: Job) -> None:
    """The job queue gave a job up: its worker died, or never began."""
    attempt_failed(services, int(job.task), job.file, job.attempt, LOST)


def attempt_failed(services: Services, task: int, nn: int, attempt: int, error: JobError) -> None:
    """Tries again where that may help and is still allowed, else fails the file and pays back."""
    row = services.table.get(file_key(task, nn))
    if row is None:
        return
    file = File.model_validate(row)
    file.is_the_subject()
    if file.state != "running" or file.attempt != attempt:
        return
    if not error.retryable or file.attempt >= MAX_ATTEMPTS or file.deadline <= services.now_ms():
        fail(services, file, attempt, error)
    elif file.lease == 0:  # freed by an earlier delivery, which may not have come to sending it
        logger.info("sent again")
        services.work.send([file.ref])
    elif _change(services, file, {"lease": 0}, Attr("lease").gt(0)):
        logger.warning("attempt failed", code=error.code)
        emit({Metric.RETRIES: 1})
        services.work.send([file.ref])


def fail(services: Services, file: File, attempt: int | None, error: JobError) -> None:
    """Ends a file without a result and gives its credits back, once. `attempt`: only if it is still this one."""
    now_ms = services.now_ms()
    end = Update(
        file.key,
        OPEN if attempt is None else OPEN & Attr("attempt").eq(attempt),
        set={"state": "failed", "error": error.message, "code": error.code, "ended": now_ms},
        remove=("due_pk", "due_ms"),
    )
    count = {"failed": 1, "refunded": credits.PRICE}
    back = credits.refund(file.account, file.task, file.nn, now_ms)
    file.is_the_subject()
    try:
        _end_file(services, file.task, count, end, credits.give_back(file.account, file.task), back)
    except TransactionFailed:  # it has ended meanwhile
        return
    logger.warning("file failed", code=error.code)
    late = 1 if error.code == "too_late" else None
    emit({Metric.FILES_FAILED: 1, Metric.REFUNDS: credits.PRICE, Metric.PAST_DEADLINE: late})


def _end_file(services: Services, number: int, counts: Mapping[str, int], *writes: Put | Update) -> None:
    """One transaction: `writes`, which end a file, and its task's count; with a webhook's outbox row where that ends a
    task that has one.

    The first try is right for a task without a webhook. Where that fails, the row that comes back says what to write:
    `left` only sinks, so the file is the last one or is not, and may become it once. Raises TransactionFailed where the
    file has ended already.
    """
    now_ms, add = services.now_ms(), {"left": -1, **counts}
    as_read: ConditionBase = Attr("hook").not_exists()
    ended: Delivery | None = None
    for _ in range(END_TRIES):
        outbox = () if ended is None else (ended.put(now_ms),)
        try:
            services.table.transact(Update(task_key(number), as_read, add=add), *writes, *outbox)
            break
        except TransactionFailed as failed:
            row = failed.failures.get(0)
            if row is None or len(failed.failures) > 1:
                raise
            ended = _delivery(Task.model_validate(row), now_ms) if row["left"] == 1 else None
            as_read = Attr("left").eq(1) if ended else Attr("left").gt(1)
    else:
        raise Contended
    if ended:
        webhooks.announce(services, ended)


def _delivery(task: Task, now_ms: int) -> Delivery | None:
    if task.hook is None:
        return None
    return Delivery.of(task.id, task.account, task.hook, task.correlation, now_ms)


# ---------------------------------------------------------------- by the owner


def cancel(services: Services, account: str, task: int) -> View:
    """Ends what is open of a task and gives its credits back, in one transaction; what has ended stays as it is.

    What a worker makes of a cancelled file is never shown. Its call ends with the watchdog's next round: whoever
    cancels need not be able to reach the provider. Raises NotFound, and RateLimited where files moved on at every try.
    """
    for _ in range(CANCEL_TRIES):
        view = tasks.get(services, account, task)
        waiting = tuple(file for file in view.files if file.open)
        if not waiting:
            return view
        with suppress(TransactionFailed, Contended):  # something moved on since it was read
            services.table.transact(*_cancellation(services, view.task, waiting))
            about(correlation_id=view.task.correlation, task=task)
            logger.info("task cancelled", files=len(waiting))
            emit({Metric.REFUNDS: credits.PRICE * len(waiting)})
            if ended := _delivery(view.task, services.now_ms()):
                webhooks.announce(services, ended)
    raise RateLimited(1)


def _cancellation(services: Services, task: Task, files: Sequence[File]) -> Iterator[Put | Update]:
    """At most 99 writes: two for each of MAX_FILES, and three. Nothing is open after them: the task has ended."""
    now_ms, refunded = services.now_ms(), credits.PRICE * len(files)
    yield Update(task_key(task.id), add={"left": -len(files), "cancelled": len(files), "refunded": refunded})
    yield credits.give_back(task.account, task.id, len(files))
    if ended := _delivery(task, now_ms):
        yield ended.put(now_ms)
    for file in files:
        called = file.state == "running"  # so that the watchdog has a last look at it
        yield Update(
            file.key,
            Attr("state").eq(file.state),
            set={"state": "cancelled", "error": CANCELLED, "ended": now_ms} | ({"due_ms": now_ms} if called else {}),
            remove=() if called else ("due_pk", "due_ms"),
        )
        yield credits.refund(file.account, file.task, file.nn, now_ms)


def _end_if_cancelled(services: Services, file: File, call: str) -> None:
    """It was cancelled while its job was being handed over, by somebody who did not know of the call yet."""
    row = services.table.get(file.key)
    if row is not None and row["state"] == "cancelled":
        services.dispatcher.cancel(call)


# ---------------------------------------------------------------- watchdog


def look_after_all(services: Services) -> int:
    """One round over the files that are due; returns how many were looked after before the round's time was over."""
    return rounds.each(_due(services, services.now_ms()), lambda ref: look_after(services, ref))


def _due(services: Services, now_ms: int) -> Iterator[FileRef]:
    # In another order each time: when there is too much for one round, all have their turn.
    for shard in random.sample(range(DUE_SHARDS), DUE_SHARDS):
        for row in services.table.query_due("WATCH", shard, now_ms).items:
            if services.now_ms() > now_ms + ROUND:
                return
            yield FileRef(task=int(row["pk"].removeprefix("TASK#")), nn=int(row["sk"].removeprefix("FILE#")))


def look_after(services: Services, ref: FileRef) -> None:
    """Brings a file that is due on its way again: looks for its result first, re-runs it last."""
    row = services.table.get(file_key(ref.task, ref.nn))
    if row is None:
        return
    file = File.model_validate(row)
    file.is_the_subject()
    if file.state == "cancelled":
        _end_call(services, file)
    if not file.open:
        return
    at, now_ms = attempt_key(file), services.now_ms()
    if file.attempt and (result_arrived(services, at) or failure_arrived(services, at)):
        return
    if file.deadline <= now_ms:
        fail(services, file, None, LATE)
        if file.call:
            services.dispatcher.cancel(file.call)
        return
    if file.state == "queued" or file.lease == 0:
        logger.info("sent again")
        services.work.send([file.ref])
    elif file.lease <= now_ms:
        _after_its_lease(services, file, now_ms)
    _look_again(services, file, now_ms)


def _end_call(services: Services, file: File) -> None:
    """Of a cancelled file; where the provider cannot be reached, in the next round."""
    if file.call:
        services.dispatcher.cancel(file.call)
    ended = Update(file.key, Attr("state").eq("cancelled"), remove=("due_pk", "due_ms", "call"))
    with suppress(ConditionFailed):  # the task has been forgotten meanwhile
        services.table.update(ended)


def _after_its_lease(services: Services, file: File, now_ms: int) -> None:
    """More time where there is a sign of life, else another attempt."""
    at, lease_ms = attempt_key(file), services.settings.lease_ms
    report = services.storage.head(at.key("reports"))
    if report is not None and report.modified_ms + lease_ms > now_ms:
        _change(services, file, {"lease": report.modified_ms + lease_ms})
    elif report is None and not file.call:  # nobody knows that it was ever handed over
        if _free_uncounted(services, file):
            logger.warning("never handed over, sent again")
            services.work.send([file.ref])
    elif (error := services.dispatcher.ended(file.call, began=report is not None)) is None:
        _change(services, file, {"lease": now_ms + lease_ms})
    elif not (result_arrived(services, at) or failure_arrived(services, at)):  # since we looked
        attempt_failed(services, file.task, file.nn, file.attempt, error)


def _free_uncounted(services: Services, file: File) -> bool:
    """Free to be claimed again, as the attempt that it was: an outage of the provider is no attempt at the picture.

    Should the job have got through after all, the next one has the same number and writes the same objects.
    """
    return _change(services, file, {"lease": 0, "attempt": file.attempt - 1})


def _look_again(services: Services, file: File, now_ms: int) -> None:
    again = Update(file.key, OPEN, set={"due_pk": watch_pk(file.task), "due_ms": now_ms + services.settings.look_ms})
    with suppress(ConditionFailed):  # it has ended meanwhile and needs no look
        services.table.update(again)


def _change(services: Services, file: File, values: dict[str, int | str], when: ConditionBase | None = None) -> bool:
    """Sets attributes of a running attempt; False where it is no longer that attempt, or not `when` holds."""
    same = _running(file.attempt)
    try:
        services.table.update(Update(file.key, same & when if when else same, set=values))
    except ConditionFailed:
        return False
    return True


def _running(attempt: int) -> ConditionBase:
    return Attr("state").eq("running") & Attr("attempt").eq(attempt)


def _told(outcome: Outcome) -> dict[str, object]:
    return {
        "model": outcome.model or "",
        "stand_in": outcome.stand_in,
        "reused": outcome.reused,
        "notes": list(outcome.notes),
        "seconds": outcome.seconds,
        "fidelity": outcome.fidelity,
        "seam": outcome.seam,
        "source": outcome.source and outcome.source.model_dump(exclude_none=True),
        "result": outcome.result and outcome.result.model_dump(exclude_none=True),
    }
