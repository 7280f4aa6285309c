"""A request's parts beside its operations: the image's URL, the webhook, the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tessera import stores, webhooks
from tessera.addresses import check_url
from tessera.errors import Invalid
from tessera.settings import SECONDS, Settings
from tessera.stores import Store
from tessera.webhooks import Hook

from visualapi import operations

MAX_DELAY = 86_400  # seconds
PARTS = frozenset({"url", "webhook", "store"})


def check_names(wish: Mapping[str, Any]) -> None:
    """Raises Invalid for an operation that there is not: nothing that was asked for is passed over in silence."""
    known = operations.names() | PARTS
    if unknown := next((name for name in wish if name not in known), None):
        raise Invalid(f"Unknown operation '{unknown}'")


def url(settings: Settings, wish: Mapping[str, Any]) -> str:
    """Raises Invalid for one that cannot be fetched; what its name resolves to is checked when it is."""
    given = wish.get("url")
    if not isinstance(given, str) or not given:
        raise Invalid("'url' parameter must be the address of a publicly available image")
    check_url(given, settings)
    return given


def webhook(settings: Settings, wish: Mapping[str, Any]) -> Hook | None:
    """{"url", "delay"}: whole seconds from 1 to a day, 0 where it is left out. Raises Invalid."""
    given = wish.get("webhook")
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("url"), str):
        raise Invalid("Webhook 'url' parameter is required")
    if unknown := next((field for field in given if field not in ("url", "delay")), None):
        raise Invalid(f"Webhook has no parameter '{unknown}'")
    delay = given.get("delay", 0)
    if type(delay) is not int or not 0 <= delay <= MAX_DELAY:
        raise Invalid(f"Webhook 'delay' parameter must be an integer from 1 to {MAX_DELAY}")
    webhooks.check(given["url"], settings)
    return Hook.after(given["url"], delay * SECONDS)


def store(settings: Settings, wish: Mapping[str, Any], name: str) -> Store | None:
    """Signs for the caller's bucket at once, so that its secret is not kept. Raises Invalid."""
    given = wish.get("store")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Invalid("'store' parameter must be an object")
    if str(given.get("provider", "s3")).lower() not in ("s3", "aws"):
        raise Invalid("Store 'provider' parameter must be 's3': no other one is available")
    return stores.in_s3(settings, given, name)
