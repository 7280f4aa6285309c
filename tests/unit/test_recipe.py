"""Sizes follow from the recipe alone: what the core refuses and what the engine makes must be the same."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tessera.recipe import Crop, Encode, Operation, Recipe, Resize, Upscale
from tessera.sizes import DoesNotFit, factor_for, inside
from tessera.table import deserialize, serialize

PNG = Encode(format="png")
M = "tessera-fidelity"


@pytest.mark.parametrize(
    ("operation", "size", "expected"),
    [
        (Upscale(model=M, scale=4), (900, 600), (3600, 2400)),
        (Upscale(model=M, width=1600, height=900), (900, 600), (1350, 900)),  # LE-05: never stretched
        (Upscale(model=M, width=1600, height=900, exact=True), (900, 600), (1600, 900)),
        (Upscale(model=M, width=1333), (500, 333), (1333, 888)),
        (Upscale(model=M, height=7), (1000, 1), (7000, 7)),
        (Upscale(model=M, width=7), (1000, 1), (7, 1)),
        (Resize(width=400, height=400), (1000, 500), (400, 200)),
        (Resize(width=4000), (1000, 500), (1000, 500)),
        (Resize(width=4000, enlarge=True), (1000, 500), (4000, 2000)),
        (Resize(width=400, height=400, mode="cover"), (1000, 500), (400, 400)),
        (Resize(width=400, height=800, mode="cover"), (1000, 500), (400, 500)),
        (Resize(width=400, height=800, mode="cover", enlarge=True), (1000, 500), (400, 800)),
        (Resize(width=400, height=800, mode="stretch"), (1000, 500), (400, 500)),
        (Resize(width=400, height=800, mode="pad"), (1000, 500), (400, 800)),
        (Crop(width=0.5, height=0.25, unit="fractions"), (1000, 500), (500, 125)),
        (Crop(width=10, height=20, left=990, top=480), (1000, 500), (10, 20)),
    ],
)
def test_sizes(operation: Operation, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert operation.size(*size) == expected


@pytest.mark.parametrize("width", [1, 3, 333, 500, 997])
@pytest.mark.parametrize("height", [1, 2, 667, 1000])
@pytest.mark.parametrize("box", [(1, 1), (10, 1000), (1600, 900), (999, 1001)])
def test_a_box_is_met_exactly_on_one_side(width: int, height: int, box: tuple[int, int]) -> None:
    across, down = inside(width, height, *box)
    assert (across == box[0] or down == box[1]) and 1 <= across <= box[0] and 1 <= down <= box[1]


@pytest.mark.parametrize(
    ("target", "factor"),
    [((100, 50), 1), ((40, 50), 1), ((101, 50), 2), ((209, 104), 2), ((211, 105), 4), ((100, 400), 8), ((5000, 9), 8)],
)
def test_the_nearest_factor_that_reaches_the_target(target: tuple[int, int], factor: int) -> None:
    assert factor_for((100, 50), target) == factor


@pytest.mark.parametrize(
    ("crop", "region"),
    [
        (Crop(width=100, height=50), (450, 225, 550, 275)),
        (Crop(width=100, height=50, gravity="north_west"), (0, 0, 100, 50)),
        (Crop(width=100, height=50, gravity="south_east"), (900, 450, 1000, 500)),
        (Crop(width=0.3333, height=0.5, left=0.6667, top=0.5, unit="fractions"), (667, 250, 1000, 500)),
    ],
)
def test_a_crop_lies_where_it_says(crop: Crop, region: tuple[int, int, int, int]) -> None:
    assert crop.region(1000, 500) == region


@pytest.mark.parametrize("place", [{"width": 1001}, {"left": 996, "top": 0}, {"left": 0, "top": 491}])
def test_a_crop_beyond_the_picture_says_so(place: dict[str, Any]) -> None:
    with pytest.raises(DoesNotFit, match="1000 x 500"):
        Crop(**{"width": 10, "height": 10} | place).size(1000, 500)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Upscale, {"model": M}),
        (Upscale, {"model": M, "scale": 2, "width": 9}),
        (Upscale, {"model": M, "width": 9, "exact": True}),
        (Upscale, {"model": M, "width": 0}),
        (Resize, {}),
        (Resize, {"width": 9, "mode": "cover"}),
        (Resize, {"width": 9, "colour": "white"}),
        (Crop, {"width": 1.5, "height": 1}),
        (Crop, {"width": 9, "height": 9, "left": 1}),
        (Crop, {"width": 0.6, "height": 1, "left": 0.5, "top": 0, "unit": "fractions"}),
        (Crop, {"width": float("nan"), "height": 1}),
    ],
)
def test_what_makes_no_sense_is_refused(kind: type[Operation], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**fields)


def test_sizes_add_up_over_a_recipe() -> None:
    recipe = Recipe(operations=(Crop(width=100, height=50), Upscale(model=M, scale=4), Resize(width=300), PNG))
    assert [size for _, size in recipe.sizes(200, 200)] == [(100, 50), (400, 200), (300, 150), (300, 150)]
    assert recipe.size(200, 200) == (300, 150)
    assert recipe.scale() is None


def test_only_a_recipe_of_scales_limits_the_number_of_input_pixels() -> None:
    twice = (Upscale(model=M, scale=2), Upscale(model=M, scale=4), PNG)
    assert Recipe(operations=twice).scale() == 8
    assert Recipe(operations=twice).max_input_pixels(6400) == 100
    assert Recipe(operations=(Resize(width=5), *twice)).max_input_pixels(6400) == 6400


def test_a_recipe_with_fractions_survives_the_table() -> None:
    recipe = Recipe(operations=(Crop(width=0.5, height=0.25, unit="fractions"), Upscale(model=M, width=99), PNG))
    row = deserialize(serialize({"recipe": recipe.model_dump(mode="json", exclude_none=True)}))
    assert Recipe.model_validate(row["recipe"]) == recipe
