"""Our own routes, under /v1. The document: docs/api.md.

A known key is asked for before anything else is said: a bad body with a bad key is answered 401.
"""

from __future__ import annotations

from typing import Any, TypeVar

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from jsonapi import callers, edge, errors
from jsonapi.schemas import Body, parse
from tessera import deletion, estimates, http, lifecycle, multiparts, signatures, starts, tasks, webhooks
from tessera.errors import NotFound
from tessera.services import services

from native import schemas, translate

app = APIGatewayHttpResolver()
Asked = TypeVar("Asked", bound=Body)


@app.get("/v1/account")
def account() -> dict[str, Any]:
    caller = callers.authenticated(services(), event(), "status")
    return translate.to_account(services().settings, caller.account).told()


@app.get("/v1/models")
def models() -> dict[str, Any]:
    callers.authenticated(services(), event(), "status")
    return translate.to_models(services().settings).told()


@app.post("/v1/estimate")
def estimate() -> dict[str, Any]:
    _, wish = asked(schemas.Estimate, "status")
    settings = services().settings
    sizes = ((picture.width, picture.height) for picture in wish.files)
    made = estimates.estimate(settings, translate.from_estimate(settings, wish), sizes)
    return translate.to_estimated(made).told()


@app.post("/v1/tasks")
def start_task() -> dict[str, Any]:
    who = callers.credential(services(), event())
    with callers.starting(services(), who):
        wish = parse(schemas.NewTask, http.json_object(http.body(event())))
        recipe = translate.from_start_task(services().settings, wish)
        same = callers.once(who.account, event(), "v1/tasks", wish.model_dump)
        wanted = tuple(map(translate.from_source, wish.files))
        terms = starts.Terms(hook=translate.from_webhook(services().settings, wish.webhook))
        task = starts.start(services(), who, wanted, recipe, same, http.correlation_id(event()), terms)
    return translate.to_started(task).told()


@app.post("/v1/tasks/cancel")
def cancel_task() -> dict[str, Any]:
    who, wish = asked(schemas.TaskOf, "change")
    view = lifecycle.cancel(services(), who, translate.from_task_id(wish.taskId))
    return translate.to_cancelled(view).told()


@app.post("/v1/tasks/delete")
def delete_task() -> dict[str, Any]:
    who, wish = asked(schemas.TaskOf, "change")
    task = translate.from_task_id(wish.taskId)
    return translate.to_deleted(task, deletion.delete(services(), who, task)).told()


@app.post("/v1/tasks/webhook")
def task_webhook() -> dict[str, Any]:
    who, wish = asked(schemas.TaskOf, "status")
    task = tasks.get(services(), who, translate.from_task_id(wish.taskId)).task
    if task.hook is None:
        raise NotFound
    return translate.to_webhook(task.id, task.hook, webhooks.find(services(), task.id)).told()


@app.post("/v1/webhook-secret")
def webhook_secret() -> dict[str, Any]:
    who, _ = asked(schemas.NoWish, "status")
    return translate.to_webhook_secret(signatures.valid(services(), who)).told()


@app.post("/v1/webhook-secret/rotate")
def rotate_webhook_secret() -> dict[str, Any]:
    who, _ = asked(schemas.NoWish, "change")
    return translate.to_webhook_secret(signatures.rotate(services(), who)).told()


@app.post("/v1/uploads/parts")
def sign_parts() -> dict[str, Any]:
    who, wish = asked(schemas.SignParts, "upload")
    links, expires = multiparts.sign(services(), who, wish.uploadId, wish.key, wish.partNumbers)
    return translate.to_signed(links, expires).told()


@app.post("/v1/uploads/parts/list")
def list_parts() -> dict[str, Any]:
    who, wish = asked(schemas.UploadOf, "upload")
    return translate.to_stored(multiparts.stored(services(), who, wish.uploadId, wish.key)).told()


@app.post("/v1/uploads/abort")
def abort_upload() -> dict[str, Any]:
    who, wish = asked(schemas.UploadOf, "change")
    multiparts.abort(services(), who, wish.uploadId, wish.key)
    return schemas.Nothing().told()


def event() -> dict[str, Any]:
    raw: dict[str, Any] = app.current_event.raw_event
    return raw


def asked(model: type[Asked], kind: str) -> tuple[str, Asked]:
    """The caller's account and the body."""
    caller = callers.authenticated(services(), event(), kind)
    return caller.account.id, parse(model, http.json_object(http.body(event())))


# ---------------------------------------------------------------- answers


def refusal(error: Exception) -> Response[str]:
    return errors.refusal(error, errors.answer_to(error))


edge.refusing(app, "native", refusal)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return edge.resolve(app, event, context)
