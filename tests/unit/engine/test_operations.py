"""Operations as recipes order them: sizes, who is asked to do what, and when the work can be stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tessera.job import Limits
from tessera.recipe import (
    AnyOperation,
    Crop,
    Denoise,
    Encode,
    LowLight,
    Recipe,
    Resize,
    Sharpen,
    Thumbnail,
    Tone,
    Upscale,
)
from tessera_engine import header, models, pipeline, sandbox, steps
from tessera_engine.errors import Misfit, TooLate
from tessera_engine.pipeline import Product

from tests.unit.engine import deepfiles

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]
OpenFile = Callable[[bytes], Image.Image]

ROOT = Path(__file__).parents[3]
LIMITS = Limits(max_input_pixels=1_000_000, max_output_pixels=4_000_000)
M = "tessera-fidelity"
PNG = Encode(format="png")
CLASSICAL: tuple[AnyOperation, ...] = (
    Denoise(),
    LowLight(),
    Tone(levels=1, balance=1, saturation=0.2),
    Upscale(model=M, width=30),
    Resize(width=20, height=20, mode="pad", colour="#00000000"),
    Crop(width=0.9, height=0.9, unit="fractions"),
    Sharpen(),
    PNG,
    Thumbnail(side=16),
)


def carry_out(source: bytes, *operations: AnyOperation, **options: Any) -> Product:
    settings: dict[str, Any] = {"stand_in": "refuse", "listener": lambda _: None} | options
    return pipeline.carry_out(Recipe(operations=operations), source, LIMITS, **settings)


@pytest.fixture
def source(make_scene: Scene, make_file: MakeFile) -> bytes:
    return make_file(Image.fromarray(make_scene(90, 60)), "png")


@pytest.mark.parametrize(
    ("target", "passes"),
    [
        ({"width": 180}, 1),
        ({"width": 200}, 1),
        ({"width": 271, "height": 271}, 1),
        ({"width": 271, "height": 100, "exact": True}, 1),
        ({"height": 480}, 2),
        ({"width": 900}, 2),  # beyond the largest factor
        ({"width": 45}, 0),
        ({"width": 90}, 0),
    ],
)
def test_an_exact_size_is_met(
    target: dict[str, Any], passes: int, source: bytes, open_file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[models.AnyWeights] = []
    network = models.network
    monkeypatch.setattr(models, "network", lambda weights: loaded.append(weights) or network(weights))
    operation = Upscale(model=M, **target)
    product = carry_out(source, operation, PNG)
    assert open_file(product.encoded).size == (product.width, product.height) == operation.size(90, 60)
    assert len(set(loaded)) == passes and (product.model is None) == (passes == 0)


def test_an_exact_size_shows_the_same_picture(source: bytes, open_file: OpenFile) -> None:
    result = open_file(carry_out(source, Upscale(model=M, width=250), PNG).encoded)
    back = np.asarray(result.resize((90, 60), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(back - np.asarray(open_file(source)))[2:-2, 2:-2].mean() < 4


def test_a_recipe_without_a_network_touches_no_model(
    source: bytes, open_file: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: object) -> None:
        raise AssertionError("a model was asked for")

    monkeypatch.setattr(models, "network", touched)
    monkeypatch.setattr(models, "choose", touched)
    product = carry_out(source, *CLASSICAL)
    image = open_file(product.encoded)
    assert image.mode == "RGBA" and image.size == (18, 18) == (product.width, product.height)
    assert product.model is None and not product.stand_in and product.thumbnail


def test_a_recipe_without_a_network_does_not_import_onnxruntime(source: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(source)
    program = f"""
