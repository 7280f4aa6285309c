"""Noise, light, tones and sharpness, on the bundled photograph and on pictures with known faults."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera.recipe import Tone
from tessera_engine import denoise, light, sharpen, tone
from tessera_engine.picture import Picture, Raster, from_image

PHOTO = Path(__file__).parents[3] / "infra/local/sample/lighthouse.jpg"

Pixels = NDArray[np.uint8]


def quiet(_: int) -> None:
    pass


@pytest.fixture(scope="module")
def photo() -> Pixels:
    """(279, 480, 3), brightness spread from black to white."""
    with Image.open(PHOTO) as image:
        return from_image(image.convert("RGB")).pixels


def psnr(one: Any, other: Any) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(one.astype(float) - other).mean())))


def noisy(pixels: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(3).normal(0, sigma, pixels.shape)
    return (pixels + noise).round().clip(0, 255).astype(np.uint8)


def darker(pixels: Pixels, stops: float) -> Pixels:
    return np.rint(tone.encoded(tone.decoded(pixels / 255.0) * 2.0**-stops) * 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Raster], Raster]] = {
    "denoise": lambda source: denoise.denoised(source, 100, quiet),
    "light": lambda source: light.lit(source, 1.0, quiet),
    "tone": lambda source: tone.toned(source, Tone(exposure=0.3, saturation=0.5, temperature=0.4), quiet),
    "sharpen": lambda source: sharpen.sharpened(source, 1.0, 1.0, 0.0, quiet),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 300), (40, 600)])
def test_any_size_grey_and_alpha(change: Callable[[Raster], Raster], size: tuple[int, int], photo: Pixels) -> None:
    width, height = size
    pixels = noisy(darker(np.tile(photo, (3, 1, 1))[:height, :width], 3), 12)
    for colours in (pixels, pixels[:, :, :1]):
        alpha = pixels[:, :, 0]
        result = change(Picture(colours, alpha)).whole()
        assert result.pixels.shape == colours.shape
        assert result.alpha is not None and (result.alpha == alpha).all()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_strips_leave_no_seams(
    change: Callable[[Raster], Raster], photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = Picture(noisy(darker(photo, 3), 12)[:250])
    result = change(pixels)
    one_piece = result.whole().pixels
    monkeypatch.setattr("tessera_engine.derived.STRIP", 96)
    monkeypatch.setattr(denoise, "COLUMNS", 104)
    difference = np.abs(result.whole().pixels.astype(int) - one_piece)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.001


@pytest.mark.parametrize(("sigma", "gain"), [(10, 4.0), (25, 7.0)])
def test_noise_is_measured_and_removed(sigma: float, gain: float, photo: Pixels) -> None:
    source = noisy(photo, sigma)
    assert denoise.noise(Picture(source), quiet) == pytest.approx(sigma, rel=0.15)
    half, full = (denoise.denoised(Picture(source), strength, quiet).whole().pixels for strength in (50, 100))
    assert psnr(full, photo) > psnr(source, photo) + gain
    assert psnr(source, photo) + 2 < psnr(half, photo) < psnr(full, photo)


def test_a_clean_picture_is_left_nearly_untouched(photo: Pixels) -> None:
    assert psnr(denoise.denoised(Picture(photo), 100, quiet).whole().pixels, photo) > 45
    flat = Picture(np.full((64, 64, 3), 90, np.uint8))
    assert denoise.denoised(flat, 100, quiet) is flat
    assert denoise.denoised(flat, 0, quiet) is flat


def test_dark_pictures_are_lit_and_bright_ones_are_not(photo: Pixels) -> None:
    bright = Picture(np.maximum(photo, 70))
    assert light.lit(bright, 1.0, quiet) is bright
    dark = Picture(darker(photo, 3))
    means = [light.lit(dark, intensity, quiet).whole().pixels.mean() for intensity in (0.0, 0.3, 1.0)]
    assert means[0] == dark.pixels.mean()
    assert means[0] * 1.15 < means[1] < means[2] and means[2] > means[0] * 1.6


def test_light_keeps_hues_and_draws_no_halo() -> None:
    """A dark orange next to a lighter one: each field stays flat up to its edge, with the hue it had."""
    pixels = np.empty((80, 200, 3), np.uint8)
    pixels[:, :100], pixels[:, 100:] = (40, 20, 10), (120, 60, 30)
    result = light.lit(Picture(pixels), 1.0, quiet).whole().pixels.astype(int)
    assert result[40, 10, 0] > 50
    for columns in (slice(0, 100), slice(100, 200)):
        field = result[:, columns, 0]
        assert field.max() - field.min() <= 0.12 * field.max()
    assert np.abs(result[:, :, 0] - 2 * result[:, :, 1]).max() <= 2


def test_a_cast_is_taken_away(photo: Pixels) -> None:
    grey = photo.mean(axis=2, keepdims=True).repeat(3, axis=2)
    cast = np.rint(tone.encoded(tone.decoded(grey / 255) * [1.2, 1.0, 0.8]) * 255).clip(0, 250).astype(np.uint8)
    result = tone.toned(Picture(cast), Tone(balance=1), quiet).whole().pixels.astype(int)
    before, after = (np.abs(p[:, :, 0].astype(int) - p[:, :, 2]).mean() for p in (cast, result))
    assert after < before / 4


def test_a_meadow_is_not_a_cast(photo: Pixels) -> None:
    meadow = Picture((photo * np.array([0.3, 0.8, 0.2])).astype(np.uint8))
    assert tone.toned(meadow, Tone(balance=1), quiet) is meadow


def test_fog_gets_black_and_white(photo: Pixels) -> None:
    fog = (photo * 0.5 + 60).astype(np.uint8)
    none, half, full = (
        tone.toned(Picture(fog), Tone(levels=share), quiet).whole().pixels.std() for share in (0, 0.5, 1)
    )
    assert none == fog.std() and none * 1.15 < half < full and full > none * 1.4


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_asked_for_is_nothing_done(share: float, photo: Pixels) -> None:
    ready = photo.copy()
    ready[:8], ready[8:16] = 0, 255
    source = Picture(ready)
    assert tone.toned(source, Tone(levels=share), quiet) is source


def test_what_is_asked_for(photo: Pixels) -> None:
    def made(**fields: float) -> NDArray[np.float64]:
        return tone.toned(Picture(photo), Tone(**fields), quiet).whole().pixels.astype(float)

    middle = np.array([[[100, 100, 100]]], np.uint8)
    lighter = tone.toned(Picture(middle), Tone(exposure=1), quiet).whole().pixels[0, 0] / 255.0
    assert tone.decoded(lighter) == pytest.approx(2 * tone.decoded(np.full(3, 100 / 255)), rel=0.02)
    assert made(contrast=0.5).std() > photo.std() * 1.1 > made(contrast=-0.5).std() * 1.1
    assert np.ptp(made(saturation=-1), axis=2).max() <= 1
    warm, cold = made(temperature=1).mean(axis=(0, 1)), made(temperature=-1).mean(axis=(0, 1))
    assert warm[0] > cold[0] and warm[2] < cold[2]


def test_sharpening_makes_edges_steep_without_halos() -> None:
    step = np.full((40, 60, 3), 60, np.float32)
    step[:, 30:] = 190
    soft = np.rint(sharpen.blurred(np.pad(step[:, :, 0], ((6, 6), (0, 0)), "edge"), sharpen.gaussian(2)))
    source = soft.astype(np.uint8)[:, :, None].repeat(3, axis=2)
    result = sharpen.sharpened(Picture(source), 2.0, 3.0, 0.0, quiet).whole().pixels.astype(int)
    slope = np.diff(result[20, :, 0]).max()
    assert slope > 1.25 * np.diff(source[20, :, 0].astype(int)).max()
    assert result.min() >= 56 and result.max() <= 194


def test_sharpening_raises_detail_and_leaves_flat_noise(photo: Pixels) -> None:
    result = sharpen.sharpened(Picture(photo), 1.0, 1.0, 1.0, quiet).whole().pixels
    assert np.abs(np.diff(result.astype(int), axis=1)).mean() > 1.1 * np.abs(np.diff(photo.astype(int), axis=1)).mean()
    grain = (128 + np.random.default_rng(1).integers(-2, 3, (50, 50, 3))).astype(np.uint8)
    assert np.array_equal(sharpen.sharpened(Picture(grain), 1.0, 3.0, 4.0, quiet).whole().pixels, grain)


def test_hues_stay_when_sharpened(photo: Pixels) -> None:
    """All colours move by the same amount, where none is clipped."""
    result = sharpen.sharpened(Picture(photo), 1.0, 1.5, 0.0, quiet).whole().pixels.astype(int)
    moved = (result - photo)[((result > 0) & (result < 255)).all(axis=2)]
    assert np.ptp(moved, axis=1).max() <= 1


@pytest.mark.parametrize("quality", [30, 50, 70, 85, 90])
def test_le_07_artifacts_of_a_jpeg_are_removed_by_the_quality_its_file_tells(quality: int, photo: Pixels) -> None:
    """No noise is found in such a file: the coefficients that would show it are gone."""
    small = np.asarray(Image.fromarray(photo).reduce(2))  # the photo is a JPEG itself
    coded = BytesIO()
    Image.fromarray(small).save(coded, "jpeg", quality=quality)
    with Image.open(coded) as image:
        source = from_image(image.convert("RGB"))
    assert denoise.denoised(source, 100, quiet) is source
    clean = denoise.denoised(source, 100, quiet, artifacts=1, quality=quality).whole().pixels
    half = denoise.denoised(source, 100, quiet, artifacts=0.5, quality=quality).whole().pixels
    assert psnr(clean, small) > psnr(source.pixels, small) + 0.05
    assert np.abs(half - (source.pixels.astype(float) + clean) / 2).max() <= 1
    assert denoise.denoised(source, 100, quiet, artifacts=1, quality=None) is source


def test_a_good_jpeg_and_more_noise_than_artifacts_are_left_to_what_is_measured(photo: Pixels) -> None:
    source = Picture(photo)
    assert denoise.denoised(source, 100, quiet, artifacts=1, quality=95).whole().pixels is photo
    loud = Picture(noisy(photo, 25))
    measured, both = (denoise.denoised(loud, 100, quiet, artifacts=share, quality=85) for share in (0, 1))
    assert (measured.whole().pixels == both.whole().pixels).all()
