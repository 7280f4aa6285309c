"""Reading what workers wrote. It is foreign input: what cannot be read is as good as not written."""

from __future__ import annotations

from pydantic import ValidationError

from tessera.job import Outcome, Report
from tessera.storage import AttemptKey, Storage


def read_report(storage: Storage, at: AttemptKey) -> Report | None:
    written = storage.read(at.key("reports"))
    if written is None:
        return None
    try:
        return Report.model_validate_json(written)
    except ValidationError:
        return None


def read_failure(storage: Storage, at: AttemptKey) -> Outcome | None:
    """None where there is no failure object; an outcome without an error where there is one that cannot be read."""
    written = storage.read(at.key("failures"))
    if written is None:
        return None
    try:
        return Outcome.model_validate_json(written)
    except ValidationError:
        return Outcome(status="failed")
