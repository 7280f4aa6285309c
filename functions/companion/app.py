"""What Uppy's `@uppy/aws-s3` asks its Companion server, under a path that holds an upload token. docs/uppy.md

The token is asked for before anything else is said. One that is unknown, expired or revoked, an upload of somebody
else's and a path that does not exist are answered alike.
"""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from jsonapi import edge
from jsonapi.errors import refusal as refusal_with
from jsonapi.schemas import parse
from tessera import accounts, http, tokens
from tessera.services import services
from tessera.tokens import Multipart, Token

from companion import errors, schemas, translate

app = APIGatewayHttpResolver()


@app.post("/v1/upload-tokens")
def create_token() -> dict[str, Any]:
    who = accounts.credential(services(), http.header(event(), "x-api-key"))
    caller = accounts.authenticate(services(), who, "upload")
    wish = parse(schemas.CreateToken, json_body() if event().get("body") else {})
    secret, token = tokens.create(services(), caller, translate.from_create(wish))
    return translate.to_token(secret, token, base_url())


@app.get("/u/<secret>/s3/params")
def begin_form(secret: str) -> dict[str, Any]:
    token = tokens.find(services(), secret, "upload")
    wish = parse(schemas.Begin, translate.nested(query()))
    return translate.to_form(*tokens.begin_form(services(), token, translate.from_begin(wish)))


@app.post("/u/<secret>/s3/multipart")
def begin_parts(secret: str) -> dict[str, Any]:
    token = tokens.find(services(), secret, "upload")
    wish = parse(schemas.Begin, json_body())
    upload = tokens.begin_parts(services(), token, translate.from_begin(wish))
    return translate.to_begun(upload, services().storage.bucket)


@app.get("/u/<secret>/s3/multipart/<upload_id>/batch")
def sign_batch(secret: str, upload_id: str) -> dict[str, Any]:
    token, upload = asked(secret, upload_id)
    wish = parse(schemas.SignBatch, query())
    return translate.to_batch(*tokens.sign_parts(services(), token, upload, wish.partNumbers))


@app.get("/u/<secret>/s3/multipart/<upload_id>/<number>")
def sign_part(secret: str, upload_id: str, number: str) -> dict[str, Any]:
    token, upload = asked(secret, upload_id)
    wish = parse(schemas.SignPart, {"partNumber": number})
    links, seconds = tokens.sign_parts(services(), token, upload, [wish.partNumber])
    return {"url": links[wish.partNumber], "expires": seconds}


@app.get("/u/<secret>/s3/multipart/<upload_id>")
def list_parts(secret: str, upload_id: str) -> Response[str]:
    token, upload = asked(secret, upload_id)
    parts = tokens.list_parts(services(), token, upload)
    return Response(200, "application/json", json.dumps(translate.to_parts(parts)))


@app.post("/u/<secret>/s3/multipart/<upload_id>/complete")
def complete(secret: str, upload_id: str) -> dict[str, Any]:
    token, upload = asked(secret, upload_id)
    wish = parse(schemas.Complete, json_body())
    tokens.complete(services(), token, upload, translate.from_parts(wish))
    return translate.to_completed(upload, services().storage)


@app.delete("/u/<secret>/s3/multipart/<upload_id>")
def abort(secret: str, upload_id: str) -> dict[str, Any]:
    token, upload = asked(secret, upload_id)
    tokens.abort(services(), token, upload)
    return {}


def asked(secret: str, upload_id: str) -> tuple[Token, Multipart]:
    """Who asks, and for which upload. Whether it is theirs, `tokens` says."""
    token = tokens.find(services(), secret)
    wish = parse(schemas.UploadInParts, {"key": query().get("key"), "uploadId": upload_id})
    return token, Multipart(wish.key, wish.uploadId)


def event() -> dict[str, Any]:
    raw: dict[str, Any] = app.current_event.raw_event
    return raw


def query() -> dict[str, str]:
    return event().get("queryStringParameters") or {}


def json_body() -> dict[str, Any]:
    return http.json_object(http.body(event()))


def base_url() -> str:
    """The address under which the caller has reached the API."""
    scheme = http.header(event(), "x-forwarded-proto") or "https"
    return f"{scheme}://{event()['requestContext']['domainName']}"


# ---------------------------------------------------------------- answers


def refusal(error: Exception) -> Response[str]:
    return refusal_with(error, errors.answer_to(error))


edge.refusing(app, "companion", refusal)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return edge.resolve(app, event, context)
