"""S3 ObjectCreated under uploads/ -> probe the header, record the upload, send or fail the files that wait for it."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import events, lifecycle, storage, uploads
from tessera.observability import logger
from tessera.services import services


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return events.each_record(event, context, on_message)


def on_message(body: str) -> None:
    for key in events.created_keys(body):
        owner = storage.parse_upload_key(key)
        if owner is None:
            continue
        upload = uploads.arrived(services(), *owner)
        if upload is None:
            continue
        logger.info(upload.state, account=owner[0], upload=owner[1], bytes=upload.size)
        if upload.wanted:
            lifecycle.upload_known(services(), upload)
