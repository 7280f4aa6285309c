"""Each night: whether every account's balance is what its ledger says."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from tessera import audit
from tessera.services import services


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    found = audit.audit(services())
    audit.tell(found)
    return {"accounts": found.accounts, "mismatches": len(found.mismatches), "unsettled": len(found.unsettled)}
