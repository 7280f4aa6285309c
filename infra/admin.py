"""What an operator does to accounts, with their own AWS credentials: the API has no routes for it."""

from __future__ import annotations

from typing import Literal

from tessera import accounts, credits
from tessera.errors import Unauthorized
from tessera.services import Services


def create_account(services: Services, key: str | None = None, amount: int = 0) -> str:
    """Makes an account with a key and credits; returns the key.

    A key brought along that is valid already keeps its account, which is topped up to `amount`.
    """
    if key is not None:
        try:
            account = accounts.check(services, accounts.credential(services, key)).account
        except Unauthorized:
            pass  # a new key
        else:
            if account.balance < amount:
                credits.grant(services, account.id, amount - account.balance, "top-up")
            return key
    account_id = accounts.create(services)
    key = accounts.add_key(services, account_id, key)
    if amount:
        credits.grant(services, account_id, amount, "initial")
    return key


def settle_vocabulary(services: Services, key: str, words: Literal["documented", "observed"]) -> None:
    """Fixes the status words that Upscayl's routes use for a key, whatever the shape of its bodies.

    Raises Unauthorized for an unknown key.
    """
    accounts.describe_key(services, key, {"vocabulary": words})
