"""SUP-07, LE-30: a picture by its URL on the running stack: its own function, real events, the real engine.

The start is the core's, with an operator's access to the stack: how an API asks for it is that API's own test.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image
from tessera import accounts, ids, starts
from tessera.recipe import Encode, Recipe, SourceFormat, Upscale
from tessera.services import Services
from tessera.starts import Terms, Wanted

from infra import admin
from infra.local.stack import Stack
from tests.e2e.conftest import Session
from tests.served import Answer, Served

RECIPE = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png")))
FORMATS: tuple[SourceFormat, ...] = ("jpeg", "tiff", "png", "bmp", "webp")


def tiff() -> bytes:
    """More than one part of what is stored while it is fetched."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 40, 90)).save(buffer, "tiff")
    return buffer.getvalue() + bytes(9 * 1024 * 1024)


def answer(path: str) -> Answer:
    if path == "/moved":
        return Answer(302, {"Location": "/a%20picture.tif"}, ())
    if path == "/inside":
        return Answer(302, {"Location": "http://169.254.169.254/latest/meta-data/"}, ())
    return Answer.of(tiff())


@pytest.fixture(scope="module")
def source() -> Iterator[Served]:
    with Served(answer) as server:
        yield server


@pytest.fixture(scope="module")
def parameters(source: Served) -> dict[str, str]:
    return {"AllowedAddresses": source.allowed}


@pytest.fixture
def services(stack: Stack, source: Served) -> Services:
    found = admin.local(stack.logs.parent)[0]
    return replace(found, settings=found.settings.model_copy(update={"allowed_addresses": source.allowed}))


def start(services: Services, session: Session, url: str) -> str:
    who = accounts.credential(services, session.key)
    wanted = (Wanted.fetched(services, url),)
    return ids.to_uuid(starts.start(services, who, wanted, RECIPE, terms=Terms(formats=FORMATS)))


def test_sup_07_le_30_a_picture_is_fetched_by_its_url_and_comes_back_enlarged(
    services: Services, session: Session, source: Served
) -> None:
    ended = session.ended(start(services, session, f"{source.url}/moved"))
    assert ended["status"] == "completed", ended
    (file,) = ended["files"]
    assert (file["fileType"], file["originalFileName"]) == ("image/tiff", "moved")
    result = Image.open(io.BytesIO(session.http.get(file["downloadLink"]).content))
    assert result.size == (160, 120)
    assert source.asked[-2:] == ["/moved", "/a%20picture.tif"]


def test_le_30_a_redirect_into_the_network_is_refused_and_paid_back(
    services: Services, session: Session, source: Served
) -> None:
    ended = session.ended(start(services, session, f"{source.url}/inside"))
    assert (ended["status"], ended["deductedCredits"]) == ("failed", 0)
    assert ended["files"][0]["error"] == "The picture's address is not allowed"
