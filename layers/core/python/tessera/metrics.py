"""What is counted and measured, as CloudWatch metrics in log lines (EMF): no call, no permission, a line for each fact.

A fact is told where it is established: after the conditional write that only one of all events can win. A duplicate
tells nothing; a process that dies between the write and the line loses its line, so a sum may be low but never high.
The one dimension is `service`, the deployment's name, and for errors at the edge `dialect` too; ids stand beside the
values, where a search finds them, and never become dimensions.

template.yaml names metrics by the values of `Metric`; a unit test keeps dashboard and alarms to these.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from tessera.ids import created_ms
from tessera.job import Outcome
from tessera.observability import told
from tessera.settings import MEGA, SECONDS, Settings

NAMESPACE = "Tessera"


class Metric(StrEnum):
    FILES_ACCEPTED = "FilesAccepted"
    FILES_COMPLETED = "FilesCompleted"
    FILES_FAILED = "FilesFailed"
    FILES_REUSED = "FilesReused"  # of those completed: copies of earlier results
    RETRIES = "Retries"  # attempts that failed and are followed by another
    PAST_DEADLINE = "PastDeadline"  # of those failed: their task's time was over
    CREDITS_CHARGED = "CreditsCharged"
    REFUNDS = "Refunds"  # credits
    MEGAPIXELS_IN = "MegapixelsIn"
    MEGAPIXELS_OUT = "MegapixelsOut"
    ESTIMATED_COST = "EstimatedCost"  # USD: the worker's seconds at the list price
    QUEUE_SECONDS = "QueueSeconds"  # start-task to hand-over, of first attempts
    START_SECONDS = "StartSeconds"  # hand-over to the worker's first byte read
    WORKER_SECONDS = "WorkerSeconds"  # first byte read to the last encoded
    SETTLE_SECONDS = "SettleSeconds"  # result written, to the second, to credits settled
    TOTAL_SECONDS = "TotalSeconds"  # start-task to credits settled
    JOBS_REFUSED = "JobsRefused"  # by the provider, until an operator acts
    WEBHOOKS_DELIVERED = "WebhooksDelivered"
    WEBHOOKS_DEAD = "WebhooksDead"  # given up after the last attempt
    RECORDS_FAILED = "RecordsFailed"  # deliveries of a message that raised
    SPEND_SHARE = "SpendShare"  # percent of the day's cap of GPU jobs
    SERVER_ERRORS = "ServerErrors"  # answers with 500, by dialect
    LEDGER_MISMATCH = "LedgerMismatch"  # accounts
    ACCOUNTS_AUDITED = "AccountsAudited"


UNITS = {
    **{metric: MetricUnit.Seconds for metric in Metric if metric.endswith("Seconds")},
    Metric.SPEND_SHARE: MetricUnit.Percent,
    **dict.fromkeys((Metric.MEGAPIXELS_IN, Metric.MEGAPIXELS_OUT, Metric.ESTIMATED_COST), MetricUnit.NoUnit),
}


def emit(values: Mapping[Metric, float | None], *, dialect: str = "") -> None:
    """One line with these values and what the log is about; None is left out."""
    line = EphemeralMetrics(namespace=NAMESPACE)
    for metric, value in values.items():
        if value is not None:
            line.add_metric(metric.value, UNITS.get(metric, MetricUnit.Count), value)
    for name, id_ in told().items():
        line.add_metadata(name, id_)
    if dialect:
        line.add_dimensions(service=line.service or "", dialect=dialect)
    line.flush_metrics(raise_on_empty_metrics=True)


def completed(
    settings: Settings, task: int, outcome: Outcome | None, pixels: int, price: int, written_ms: int, now_ms: int
) -> None:
    """A file is done. `outcome`: what its worker told, None where that cannot be read; `pixels`: the result's."""
    said = outcome or Outcome(status="done")
    emit(
        {
            Metric.FILES_COMPLETED: 1,
            Metric.FILES_REUSED: 1 if said.reused else None,
            Metric.CREDITS_CHARGED: price,
            Metric.MEGAPIXELS_IN: said.source_pixels / MEGA if said.source_pixels else None,
            Metric.MEGAPIXELS_OUT: pixels / MEGA,
            Metric.ESTIMATED_COST: None if said.seconds is None else said.seconds * settings.worker_price,
            Metric.START_SECONDS: said.waited,
            Metric.WORKER_SECONDS: said.seconds,
            Metric.SETTLE_SECONDS: max(0, now_ms - written_ms) / SECONDS,
            Metric.TOTAL_SECONDS: max(0, now_ms - created_ms(task)) / SECONDS,
        }
    )
