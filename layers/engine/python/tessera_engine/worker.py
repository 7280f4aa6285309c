"""Run one Job: read the picture, enlarge it, write what became of it.

Order of writing: thumbnail, report with the outcome, result. The result's arrival completes the file, so whoever sees
it finds the rest already there. A failure is one object, the failed Outcome. Nothing is written as a result after
`not_after`. Running a job twice writes the same objects twice.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from tessera.job import Job, JobError, Outcome, Report
from tessera.recipe import CONTENT_TYPES
from tessera.redaction import redacted

from tessera_engine.errors import EngineError, LinkExpired, TooLate
from tessera_engine.models import StandIn
from tessera_engine.pipeline import Product, carry_out
from tessera_engine.tiling import MEMORY
from tessera_engine.transfer import Storage, StorageUnreachable, size_of

logger = logging.getLogger(__name__)

JSON = "application/json"
IN_MEMORY = 32 * 1024 * 1024  # bytes of a result; a larger one is put into a temporary file
REPORT_SECONDS, REPORT_STEP = 1.5, 0.1  # progress is written no sooner and for no less than this, but
HEARTBEAT_SECONDS = 20  # at least so often: a worker that is silent for long is given up

LATE = "The time that was given for this picture is over."
INTERNAL = JobError(code="internal", message="Something went wrong on our side.", retryable=True)


class Progress:
    """Listens to the pipeline: stops it when the job's time is over, reports now and then, at the start first."""

    def __init__(self, job: Job, storage: Storage, clock: Callable[[], float]) -> None:
        self.job, self.storage, self.clock = job, storage, clock
        self._report(0.0, clock())

    def __call__(self, fraction: float) -> None:
        check_time(self.job, self.clock)
        now = self.clock()
        pause = REPORT_SECONDS if fraction - self.reported >= REPORT_STEP else HEARTBEAT_SECONDS
        if now - self.at >= pause:
            self._report(fraction, now)

    def _report(self, fraction: float, now: float) -> None:
        report = Report(progress=fraction, correlation=self.job.correlation)
        self.storage.try_write(self.job.report_url, to_json(report), JSON)
        self.reported, self.at = fraction, now


def run(
    job: Job,
    *,
    stand_in: StandIn = "allow",
    storage: Storage | None = None,
    clock: Callable[[], float] = time.time,
    memory: int = MEMORY,
) -> Outcome:
    """What became of the job, which has been written too. Raises StorageUnreachable if it could not be written.

    `clock` gives Unix seconds, `memory` is for the activations of one tile, in bytes.
    """
    storage = storage or Storage()
    tell(job, "job begun")
    try:
        outcome = _finish(job, stand_in, storage, clock, memory)
    except StorageUnreachable:
        raise
    except EngineError as error:
        return _fail(job, storage, error.to_job_error())
    except Exception:  # the file must not stay silent until its deadline; the stack is for the operator alone
        stack = redacted(traceback.format_exc())  # which may tell a link, and a link is a key to an object
        tell(job, f"job broke\n{stack}", logging.ERROR)
        return _fail(job, storage, INTERNAL)
    tell(job, "job done", model=outcome.model, seconds=outcome.seconds, waited=outcome.waited)
    return outcome


def _finish(job: Job, stand_in: StandIn, storage: Storage, clock: Callable[[], float], memory: int) -> Outcome:
    check_time(job, clock)
    began = clock()
    progress = Progress(job, storage, clock)
    source = storage.read(job.source_url, job.source_etag)
    with SpooledTemporaryFile(IN_MEMORY) as file:  # a picture of 144 megapixels can be 400 MB as PNG
        encoded = cast(BinaryIO, file)
        product = carry_out(
            job.recipe, source, job.limits, stand_in=stand_in, listener=progress, sink=encoded, memory=memory,
            formats=frozenset(job.formats),
        )  # fmt: skip
        waited = round(max(0.0, began - job.handed_over / 1000), 3) if job.handed_over else None
        outcome = done(product, size_of(encoded), seconds=clock() - began, waited=waited)
        check_time(job, clock)
        if product.thumbnail:
            storage.write(job.thumbnail_url, product.thumbnail, CONTENT_TYPES["webp"])
        report = Report(progress=1.0, outcome=outcome, correlation=job.correlation)
        storage.write(job.report_url, to_json(report), JSON)
        if job.store_url:
            storage.store(job.store_url, encoded, CONTENT_TYPES[product.format], job.store_headers)
        check_time(job, clock)
        storage.write(job.result_url, encoded, CONTENT_TYPES[product.format])
    return outcome


def _fail(job: Job, storage: Storage, error: JobError) -> Outcome:
    outcome = Outcome(status="failed", error=error)
    with suppress(LinkExpired):  # then no link of this job is good any more, and its silence will be noticed
        storage.write(job.failure_url, to_json(outcome), JSON)
    tell(job, "job failed", logging.WARNING, code=error.code)
    return outcome


def done(product: Product, size: int, seconds: float, waited: float | None = None) -> Outcome:
    return Outcome(
        status="done",
        width=product.width,
        height=product.height,
        format=product.format,
        bytes=size,
        model=product.model,
        stand_in=product.stand_in,
        notes=product.notes,
        source_pixels=product.source_pixels,
        fidelity=None if product.fidelity is None else round(product.fidelity, 2),
        seam=None if product.seam is None else round(product.seam, 3),
        seconds=round(seconds, 3),
        waited=waited,
        source=product.read,
        result=product.written,
    )


def tell(job: Job, message: str, level: int = logging.INFO, **facts: object) -> None:
    """A log line with what every line about this job has; no link among it."""
    ids = {"correlation_id": job.correlation, "task": job.task, "file": job.file, "attempt": job.attempt}
    logger.log(level, message, extra={"about": ids | facts})


def check_time(job: Job, clock: Callable[[], float]) -> None:
    if clock() * 1000 > job.not_after:
        raise TooLate(LATE)


def to_json(message: Outcome | Report) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()
