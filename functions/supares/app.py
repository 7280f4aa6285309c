"""SupaRes' routes, under /supares/1.0: its paths are also another vendor's. The document: docs/dialects/supares.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from jsonapi import callers
from tessera import accounts, credits, http, starts, tasks, uploads
from tessera.accounts import Caller
from tessera.errors import Invalid, NotFound
from tessera.services import services
from tessera.starts import Wanted
from visualapi import edge, operations, requests

from supares import translate

Json = dict[str, Any]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

app = APIGatewayHttpResolver(strip_prefixes=["/supares"])


@app.get("/1.0/account")
def account() -> dict[str, Any]:
    return translate.to_account(authenticated().account, services().now_ms())


@app.post("/1.0/fetch")
def fetch() -> Response[str]:
    caller = authenticated()
    wish = http.json_object(http.body(event()))
    requests.check_names(wish)
    url = requests.url(services().settings, wish)
    return started(caller, wish, wish, lambda: Wanted.fetched(services(), url))


@app.post("/1.0/upload")
def upload() -> Response[str]:
    caller = authenticated()
    form = http.form(http.body(event()), http.header(event(), "content-type"))
    wish = _data(form)
    requests.check_names(wish)
    if "url" in wish:
        raise Invalid("'url' parameter belongs to Image Fetch")
    images = [part for name, part in form.files if name == "file"]
    if len(images) != 1 or not images[0].body:
        raise Invalid("One image is required, as 'file'")

    def stored() -> Wanted:
        credits.require(caller.account, 1)
        return Wanted.of(uploads.store(services(), caller.account.id, images[0].name, images[0].body))

    return started(caller, wish, wish | {"file": images[0].digest}, stored)


@app.get("/1.0/results/<number>")
def results(number: str) -> Response[str]:
    caller = authenticated()
    view = tasks.get(services(), caller.account.id, translate.from_id(number))
    return answered(translate.to_results(services(), view))


@app.route("(.+)", method=METHODS)  # with a group it comes after the others
def unknown() -> Response[str]:
    """What there is not. Asking for it is a call too: it needs a key, and counts."""
    authenticated()
    raise NotFound


def started(caller: Caller, wish: Json, content: Json, image: Callable[[], Wanted]) -> Response[str]:
    """`content` makes a request another one; `image` stores what was sent, once the rest is known to be good."""
    recipe = operations.recipe(services().settings, wish)
    hook = requests.webhook(services().settings, wish)
    store = requests.store(services().settings, wish, translate.name(recipe))
    same = callers.once(caller.account.id, event(), event()["rawPath"], lambda: content)
    who = accounts.credential(services(), edge.key_of(event()))
    task = starts.repeated(services(), who, same, counted=True) if same else None
    if task is None:
        terms, correlation = translate.terms(hook, store), http.correlation_id(event())
        task = starts.start(services(), who, (image(),), recipe, same, correlation, terms)
    return answered(translate.to_accepted(task))


def _data(form: http.Form) -> dict[str, Any]:
    """The steps: a JSON object in the part `data`. Raises Invalid."""
    texts = [text for name, text in form.fields if name == "data"]
    # clients that give every part a file's name
    texts += [part.body.decode("utf-8", "replace") for name, part in form.files if name == "data"]
    if len(texts) != 1:
        raise Invalid("The requested operations are required, as JSON in 'data'")
    return http.json_object(texts[0].encode())


def event() -> dict[str, Any]:
    raw: dict[str, Any] = app.current_event.raw_event
    return raw


def authenticated() -> Caller:
    return edge.caller(services(), event(), app.context["turn"])


# ---------------------------------------------------------------- answers


def answered(body: dict[str, Any]) -> Response[str]:
    """The status is what the body says."""
    return Response(status_code=body["code"], content_type="application/json", body=json.dumps(body))


edge.refusing(app, "supares")


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return edge.resolve(app, services(), event, context)
