"""What a webhook says: the words of the API that its task was started by, as that API's own status would be at the
moment. The one event function that knows dialects, so that there is one renderer for both (docs/decisions.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from letsenhance import translate as letsenhance
from native import translate
from supares import translate as supares
from tessera import results
from tessera.services import Services
from tessera.tasks import View

Render = Callable[[Services, View], dict[str, Any]]


def ours(services: Services, view: View) -> dict[str, Any]:
    return translate.to_ended(view, [results.links(services, file) for file in view.files])


BODIES: dict[str, Render] = {"letsenhance": letsenhance.to_shown, "supares": supares.to_results}
"""By `Task.dialect`; all others are told in our own words."""


def render(services: Services, view: View) -> dict[str, Any]:
    return BODIES.get(view.task.dialect, ours)(services, view)
