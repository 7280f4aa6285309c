"""What the API is, for programs (/openapi.json) and for people (/reference). Needs no key and has no permission."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from jsonapi import edge

from reference.document import document
from reference.page import STYLE, page

HEADERS = {
    "Cache-Control": "public, max-age=300",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

app = APIGatewayHttpResolver()


@app.get("/openapi.json")
def openapi() -> Response[str]:
    return told("application/json", json.dumps(document(), ensure_ascii=False))


@app.get("/reference")
def reference() -> Response[str]:
    return told("text/html; charset=utf-8", page(document()))


@app.get("/reference/style.css")
def style() -> Response[str]:
    return told("text/css; charset=utf-8", STYLE)


def told(content_type: str, body: str) -> Response[str]:
    return Response(status_code=200, content_type=content_type, body=body, headers=dict(HEADERS))


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return edge.resolve(app, event, context)
