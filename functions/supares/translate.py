"""SupaRes' words to Tessera's and back. Pure: no I/O but signing links, which is arithmetic."""

from __future__ import annotations

from typing import Any

from tessera import ids, results
from tessera.accounts import Account
from tessera.errors import NotFound
from tessera.job import ErrorCode
from tessera.recipe import Recipe
from tessera.services import Services
from tessera.settings import HOURS
from tessera.starts import Terms
from tessera.stores import Store
from tessera.tasks import File, View
from tessera.webhooks import Hook
from visualapi.pictures import to_picture

DIALECT = "supares"
RETENTION = 1 * HOURS
OURS: frozenset[ErrorCode] = frozenset({"internal", "too_late", "model_unavailable"})  # not the picture's fault


def terms(hook: Hook | None, store: Store | None) -> Terms:
    """The call was counted where its key was checked."""
    return Terms(dialect=DIALECT, retention_ms=RETENTION, calls=None, hook=hook, store=store)


def name(recipe: Recipe) -> str:
    """Of the result, as its URL and its facts say it."""
    return f"image.{results.SUFFIXES[recipe.encode().format]}"


def from_id(text: str) -> int:
    """Raises NotFound for what cannot be the id of a request."""
    number = ids.from_uuid(text)
    if number is None:
        raise NotFound
    return number


def to_accepted(task: int) -> dict[str, Any]:
    return {"success": True, "code": 202, "id": ids.to_uuid(task)}


def to_account(account: Account, now_ms: int) -> dict[str, Any]:
    month = account.month(now_ms)
    return {
        "success": True,
        "code": 200,
        "company": None,
        "subscription": {"name": "self-hosted", "period": "month"},
        "quota": {"total": month.quota, "used": month.used, "remaining": month.remaining},
    }


def to_results(services: Services, view: View) -> dict[str, Any]:
    """`code` is the answer's status: 202 while it is worked on."""
    number = ids.to_uuid(view.task.id)
    if view.task.left:
        return to_accepted(view.task.id)
    shown = [_result(services, file) for file in view.files if file.state == "done"]
    if not shown:
        code = 500 if any(file.code in OURS for file in view.files) else 422
        return {"success": False, "code": code, "id": number, "message": view.error}
    more = {"results": shown} if len(view.files) > 1 else {}  # of a task that was started elsewhere
    return {"success": True, "code": 200, "id": number, **shown[0], **more}


def _result(services: Services, file: File) -> dict[str, Any]:
    links = results.links(services, file, name(file.recipe))
    url = file.store.location if file.store else links.download if links else None
    return {
        "input": to_picture(file.source, file.original),
        "output": {"url": url, **to_picture(file.result, name(file.recipe))},
    }