import sys
from pathlib import Path
from tessera.job import Limits
from tessera.recipe import Recipe
from tessera_engine import pipeline, sandbox
recipe = Recipe.model_validate_json({Recipe(operations=CLASSICAL).model_dump_json()!r})
limits = Limits(max_input_pixels=10**6, max_output_pixels=10**6)
data = Path({str(path)!r}).read_bytes()
assert pipeline.carry_out(recipe, data, limits, stand_in="refuse", listener=lambda _: None).encoded
print(sorted({{"onnxruntime", "torch"}} & set(sys.modules)))
"""
    paths = ":".join(str(ROOT / "layers" / layer / "python") for layer in ("core", "engine"))
    ran = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": paths}, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr


def test_steps_are_carried_out_in_the_order_of_the_recipe(source: bytes, open_file: OpenFile) -> None:
    part, small = Crop(width=40, height=40, left=0, top=0), Resize(width=45)
    cut_first = open_file(carry_out(source, part, small, PNG).encoded)
    assert np.array_equal(np.asarray(cut_first), np.asarray(open_file(source))[:40, :40])
    with pytest.raises(Misfit, match="45 x 30"):
        carry_out(source, small, part, PNG)


def test_a_thumbnail_is_of_the_picture_at_its_place(source: bytes, open_file: OpenFile) -> None:
    product = carry_out(source, Thumbnail(side=64), Crop(width=10, height=40), PNG)
    assert open_file(product.thumbnail).size == (64, 43)
    assert open_file(product.encoded).size == (10, 40)


def test_a_crop_beyond_the_picture_is_refused_before_it_is_decoded(
    source: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "decode", None)
    with pytest.raises(Misfit, match="90 x 60") as caught:
        carry_out(source, Crop(width=91, height=10), PNG)
    assert caught.value.to_job_error().code == "does_not_fit"


def test_sizes_are_those_of_the_upright_picture(make_scene: Scene, make_file: MakeFile, open_file: OpenFile) -> None:
    image = Image.fromarray(make_scene(90, 60))
    exif = image.getexif()
    exif[0x0112] = 6
    product = carry_out(make_file(image, "jpeg", exif=exif), Upscale(model=M, width=120), PNG)
    assert open_file(product.encoded).size == (120, 180)


@pytest.mark.parametrize("operation", CLASSICAL[:-2], ids=lambda operation: operation.op)
def test_classical_work_can_be_stopped(operation: AnyOperation, make_scene: Scene, make_file: MakeFile) -> None:
    """The listener is called while the bands go by: a deadline is noticed in the middle of a picture."""
    dark = make_file(Image.fromarray(make_scene(60, 2000) // 4), "png")
    told: list[float] = []

    def listener(fraction: float) -> None:
        told.append(fraction)
        if len(told) > 3:
            raise TooLate("late")

    with pytest.raises(TooLate):
        carry_out(dark, operation, PNG, listener=listener)
    assert told == [0, 0, 0, 0]


def test_a_network_that_removes_noise_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.Pulled, "obstacle", "")
    recipe = Recipe(operations=(Denoise(strength=83), Upscale(model="clear-boost-4x", width=400), PNG))
    (network, _) = steps.shared(recipe, 100, 100, "refuse")
    assert isinstance(network, Upscale) and network.model == "realesr-general-x4v3-denoise-80"
    assert models.choose(network.model, 4, "refuse").passes[0].share == 0.8  # type: ignore[union-attr]
    assert steps.shared(recipe, 400, 400, "refuse") == recipe.operations  # no network, so nobody would
    other = Recipe(operations=(Denoise(strength=83), Upscale(model=M, scale=4), PNG))
    assert steps.shared(other, 100, 100, "refuse") == other.operations


def test_where_the_network_is_missing_the_noise_is_still_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.Pulled, "obstacle", "not here")
    recipe = Recipe(operations=(Denoise(), Upscale(model="clear-boost-4x", scale=4), PNG))
    assert steps.shared(recipe, 100, 100, "allow") == recipe.operations


def test_what_the_source_says_comes_through_every_operation(
    make_scene: Scene, make_file: MakeFile, open_file: OpenFile
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "A. Author"
    source = make_file(Image.fromarray(make_scene(90, 60, 4)), "png", exif=exif.tobytes())
    changes = (
        Denoise(strength=50),
        LowLight(),
        Tone(),
        Crop(width=80, height=50),
        Upscale(model=M, scale=2),
        Sharpen(),
    )
    product = carry_out(source, *changes, Resize(width=100), PNG)
    assert open_file(product.encoded).getexif()[ExifTags.Base.Copyright] == "A. Author"


ENHANCING: tuple[AnyOperation, ...] = (
    Denoise(strength=80, artifacts=0.5),
    Upscale(model=M, width=150, height=150),
    LowLight(),
    Tone(levels=0.5, balance=1),
)
PRINT = Encode(format="jpeg", quality=75, dpi=300)


@pytest.mark.parametrize("order", list(permutations(ENHANCING)), ids=lambda order: "-".join(step.op for step in order))
def test_le_12_in_any_order(order: tuple[AnyOperation, ...], make_scene: Scene, make_file: MakeFile) -> None:
    source = make_file(Image.fromarray(make_scene(90, 60) // 3), "bmp")
    product = carry_out(source, *order, Thumbnail(side=32), PRINT, formats=header.ALL)
    assert (product.width, product.height) == (150, 100) and product.thumbnail and product.notes == ()
    assert product.written is not None and (product.written.quality, product.written.colorspace) == (75, "srgb")
    with Image.open(BytesIO(product.encoded)) as image:
        assert image.info["dpi"] == (300, 300)
        assert np.asarray(image).mean() > 1.2 * (make_scene(90, 60) // 3).mean()  # it was dark


def sources(scene: NDArray[np.uint8], make_file: MakeFile) -> dict[str, bytes]:
    """A dark picture in the formats and kinds of colour that pictures come in."""
    image = Image.fromarray(scene // 3)
    return {
        "jpeg": make_file(image, "jpeg", quality=40),
        "cmyk jpeg": make_file(image.convert("CMYK"), "jpeg"),
        "tiff": make_file(image, "tiff", compression="tiff_lzw"),
        "grey tiff": make_file(image.convert("L"), "tiff"),
        "cmyk tiff": make_file(image.convert("CMYK"), "tiff"),
        "bmp": make_file(image, "bmp"),
        "palette bmp": make_file(image.quantize(64), "bmp"),
        "gif": make_file(image, "gif"),
        "webp": make_file(image, "webp"),
        "16 bits": deepfiles.png((scene // 3).astype(np.uint16) * 257),
        "16 bits tiff": deepfiles.tiff((scene // 3).astype(np.uint16) * 257),
        "alpha": make_file(Image.merge("RGBA", (*image.split(), image.getchannel("R").point(lambda x: 3 * x))), "png"),
    }


@pytest.mark.parametrize("target", ["jpeg", "png", "tiff", "webp", "avif"])
def test_le_35_whatever_a_picture_comes_in(target: Any, make_scene: Scene, make_file: MakeFile) -> None:
    for kind, source in sources(make_scene(60, 40), make_file).items():
        encode = Encode(format=target, dpi=300)
        product = carry_out(source, *ENHANCING, Thumbnail(side=16), encode, formats=header.ALL)
        assert (product.width, product.height) == (150, 100), kind
        assert product.read is not None and product.written is not None, kind
        assert product.written.colorspace == ("gray" if "grey" in kind and target != "webp" else "srgb"), kind
        assert product.written.depth == (16 if "16" in kind and target in ("png", "tiff") else 8), kind
        assert product.written.alpha == (kind == "alpha" and target != "jpeg"), kind


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((45, 45), (45, 30)),
        ((90, 60), (90, 60)),
        ((91, 1000), (91, 61)),
        ((300, 60), (90, 60)),
        ((None, 240), (360, 240)),
    ],
)
def test_le_05_the_aspect_stays(box: tuple[int | None, int], size: tuple[int, int], source: bytes) -> None:
    product = carry_out(source, Denoise(), Upscale(model=M, width=box[0], height=box[1]), LowLight(), PRINT)
    assert (product.width, product.height) == size


def test_le_07_artifacts_count_at_the_size_that_was_stored(make_scene: Scene, make_file: MakeFile) -> None:
    soft = Image.fromarray(make_scene(90, 60)).resize((180, 120), Image.Resampling.BICUBIC)
    coded = make_file(soft, "jpeg", quality=30)
    none, some = (carry_out(coded, Denoise(artifacts=share), PNG).encoded for share in (0, 1))
    assert none != some
    smaller = Resize(width=90)
    late, never = (carry_out(coded, smaller, Denoise(artifacts=share), PNG).encoded for share in (1, 0))
    assert late == never
    lossless = make_file(soft, "png")
    assert carry_out(lossless, Denoise(artifacts=1), PNG).encoded == carry_out(lossless, Denoise(), PNG).encoded
