"""Composition root: clients are made here, once per process, and passed on as one argument."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import boto3
from botocore.config import Config

from tessera.budget import Metered
from tessera.dispatch import Dispatcher, QueueDispatcher, WorkQueue
from tessera.links import CloudFrontLinks, LinkSigner
from tessera.settings import Settings
from tessera.storage import Storage
from tessera.table import Table


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Services:
    settings: Settings
    table: Table
    storage: Storage
    links: LinkSigner
    work: WorkQueue
    fetches: WorkQueue
    hooks: WorkQueue
    dispatcher: Dispatcher
    now_ms: Callable[[], int] = now_ms
    account_of_key: dict[str, str] = field(default_factory=dict)
    """Hash of a key -> account: never changes once written, so it is kept for the life of the process."""


def build(settings: Settings, session: Any, endpoint_url: str | None = None, **overrides: Any) -> Services:
    """`session` is a boto3 Session; `endpoint_url` moves all clients to another AWS, such as one on this machine."""
    # Three tries of a call that hangs end before the shortest function does.
    retries = {"total_max_attempts": 3, "mode": "standard"}
    config = Config(retries=retries, connect_timeout=2, read_timeout=5, tcp_keepalive=True)  # type: ignore[arg-type]
    s3_config = config.merge(
        Config(
            signature_version="s3v4",
            # A host name per bucket is what AWS wants; an endpoint given by address has no such names.
            s3={"addressing_style": "path" if endpoint_url else "virtual"},
        )
    )
    sqs = cache(lambda: session.client("sqs", config=config, endpoint_url=endpoint_url))
    table = Table(session.client("dynamodb", config=config, endpoint_url=endpoint_url), settings.table)
    clock = overrides.setdefault("now_ms", now_ms)
    dispatcher: Dispatcher = QueueDispatcher(sqs, settings.job_queue_url)
    if settings.worker == "modal":
        from tessera.modal_dispatch import ModalDispatcher, token_in  # only where it runs: no other function has modal

        secrets = session.client("secretsmanager", config=config, endpoint_url=endpoint_url)
        dispatcher = Metered(ModalDispatcher(lambda: token_in(secrets, settings.modal_secret)), table, clock)
    storage = Storage(session.client("s3", config=s3_config, endpoint_url=endpoint_url), settings.bucket)
    links: LinkSigner = storage
    if settings.link_domain:
        vault = session.client("secretsmanager", config=config, endpoint_url=endpoint_url)

        def private_key() -> str:
            return str(vault.get_secret_value(SecretId=settings.link_secret)["SecretString"])

        links = CloudFrontLinks(settings.link_domain, settings.link_key_id, private_key, clock)
    return Services(
        settings=settings,
        table=table,
        storage=storage,
        links=links,
        work=WorkQueue(sqs, settings.work_queue_url),
        fetches=WorkQueue(sqs, settings.fetch_queue_url),
        hooks=WorkQueue(sqs, settings.hook_queue_url),
        dispatcher=dispatcher,
        **overrides,
    )


@lru_cache(maxsize=1)
def services() -> Services:
    """Those of this process, from its environment."""
    return build(Settings.from_environ(os.environ), boto3.Session(), os.environ.get("AWS_ENDPOINT_URL"))
