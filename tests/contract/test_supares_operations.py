"""SUP-18, SUP-19: what can be asked for, by which names, and what is then done to a picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera.recipe import Denoise, Encode, EnhanceFace, LowLight, Operation, Recipe, Thumbnail, Tone, Upscale
from tessera.settings import Settings
from visualapi import operations

from tests.contract.supares import Answer, Api, engine
from tests.world import World, encoded, key_of

BAD_FACTOR = "Super-resolution 'factor' parameter must be a positive integer"
SETTINGS = Settings(table="t", bucket="b", work_queue_url="q")
WITH_FACES = SETTINGS.model_copy(update={"faces": "installed"})
SUPER_RESOLUTION = ("superres", "super_resolution", "upscale")
FACES = ("face_enhancement", "faces", "face")
LOW_LIGHT = ("low_light", "low_light_boost", "lowlight")
TONE = ("tone", "tone_adjustments")
NOISE = ("noise_removal", "denoise", "noise")


@pytest.fixture
def api(world: World) -> Api:
    return Api.of(world)


def steps(recipe: Recipe) -> tuple[Operation, ...]:
    """Those that change the picture; what always comes after them is checked here."""
    *found, thumbnail, encode = recipe.operations
    assert isinstance(thumbnail, Thumbnail) and isinstance(encode, Encode)
    return tuple(found)


def asked(wish: dict[str, Any], settings: Settings = SETTINGS) -> tuple[Operation, ...]:
    return steps(operations.recipe(settings, wish))


def refused(answer: Answer) -> str:
    assert answer.status == 422, answer.body
    return str(answer.body["message"])


# ---------------------------------------------------------------- the factor


@pytest.mark.parametrize(
    "value",
    [*({"factor": factor} for factor in (0, -1, "2", 1.5, 2.0, True, None, [2], {}, "", -(10**30))),
     {}, {"scale": 2}, [], [2], [{"factor": 2}], 2, "2", True],
)  # fmt: skip
def test_sup_18_a_factor_that_is_no_positive_integer(world: World, api: Api, value: Any) -> None:
    for spelling in SUPER_RESOLUTION:
        for wish in ({spelling: value}, {"enhance": {spelling: value}}):
            assert refused(api.fetch(**wish)) == BAD_FACTOR
            assert refused(api.upload(b"any", **wish)) == BAD_FACTOR
    assert world.balance(api.key) == 100


@pytest.mark.parametrize("factor", [5, 6, 7, 9, 16, 10**30])
def test_sup_18_a_factor_that_no_network_has_is_told_which_there_are(api: Api, factor: int) -> None:
    assert refused(api.fetch(superres={"factor": factor})).endswith("one of 1, 2, 3, 4, 8")


@pytest.mark.parametrize("spelling", SUPER_RESOLUTION)
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_sup_18_sup_19_c_22_super_resolution_by_three_names_and_inside_enhance(spelling: str, factor: int) -> None:
    made = (Upscale(model="tessera-photo", scale=factor),)  # type: ignore[arg-type]
    assert asked({spelling: {"factor": factor}}) == made
    assert asked({"enhance": {spelling: {"factor": factor}}}) == made


def test_sup_18_a_factor_of_1_is_one_and_enlarges_nothing() -> None:
    assert asked({"superres": {"factor": 1}}) == ()


# ---------------------------------------------------------------- the others


@pytest.mark.parametrize(
    ("spellings", "value", "made"),
    [
        (FACES, True, EnhanceFace()),
        (FACES, {}, EnhanceFace()),
        (LOW_LIGHT, True, LowLight(intensity=1)),
        (LOW_LIGHT, {}, LowLight(intensity=1)),
        (LOW_LIGHT, 0.25, LowLight(intensity=0.25)),
        (LOW_LIGHT, {"intensity": 0.5}, LowLight(intensity=0.5)),
        (NOISE, True, Denoise(strength=100)),
        (NOISE, {}, Denoise(strength=100)),
        (NOISE, 1, Denoise(strength=100)),
        (NOISE, {"strength": 0.255}, Denoise(strength=26)),
        (TONE, True, Tone(levels=1, balance=0.5)),
        (TONE, {}, Tone(levels=1, balance=0.5)),
        (TONE, {"levels": 0.5}, Tone(levels=0.5)),
        (TONE, {"exposure": -3, "contrast": 1, "saturation": -1, "temperature": 0.5, "balance": 1},
         Tone(exposure=-3, contrast=1, saturation=-1, temperature=0.5, balance=1)),
    ],
)  # fmt: skip
def test_sup_19_every_operation_by_every_name(spellings: tuple[str, ...], value: Any, made: Operation) -> None:
    for spelling in spellings:
        assert asked({spelling: value}, WITH_FACES) == (made,)
        assert asked({"enhance": {spelling: value}}, WITH_FACES) == (made,)


def test_sup_19_they_are_done_in_an_order_of_ours_whatever_theirs() -> None:
    wish: dict[str, Any] = {
        "tone": True, "low_light": True, "face_enhancement": True, "superres": {"factor": 2}, "denoise": True,
    }  # fmt: skip
    kinds = [Denoise, Upscale, EnhanceFace, LowLight, Tone]
    assert [type(step) for step in asked(wish, WITH_FACES)] == kinds
    assert [type(step) for step in asked({"enhance": wish}, WITH_FACES)] == kinds
    apart = {"superres": wish.pop("superres"), "enhance": wish}
    assert [type(step) for step in asked(apart, WITH_FACES)] == kinds


def test_sup_19_without_a_face_model_faces_are_refused_by_name(world: World, api: Api) -> None:
    for spelling in FACES:
        message = refused(api.fetch(**{spelling: True}))
        assert message == "Face enhancement is not available on this server: it has no face model installed"
    assert world.balance(api.key) == 100


@pytest.mark.parametrize(
    ("wish", "about"),
    [
        ({}, "At least one operation"),
        ({"superres": None}, "At least one operation"),
        ({"tone": False}, "At least one operation"),
        ({"enhance": {}}, "At least one operation"),
        ({"output": {"format": "png"}}, "At least one operation"),
        ({"enhance": []}, "'enhance'"),
        ({"enhance": {"sharpness": 1}}, "'sharpness'"),
        ({"colorize": True}, "'colorize'"),
        ({"superres": {"factor": 2}, "upscale": {"factor": 2}}, "'upscale'"),
        ({"superres": {"factor": 2}, "enhance": {"superres": {"factor": 2}}}, "'superres'"),
        ({"superres": {"factor": 2, "model": "x"}}, "'model'"),
        ({"faces": "yes"}, "'face_enhancement'"),
        ({"faces": {"strength": 1}}, "'strength'"),
        *(({"low_light": value}, "'low_light'") for value in (-0.1, 1.1, "1", [], {"intensity": True}, {"a": 1})),
        *(({"denoise": value}, "'noise_removal'") for value in (-1, 2, "1", [1], {"strength": None}, {"a": 1})),
        *(({"tone": value}, "'tone'") for value in (1, "x", [], {"contrast": 1.5}, {"levels": -1}, {"exposure": "1"})),
        *(({"superres": {"factor": 2}, "output": value}, "utput") for value in
          ([], "png", True, {"format": "gif"}, {"format": 7}, {"quality": 0}, {"quality": True}, {"a": 1},
           {"lossless": "yes"})),
    ],
)  # fmt: skip
def test_sup_19_what_is_no_operation_is_422_by_name(world: World, api: Api, wish: dict[str, Any], about: str) -> None:
    assert about in refused(api.fetch(**wish))
    assert about in refused(api.upload(b"any", **wish))


def test_sup_19_the_result_is_a_jpeg_unless_asked_otherwise() -> None:
    def output(**wish: Any) -> Encode:
        return operations.recipe(SETTINGS, {"superres": {"factor": 2}, **wish}).encode()

    assert output() == output(output={}) == output(output=None) == Encode(format="jpeg", quality=92)
    assert output(output={"format": "JPG", "quality": 75}) == Encode(format="jpeg", quality=75)
    assert output(output={"format": "webp", "lossless": True}) == Encode(format="webp", quality=92, lossless=True)


# ---------------------------------------------------------------- and what becomes of a picture


def night() -> NDArray[np.uint8]:
    """Dark, bluish and noisy: something to do for everyone."""
    rng = np.random.default_rng(3)
    down, across = np.mgrid[:48, :64]
    light = 20 + 12 * np.sin(across / 9) + 10 * np.cos(down / 7)
    noisy = light[..., None] * (0.6, 0.8, 1.4) + rng.normal(0, 6, (48, 64, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def done(world: World, api: Api, wish: dict[str, Any]) -> NDArray[np.float64]:
    """The picture after the real engine had it."""
    number = api.upload(encoded(Image.fromarray(night())), **wish, output={"format": "png"}).id
    engine(world)
    answer = api.results(number)
    assert answer.status == 200, answer.body
    content = world.services.storage.read(key_of(answer.body["output"]["url"]))
    assert content is not None
    made = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float64)
    assert made.shape == (answer.body["output"]["height"], answer.body["output"]["width"], 3)
    return made


def roughness(picture: NDArray[Any]) -> float:
    return float(np.abs(np.diff(picture.astype(np.float64), axis=1)).mean())


def test_sup_19_super_resolution_runs(world: World, api: Api) -> None:
    assert done(world, api, {"superres": {"factor": 3}}).shape == (144, 192, 3)


def test_sup_19_a_factor_of_1_gives_the_picture_as_it_is(world: World, api: Api) -> None:
    assert np.array_equal(done(world, api, {"superres": {"factor": 1}}), night())


def test_sup_19_low_light_boost_runs(world: World, api: Api) -> None:
    assert done(world, api, {"low_light_boost": True}).mean() > 1.3 * night().mean()


def test_sup_19_tone_adjustments_run(world: World, api: Api) -> None:
    assert done(world, api, {"tone_adjustments": {"exposure": 1}}).mean() > 1.5 * night().mean()
    made = done(world, api, {"tone_adjustments": True})
    assert made.max() - made.min() > int(night().max()) - int(night().min())


def test_sup_19_noise_removal_runs(world: World, api: Api) -> None:
    assert roughness(done(world, api, {"noise_removal": True})) < 0.8 * roughness(night())


def test_sup_19_all_of_them_run_in_one_request(world: World, api: Api) -> None:
    made = done(world, api, {"enhance": {"denoise": 0.5, "superres": {"factor": 2}, "low_light": 0.5, "tone": {}}})
    assert made.shape == (96, 128, 3)
    assert made.mean() > night().mean()


def test_sup_19_face_enhancement_is_accepted_where_the_operator_says_so(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This worker has no face model, so the picture stays as it is: restoring is tests/unit/engine/test_faces.py."""
    installed = world.services.settings.model_copy(update={"faces": "installed"})
    monkeypatch.setitem(world.services.__dict__, "settings", installed)
    assert np.array_equal(done(world, api, {"face_enhancement": True}), night())
