"""Upscayl Cloud's five routes, at the root and under /upscayl. The document: docs/dialects/upscayl.md.

A known key is asked for before anything else is said: a bad body with a bad key is answered 401.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from jsonapi import callers, edge
from jsonapi.errors import refusal as refusal_with
from jsonapi.schemas import parse
from tessera import accounts, credits, http, starts, tasks, uploads
from tessera.accounts import Caller, Credential
from tessera.errors import Invalid
from tessera.idempotency import Once
from tessera.services import services
from tessera.starts import Wanted
from tessera.tasks import TaskState

from upscayl import bodies, errors, schemas, translate

app = APIGatewayHttpResolver(strip_prefixes=["/upscayl"])


@app.post("/get-upload-url")
def get_upload_url() -> dict[str, Any]:
    caller = authenticated("upload")
    wish = parse(schemas.GetUploadUrl, bodies.read(event()).fields)
    ticket = uploads.issue(
        services(),
        caller.account.id,
        wish.originalFileName,
        wish.fileType,
        wish.fileSize,
        wish.multipart,
        once(caller.account.id, "get-upload-url", wish.model_dump),
    )
    return translate.to_ticket(ticket)


@app.post("/complete-multipart-upload")
def complete_multipart_upload() -> dict[str, Any]:
    caller = authenticated("complete")
    wish = parse(schemas.CompleteMultipart, bodies.read(event()).fields)
    uploads.complete(services(), caller.account.id, wish.uploadId, wish.key, translate.from_parts(wish))
    return translate.success({"status": "success"})


@app.post("/start-task")
def start_task() -> dict[str, Any]:
    who = callers.credential(services(), event())
    with callers.starting(services(), who):
        received = bodies.read_start(event())
        wish = parse(schemas.StartTask, received.fields)
        same = once(
            who.account,
            "start-task",
            lambda: wish.model_dump() | {"file": [part.digest for part in received.files]},
        )
        task = starts.repeated(services(), who, same) if same and received.files else None
        if task is None:
            wanted = wanted_files(who, received, wish)
            recipe = translate.from_start_task(wish)
            task = starts.start(services(), who, wanted, recipe, same, http.correlation_id(event()))
    return translate.to_started(task)


@app.post("/get-task-status")
def get_task_status() -> dict[str, Any]:
    caller = authenticated("status")
    received = bodies.read(event())
    wish = parse(schemas.GetTaskStatus, received.fields)
    view = tasks.get(services(), caller.account.id, translate.from_task_id(wish.taskId))
    return translate.to_status(services(), view, words(caller, received))


@app.post("/get-upscayl-history")
def get_upscayl_history() -> dict[str, Any]:
    caller = authenticated("history")
    received = bodies.read(event())
    wish = parse(schemas.GetHistory, received.fields)
    page = tasks.history(services(), caller.account, wish.timestampOffset, wish.limit, translate.from_history(wish))
    return translate.to_history(services(), page, caller.account.tasks, words(caller, received))


def event() -> dict[str, Any]:
    raw: dict[str, Any] = app.current_event.raw_event
    return raw


def authenticated(kind: str) -> Caller:
    return callers.authenticated(services(), event(), kind)


def once(account: str, route: str, content: Callable[[], dict[str, Any]]) -> Once | None:
    return callers.once(account, event(), route, content)


def words(caller: Caller, received: bodies.Received) -> dict[TaskState, str]:
    """The shape of the body tells which of the two families of clients asks; an operator can settle it for a key."""
    settled = caller.account.api_keys[caller.key_hash].get("vocabulary")
    return translate.VOCABULARIES[settled or ("observed" if received.enveloped else "documented")]


def wanted_files(who: Credential, received: bodies.Received, wish: schemas.StartTask) -> tuple[Wanted, ...]:
    """Names of uploads, or files sent along: those are stored first, and are uploads from then on."""
    listed = (
        *map(translate.from_uploaded_file, wish.files),
        *(translate.from_url(services(), who.account, url) for url in wish.urls),
    )
    if listed and received.files:
        raise Invalid("files and file exclude each other")
    if not received.files:
        return listed
    if not all(part.body for part in received.files):
        raise Invalid("file: is empty")
    # before anything is stored
    credits.require(accounts.check(services(), who).account, len(received.files))
    return tuple(Wanted.of(uploads.store(services(), who.account, part.name, part.body)) for part in received.files)


# ---------------------------------------------------------------- answers


def refusal(error: Exception) -> Response[str]:
    return refusal_with(error, errors.answer_to(error, app.current_event.path))


edge.refusing(app, "upscayl", refusal)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return edge.resolve(app, event, context)
