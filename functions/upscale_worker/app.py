"""SQS job -> the engine on this machine's CPU. Needs no permission: the job carries its links.

A failed picture is told by the failure object, so its message is done; an exception (the result could not be written)
leaves the message to the queue, and the file to the watchdog.
"""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera.job import Job
from tessera_engine import worker
from tessera_engine.models import StandIn
from tessera_engine.tiling import MEMORY


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    stand_in: StandIn = "allow" if os.environ.get("TESSERA_STAND_IN") == "allow" else "refuse"
    memory = int(os.environ.get("TESSERA_TILE_MEMORY", MEMORY))
    for record in event["Records"]:
        worker.run(Job.model_validate_json(record["body"]), stand_in=stand_in, memory=memory)
