"""Let's Enhance, what becomes of a picture, by the real engine: LE-05 to LE-11, LE-13."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import pytest
from letsenhance import schemas, translate
from PIL import Image, ImageStat
from tessera.job import Limits
from tessera.recipe import Denoise, LowLight, Sharpen, Tone
from tessera_engine.pipeline import carry_out

from tests.contract.letsenhance import MARKETPLACE, PRINT, REALESTATE, SAMPLES, Api
from tests.world import ROOT, World

SAMPLE = ROOT / "infra/local/sample/lighthouse.jpg"
LIMITS = Limits(max_input_pixels=1_000_000, max_output_pixels=4_000_000)


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"allowed_addresses": "127.0.0.1/32"}


@cache
def source() -> bytes:
    """90 x 60, in the document's aspect: a part of a photo, darkened, and stored badly."""
    part = Image.open(SAMPLE).crop((180, 60, 330, 160)).resize((90, 60)).point([level // 3 for level in range(256)] * 3)
    buffer = io.BytesIO()
    part.save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def enlarged(enhance: Api, **changes: Any) -> Image.Image:
    """What the engine makes of the recipe that a request becomes, as it is stored."""
    operation = MARKETPLACE | {"width": 180, "height": 120} | changes
    recipe = enhance.task(enhance.submit(operations=[operation])).task.recipe
    product = carry_out(recipe, source(), LIMITS, stand_in="allow", listener=lambda share: None, isolated=False)
    image = Image.open(io.BytesIO(product.encoded))
    image.info["bytes"] = len(product.encoded)
    return image


def light(image: Image.Image) -> float:
    return float(ImageStat.Stat(image.convert("L")).mean[0])


def contrast(image: Image.Image) -> float:
    return float(ImageStat.Stat(image.convert("L")).stddev[0])


BOXES = {
    (160, 90): (135, 90),
    (160, 160): (160, 107),
    (180, None): (180, 120),
    (None, 90): (135, 90),
    (45, 45): (45, 30),
    (None, None): (90, 60),
}


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_le_05_the_aspect_is_kept_whatever_the_box(enhance: Api, box: tuple[int | None, int | None]) -> None:
    """900 x 600 into 1600 x 900 is 1350 x 900, and so is its tenth."""
    assert enlarged(enhance, width=box[0], height=box[1]).size == BOXES[box]


def test_le_05_the_rows_own_numbers(enhance: Api) -> None:
    result = enhance.result(operations=[REALESTATE])
    assert result["output_object"]["size"] == [1350, 900]


def test_le_06_the_box_is_reached(enhance: Api) -> None:
    assert enlarged(enhance).size == (180, 120)


def test_le_07_a_higher_level_does_more_at_every_step(world: World) -> None:
    recipes = [recipe(world, {"op": "preset/marketplace", "restoration_level": level}) for level in range(1, 11)]
    done = [
        sum(
            (step.strength / 100 + step.artifacts) if isinstance(step, Denoise) else step.amount
            for step in made
            if isinstance(step, Denoise | Sharpen)
        )
        for made in recipes
    ]
    assert done == sorted(set(done))


def test_le_08_a_dark_picture_is_lit_by_the_intensity(enhance: Api) -> None:
    lit = [light(enlarged(enhance, toneai_intensity=0, lightai_intensity=share)) for share in (0, 0.5, 1.0)]
    assert lit[0] + 5 < lit[1] and lit[1] + 5 < lit[2]


def test_le_09_tone_stretches_contrast(enhance: Api) -> None:
    made = [contrast(enlarged(enhance, lightai_intensity=0, toneai_intensity=share)) for share in (0, 0.5, 1.0)]
    assert made[0] + 2 < made[1] and made[1] + 2 < made[2]


@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_le_08_le_09_without_an_intensity_no_colour_is_touched(world: World, op: str) -> None:
    untouched = recipe(world, {"op": op, "width": 180, "restoration_level": 10})
    assert not any(isinstance(step, LowLight | Tone) for step in untouched)


@pytest.mark.parametrize(("kind", "magic"), [("JPEG", "JPEG"), ("PNG", "PNG"), ("png", "PNG")])
def test_le_10_the_format_by_the_files_own_bytes(enhance: Api, kind: str, magic: str) -> None:
    assert enlarged(enhance, image_format=kind).format == magic


def test_le_11_quality_is_bytes_of_a_jpeg(enhance: Api) -> None:
    sizes = [enlarged(enhance, quality=quality).info["bytes"] for quality in (40, 75, 95)]
    assert sizes == sorted(sizes) and sizes[2] > 1.5 * sizes[1]
    same = [enlarged(enhance, image_format="PNG", quality=quality).info["bytes"] for quality in (40, 95)]
    assert same[0] == same[1]


@pytest.mark.parametrize(("kind", "dpi"), [("JPEG", 300), ("JPEG", 72), ("PNG", 300)])
def test_le_13_the_density_is_written_into_the_file(enhance: Api, kind: str, dpi: int) -> None:
    image = enlarged(enhance, **PRINT | {"width": 180, "height": 120, "dpi": dpi, "image_format": kind})
    assert [round(float(density)) for density in image.info["dpi"]] == [dpi, dpi]
    if kind == "JPEG":
        assert (image.info["jfif_unit"], image.info["jfif_density"]) == (1, (dpi, dpi))


def test_the_presets_differ(world: World) -> None:
    recipes = {recipe(world, SAMPLES["preset/marketplace"] | {"op": op}) for op in SAMPLES}
    assert len(recipes) == len(SAMPLES)


def recipe(world: World, operation: dict[str, Any]) -> Any:
    return translate.from_operation(world.services.settings, schemas.Operation.model_validate(operation)).operations
