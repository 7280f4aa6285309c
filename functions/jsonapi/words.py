"""What an API says to an error: a status and a sentence, looked up along the error's ancestors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar


class Said(NamedTuple):
    status: int
    message: Callable[[Any], str]


Words = TypeVar("Words")


def always(message: str) -> Callable[[Any], str]:
    return lambda _: message


def nearest(table: Mapping[type[Exception], Words], error: Exception, otherwise: Words) -> Words:
    """Of the error's class, or else of its nearest ancestor in the table."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), otherwise)
