"""Answering a repeat from storage: the same bytes, recipe and engine give the same result, which is copied.

    ACCOUNT#<id> | REUSE#<digest>    the attempt whose result the digest names

The row is written before a job is handed over, so that a completion costs no call more for it; whether there is a
result yet, or still, is S3's to say. A copy goes to the file's own key, where its ObjectCreated event completes the
file as a worker's would, with an expiry of its own. Only a first attempt is answered so: whatever is wrong with a copy,
the next attempt is a worker's.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from tessera import accounts
from tessera.job import Outcome, Report
from tessera.observability import logger
from tessera.recipe import Recipe
from tessera.reports import read_report
from tessera.settings import SECONDS, Settings
from tessera.storage import AttemptKey
from tessera.table import Key, Put, due_shard
from tessera.tasks import File, file_key
from tessera.uploads import Upload

if TYPE_CHECKING:
    from tessera.services import Services

# Workers whose models change with the engine that `Settings.engine` names, and with nothing else. Elsewhere weights may
# be installed at any time, and what stood in for them yesterday would be the wrong answer today.
BOUND_TO_ENGINE = frozenset({"cpu"})


class Known(BaseModel):
    """The attempt that a digest names. Its result, if there is one, is kept until `expires` (ms), or longer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: int
    nn: int
    attempt: int
    expires: int


def digest(settings: Settings, upload: Upload, recipe: Recipe) -> str:
    """SHA-256 over all that a result follows from; the limits are not among it, they decide whether there is one.

    The bytes are told apart by their ETag and size: MD5, or in parts the MD5 of the parts' MD5s. Whoever makes two
    pictures of one MD5 gets their own results mixed up, since rows belong to an account. Under SSE-KMS an ETag is no
    digest, and nothing is found.
    """
    facts = {
        "etag": upload.etag,
        "size": upload.size,
        "recipe": recipe.model_dump(mode="json"),
        "engine": settings.engine,
        "worker": settings.worker,
        "stand_in": settings.stand_in,
        "faces": settings.faces,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def answer(services: Services, at: AttemptKey, recipe: Recipe, upload: Upload, correlation: str = "") -> bool:
    """Copies an earlier result to this attempt's key. False where a worker has to make it.

    AWS calls: one or two where nothing is known, five to seven for a copy. One that fails costs a run and nothing else.
    """
    if not services.settings.engine:
        return False
    row = Key(f"ACCOUNT#{at.account}", f"REUSE#{digest(services.settings, upload, recipe)}")
    try:
        return _answer(services, row, at, correlation)
    except (BotoCoreError, ClientError) as error:
        logger.warning("not answered from storage", error=type(error).__name__)
        return False


def _answer(services: Services, row: Key, at: AttemptKey, correlation: str) -> bool:
    earlier = _earlier(services, row, at) if at.attempt == 1 else None
    copied = earlier is not None and _copy(services, earlier, at, correlation)
    # An attempt at work keeps its place: were each repeat to take it, none would be done when the next one comes.
    if copied or earlier is None or not _at_work(services, earlier):
        _name(services, row, at)
    return copied


def _earlier(services: Services, row: Key, at: AttemptKey) -> AttemptKey | None:
    """The attempt that may be copied, if its account wants that."""
    item = services.table.get(row)
    if item is None:
        return None
    known = Known.model_validate(item)
    earlier = AttemptKey(at.account, known.task, known.nn, known.attempt)
    if earlier == at or known.expires <= services.now_ms():  # `at`: this very attempt was taken back
        return None
    account = accounts.find(services, at.account)
    return earlier if account and account.reuses(services.settings.reuse) else None


def _copy(services: Services, source: AttemptKey, target: AttemptKey, correlation: str) -> bool:
    """Result, thumbnail and report, in a worker's order. False where there is no result, or not one to show again."""
    storage = services.storage
    report = read_report(storage, source)
    outcome = report.outcome if report else None
    if outcome is None or not _lasting(services.settings, outcome):
        return False
    storage.copy(source.key("thumbnails"), target.key("thumbnails"))  # none where the recipe asks for none
    copied = outcome.model_copy(update={"reused": True, "seconds": None, "waited": None})
    told = Report(progress=1, outcome=copied, correlation=correlation)
    storage.write(target.key("reports"), told.model_dump_json(exclude_none=True).encode())
    return storage.copy(source.key("results"), target.key("results"))


def _lasting(settings: Settings, outcome: Outcome) -> bool:
    """Whether a worker of today would do the same again."""
    return outcome.status == "done" and (not outcome.stand_in or settings.worker in BOUND_TO_ENGINE)


def _at_work(services: Services, at: AttemptKey) -> bool:
    item = services.table.get(file_key(at.task, at.nn))
    if item is None:
        return False
    file = File.model_validate(item)
    return file.open and file.attempt == at.attempt


def _name(services: Services, row: Key, at: AttemptKey) -> None:
    expires = services.now_ms() + services.settings.result_retention_ms
    known = Known(task=at.task, nn=at.nn, attempt=at.attempt, expires=expires)
    ends = {"ttl": expires // SECONDS, "due_pk": f"EXPIRES#{due_shard(row.sk)}", "due_ms": expires}
    services.table.put(Put(row.as_item() | known.model_dump() | ends))
