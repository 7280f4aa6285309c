"""What API functions say about networks and formats is what the engine knows of them."""

from __future__ import annotations

import pytest
from tessera import catalogue, estimates
from tessera.recipe import Encode, Recipe, Upscale
from tessera.settings import Settings
from tessera_engine import encoders, models

SETTINGS = Settings(table="t", bucket="b", work_queue_url="q")


def test_the_networks_are_those_of_the_engine() -> None:
    assert set(catalogue.BY_NAME) == set(models.CATALOGUE)
    for name, network in catalogue.BY_NAME.items():
        model = models.CATALOGUE[name]
        assert (network.licence, network.description) == (model.licence, model.description)
        assert network.shipped == (model in models.SHIPPED)
        assert all(model.needed(scale) for scale in catalogue.SCALES)
    assert tuple(models.PASSES) == catalogue.SCALES
    assert catalogue.default(SETTINGS).name == models.DEFAULT.name == catalogue.PHOTO.name


def test_the_formats_limits_are_those_of_the_encoders() -> None:
    assert {facts.name: facts.max_side for facts in catalogue.FORMATS} == encoders.MAX_SIDE
    for facts in catalogue.FORMATS:
        for lossless in (False, True):
            limits = catalogue.format_limits(facts.name, lossless)
            assert limits.max_pixels == encoders.most_pixels(Encode(format=facts.name, lossless=lossless))


def test_titles_differ() -> None:
    assert len({network.title for network in catalogue.NETWORKS}) == len(catalogue.NETWORKS)


@pytest.mark.parametrize(
    ("scale", "rate", "seconds"),
    # one megapixel: START, then its time with 1.28 for reading, preview and JPEG
    [(4, 0.0, 1 + 1.28 / 4), (8, 0.0, 1 + 5 * 1.28 / 4), (4, 16.0, 1 + 1.28 / 16)],
)
def test_an_estimates_seconds_follow_from_the_workers_rate(scale: int, rate: float, seconds: float) -> None:
    settings = SETTINGS.model_copy(update={"worker_megapixels_per_second": rate})
    upscale = Upscale.model_validate({"model": "tessera-photo", "scale": scale})
    recipe = Recipe(operations=(upscale, Encode(format="jpeg")))
    assert estimates.estimate(settings, recipe, [(1000, 1000)]).seconds == round(seconds, 1)
