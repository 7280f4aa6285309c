"""Modal on this machine. Nothing of it is imported where the template's parameters do not ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..template import TemplateError

if TYPE_CHECKING:
    from .provider import Provider


@contextmanager
def provider_for(parameters: Mapping[str, str], folder: Path) -> Iterator[Provider | None]:
    """With gpu_app.py deployed, where the template's parameters ask for Modal; None where they do not."""
    if parameters.get("Worker") != "modal":
        yield None
        return
    try:
        from .provider import Provider
    except ModuleNotFoundError as error:
        raise TemplateError("Worker=modal needs Modal's client: make .venv/test") from error
    with Provider(folder) as provider:
        provider.deploy()
        yield provider
