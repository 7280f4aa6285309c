"""One round over many rows, as a schedule makes it: a row that fails keeps no other waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def each(things: Iterable[T], act: Callable[[T], object]) -> int:
    """Acts on each and returns how many there were. What was raised meanwhile flies at the end, as one group."""
    seen = 0
    broken: list[Exception] = []
    for thing in things:
        seen += 1
        try:
            act(thing)
        except Exception as error:
            broken.append(error)
    if broken:
        raise ExceptionGroup(f"{len(broken)} of {seen} failed", broken)
    return seen
