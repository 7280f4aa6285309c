"""Let's Enhance's pipelines, at the root and under /letsenhance. The document: docs/dialects/letsenhance.md.

A known key is asked for before anything else is said: a bad body with a bad key is answered 401.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.typing import LambdaContext
from jsonapi import callers, edge
from jsonapi.schemas import parse
from tessera import http, starts, tasks, webhooks
from tessera.services import services

from letsenhance import errors, schemas, translate

app = APIGatewayHttpResolver(strip_prefixes=["/letsenhance"])


@app.post("/v1/pipeline")
def submit() -> dict[str, Any]:
    http.require_tls(event(), services().settings)
    caller = callers.authenticated(services(), event(), "minute")
    body = http.json_object(http.body(event()))
    wish = parse(schemas.Pipeline, body)
    settings = services().settings
    if wish.notify_url:
        webhooks.check(wish.notify_url, settings)
    wanted = tuple(starts.Wanted.fetched(services(), url) for url in wish.source.http.url)
    recipe = translate.from_operation(settings, wish.operations[0])
    terms = translate.terms(wish, body)
    same = callers.once(caller.account.id, event(), "pipeline", wish.model_dump)
    who = callers.credential(services(), event())
    task = starts.start(services(), who, wanted, recipe, same, http.correlation_id(event()), terms)
    return translate.to_accepted(tasks.get(services(), caller.account.id, task))


@app.get("/v1/pipeline/<number>")
def show(number: str) -> dict[str, Any]:
    http.require_tls(event(), services().settings)
    caller = callers.authenticated(services(), event(), "poll")
    view = tasks.get(services(), caller.account.id, translate.from_id(number))
    return translate.to_shown(services(), view)


@app.get("/v1/me/usage")
def usage() -> dict[str, Any]:
    http.require_tls(event(), services().settings)
    caller = callers.authenticated(services(), event(), "minute")
    return translate.to_usage(caller.account.month(services().now_ms()))


def event() -> dict[str, Any]:
    raw: dict[str, Any] = app.current_event.raw_event
    return raw


edge.refusing(app, "letsenhance", errors.refusal)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """The document writes its paths with a slash at the end, and without one."""
    return edge.resolve(app, event | {"rawPath": event["rawPath"].rstrip("/")}, context)
