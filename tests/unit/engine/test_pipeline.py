from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera.job import Limits
from tessera.recipe import AnyOperation, Encode, EnhanceFace, Operation, Recipe, Thumbnail, Upscale
from tessera_engine import faces, models, pipeline, sandbox, steps
from tessera_engine.errors import CorruptImage, ModelUnavailable, TooManyPixels, UnsupportedFormat
from tessera_engine.header import probe
from tessera_engine.pipeline import Product

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]
OpenFile = Callable[[bytes], Image.Image]

LIMITS = Limits(max_input_pixels=1_000_000, max_output_pixels=4_000_000)
X4 = Upscale(model="tessera-fidelity", scale=4)
PNG = Encode(format="png")


def carry_out(source: bytes, *operations: AnyOperation, **options: Any) -> Product:
    settings: dict[str, Any] = {"stand_in": "refuse", "listener": lambda _: None} | options
    return pipeline.carry_out(Recipe(operations=operations), source, LIMITS, **settings)


def test_there_is_a_step_for_every_operation() -> None:
    assert set(pipeline.STEPS) == set(Operation.__subclasses__())


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (17, 31)])
def test_sizes_are_exact(scale: Any, size: tuple[int, int], make_scene: Scene, make_file: MakeFile) -> None:
    source = make_file(Image.fromarray(make_scene(*size)), "png")
    product = carry_out(source, Upscale(model="tessera-fidelity", scale=scale), PNG)
    info = probe(product.encoded)
    assert (info.width, info.height) == (product.width, product.height) == (size[0] * scale, size[1] * scale)
    assert (product.model, product.stand_in, product.format) == ("tessera-fidelity", False, "png")
    assert product.thumbnail == b""


def test_an_enlargement_shows_the_same_picture(make_scene: Scene, make_file: MakeFile, open_file: OpenFile) -> None:
    pixels = make_scene(48, 40)
    for scale in (2, 3, 4, 8):
        source = make_file(Image.fromarray(pixels), "png")
        product = carry_out(source, Upscale(model="tessera-fidelity", scale=scale), PNG)
        back = open_file(product.encoded).resize((48, 40), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(back).astype(int) - pixels).mean() < 2.5


def test_all_operations_together(make_scene: Scene, make_file: MakeFile, open_file: OpenFile) -> None:
    source = make_file(Image.fromarray(make_scene(200, 100)), "jpeg")
    told: list[float] = []
    operations = (Upscale(model="quick-clear-4x", scale=4), EnhanceFace(), Encode(format="webp"), Thumbnail(side=64))
    product = carry_out(source, *operations, stand_in="allow", listener=told.append)
    assert (product.model, product.stand_in) == ("tessera-photo", True)
    assert product.notes == (faces.NOTE_MISSING,)
    assert probe(product.encoded).format == probe(product.thumbnail).format == "webp"
    assert open_file(product.thumbnail).size == (64, 32)
    assert told[0] == 0 and told == sorted(told) and told[-1] == pytest.approx(0.9)


def test_a_transparent_edge_has_no_dark_seam(make_file: MakeFile, open_file: OpenFile) -> None:
    """A red disc on transparent black: every visible pixel of the enlargement is red."""
    down, across = np.mgrid[:24, :24] - 11.5
    disc = np.zeros((24, 24, 4), np.uint8)
    disc[down**2 + across**2 < 81] = (220, 30, 30, 255)
    product = carry_out(make_file(Image.fromarray(disc), "png"), X4, PNG)
    result = np.asarray(open_file(product.encoded)).astype(int)
    visible = result[result[:, :, 3] > 0]
    assert result[48, 48, 3] == 255 and result[0, 0, 3] == 0
    assert np.abs(visible[:, :3] - [220, 30, 30]).max() <= 12


def test_jpeg_of_a_transparent_picture_is_white(make_file: MakeFile, open_file: OpenFile) -> None:
    source = make_file(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "png")
    result = open_file(carry_out(source, X4, Encode(format="jpeg")).encoded)
    assert result.mode == "RGB" and np.asarray(result).min() == 255


def test_nothing_is_decoded_for_a_refusal(
    make_scene: Scene, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(sandbox, "decode", decoded)
    small, wide = (make_file(Image.new("RGB", size), "png") for size in ((8, 8), (4_096, 1)))
    with pytest.raises(TooManyPixels, match="WEBP"):
        carry_out(wide, X4, Encode(format="webp"))
    with pytest.raises(TooManyPixels, match="Enlarged 4 times"):
        carry_out(make_file(Image.new("1", (900, 900)), "png"), X4, PNG)
    with pytest.raises(TooManyPixels, match="1,000,000"):
        carry_out(make_file(Image.new("1", (1001, 1000)), "png"), X4, PNG)
    with pytest.raises(ModelUnavailable):
        carry_out(small, Upscale(model="digital-art-4x", scale=4), PNG)
    with pytest.raises(UnsupportedFormat):
        carry_out(b"GIF89a", X4, PNG)
    with pytest.raises(CorruptImage):
        carry_out(small[:20], X4, PNG)


def test_the_scores_are_told_of_the_last_enlargement(make_scene: Scene, make_file: MakeFile) -> None:
    source = make_file(Image.fromarray(make_scene(150, 70)), "png")
    for scale in (2, 3, 4, 8):
        product = carry_out(source, Upscale(model="tessera-fidelity", scale=scale), PNG, memory=3_000_000)
        assert product.fidelity is not None and product.fidelity > 30
        assert product.seam == pytest.approx(1, abs=0.15)
        assert product.notes == ()
    product = carry_out(source, X4, PNG)  # one tile
    assert product.fidelity is not None and product.seam is None


@pytest.mark.parametrize("memory", [1, 3_000_000, 10**9])
def test_the_memory_that_is_given_changes_no_pixel(memory: int, make_scene: Scene, make_file: MakeFile) -> None:
    source = make_file(Image.fromarray(make_scene(90, 130)), "png")
    assert carry_out(source, X4, PNG, memory=memory).encoded == carry_out(source, X4, PNG).encoded


def test_what_is_very_unlike_its_source_has_a_note(make_scene: Scene, make_file: MakeFile) -> None:
    """A checkerboard of pixels is the worst of what is not nonsense; upside down is nonsense."""

    class Inverting:
        scale, halo = 4, 8

        def enlarge(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return (255 - tile[8:-8, 8:-8]).repeat(4, axis=0).repeat(4, axis=1)

    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert carry_out(make_file(Image.fromarray(board), "png"), X4, PNG).notes == ()
    models.network.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.Weights, "load", lambda _: Inverting())
        product = carry_out(make_file(Image.fromarray(make_scene(64, 64)), "png"), X4, PNG)
    models.network.cache_clear()
    assert product.notes == (steps.NOTE_FAR,)


def test_effort_counts_what_every_pass_reads() -> None:
    recipe = Recipe(operations=(Upscale(model="tessera-fidelity", scale=8), X4, PNG))
    assert pipeline.effort(recipe, 25, 4, "refuse") == 100 + 400 + 6400
