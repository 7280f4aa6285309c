"""Pictures of 16 bits per sample stay such through every operation, and lose them only where a format has 8."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
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
from tessera_engine import decoding, encoders, header, imageio, models, picture, pipeline, tiling
from tessera_engine.errors import TooManyPixels
from tessera_engine.picture import AlphaRows, Band, Picture, bleed, eight_bits, flattened, levels, quantised
from tessera_engine.pipeline import Product

from tests.unit.engine import deepfiles
from tests.unit.engine.deepfiles import Samples, gradient
from tests.unit.engine.test_onnx import forward
from tests.unit.engine.test_tiff import directory

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]
OpenFile = Callable[[bytes], Image.Image]

LIMITS = Limits(max_input_pixels=1_000_000, max_output_pixels=4_000_000)
X2 = Upscale(model="tessera-photo", scale=2)
PNG, TIFF = Encode(format="png"), Encode(format="tiff")
CHANNELS = (1, 2, 3, 4)


def carry_out(source: bytes, *operations: AnyOperation, **options: Any) -> Product:
    settings: dict[str, Any] = {"stand_in": "refuse", "listener": lambda _: None, "isolated": False} | options
    return pipeline.carry_out(Recipe(operations=operations), source, LIMITS, formats=header.ALL, **settings)


def result(source: Samples, *operations: AnyOperation) -> Samples:
    return deepfiles.read_png(carry_out(deepfiles.png(source), *operations, PNG).encoded)


def reference(pixels: Samples, scale: int) -> NDArray[np.float64]:
    """tessera-photo in float64 on the mirrored picture, 0..65,535."""
    (weights,) = models.PHOTO.passes(scale)
    file = (models.WEIGHTS / f"tessera-photo-x{scale}.onnx").read_bytes()
    padded = np.pad(pixels.repeat(3 // pixels.shape[2], axis=2), ((8, 8), (8, 8), (0, 0)), mode="reflect")
    enlarged = forward(file, padded / 257, weights.scale) * 257
    return enlarged if pixels.shape[2] == 3 else enlarged.mean(axis=2, keepdims=True)


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gradient_gets_finer_than_8_bits(scale: int, channels: int) -> None:
    source = gradient(60, 44, channels)
    enlarged = result(source, Upscale(model="tessera-photo", scale=scale))
    wanted = reference(source, scale)
    assert np.abs(enlarged - wanted).max() <= 1.0 + (channels == 1)  # rounded; a grey is the mean of three that are
    assert all(len(np.unique(enlarged[:, :, channel])) > 1_000 for channel in range(channels))
    inner = enlarged[8 * scale : -8 * scale, 8 * scale : -8 * scale].astype(int)
    assert np.diff(inner, axis=1).min() > -257 / 50  # a ripple of the network's own, which 8 bits do not show
    assert np.abs(np.diff(inner, axis=1)).max() < 257  # no step is as large as one of 8 bits


@pytest.mark.parametrize("weights", [weights for model in models.SHIPPED for weights in model.weights])
def test_the_same_weights_give_the_same_picture(weights: models.AnyWeights, make_scene: Scene) -> None:
    assert isinstance(weights, models.Weights) and weights.deep
    pixels = make_scene(50, 41)
    shallow = dataclasses.replace(weights, quick=None).load().enlarge(pixels)
    assert np.array_equal(eight_bits(weights.deep.load().enlarge(pixels.astype(np.uint16) * 257)), shallow)


@pytest.mark.parametrize("level", [0, 65_535])
def test_extremes_do_not_wrap_around(level: int) -> None:
    for weights in models.DEFAULT.weights:
        assert isinstance(weights, models.Weights) and weights.deep
        flat = weights.deep.load().enlarge(np.full((24, 24, 3), level, np.uint16))
        assert np.abs(flat.astype(int) - level).max() <= 3 * 257


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("tile", [13, 48, 97])
def test_tiled_equals_whole_to_the_last_of_16_bits(scale: int, tile: int) -> None:
    (weights,) = models.DEFAULT.passes(scale)
    assert isinstance(weights, models.Weights) and weights.deep
    network = models.network(weights.deep)
    pixels = np.random.default_rng(5).integers(0, 65_536, (67, 101, 3), dtype=np.uint16)
    whole = tiling.enlarge(network, pixels, tile=10_000, done=lambda _: None)
    assert np.array_equal(tiling.enlarge(network, pixels, tile=tile, done=lambda _: None), whole)


def test_a_graph_that_is_not_the_listed_one_is_refused() -> None:
    weights = models.DEFAULT.weights[0]
    assert isinstance(weights, models.Weights) and weights.deep and weights.deep.graph
    with pytest.raises(ValueError, match="catalogue"):
        dataclasses.replace(weights.deep, graph=(weights.deep.graph[0], "0" * 64)).load()
    missing = dataclasses.replace(weights, deep=dataclasses.replace(weights.deep, graph=("none.onnx", "0" * 64)))
    assert missing.obstacle == "none.onnx is missing"


def test_bands_of_16_bits_have_half_the_rows() -> None:
    assert tiling.shape(40_000, 4, 256, 2) == tiling.shape(80_000, 4, 256)


# --- operations -------------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, tuple[AnyOperation, ...]] = {
    "upscale": (X2,),
    "to a size": (Upscale(model="tessera-photo", width=150),),
    "reduce": (Resize(width=37),),
    "cover": (Resize(width=40, height=50, mode="cover"),),
    "pad": (Resize(width=120, height=120, mode="pad", colour="#20406080", enlarge=True),),
    "crop": (Crop(width=31, height=22, left=5, top=7),),
    "denoise": (Denoise(),),
    "light": (LowLight(),),
    "curves": (Tone(exposure=0.4, contrast=0.3, temperature=0.2),),
    "saturation": (Tone(saturation=0.4),),
    "levels": (Tone(levels=1, balance=0.8),),
    "sharpen": (Sharpen(radius=1.5, threshold=0),),
}


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_what_it_does_in_8_bits(
    name: str, channels: int, make_scene: Scene, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_PRECISION", "exact")
    pixels = make_scene(80, 60, channels)
    pixels[:, :, : 3 - 2 * (channels < 3)] //= 1 + 3 * (name == "light")
    if channels in (2, 4):
        pixels[10:30, 20:40, -1] = 0
        pixels[:, :, -1] = pixels[:, :, -1].clip(0, 250)
    sources = (made(pixels, make_file), deepfiles.png(pixels.astype(np.uint16) * 257))
    shallow, deep = (decoded(carry_out(data, *OPERATIONS[name], PNG).encoded) for data in sources)
    assert deep.dtype == np.uint16 and deep.shape == shallow.shape
    far = np.abs(eight_bits(deep).astype(int) - shallow)
    seen = shallow[:, :, -1] > 128 if channels in (2, 4) else np.ones(far.shape[:2], bool)
    assert far[seen].max() <= 4 and far[seen].mean() < 0.8  # 8 bits are rounded at every step, and alpha twice
    if name not in ("crop", "saturation"):  # grey has none
        assert (deep % 257).any()


def decoded(data: bytes) -> NDArray[Any]:
    read, _ = decoding.decode(data, header.probe(data))
    return np.concatenate([band.samples() for band in read.bands()])


def made(pixels: NDArray[np.uint8], make_file: MakeFile) -> bytes:
    return make_file(Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels), "png")


def test_cut_and_turned_to_the_last_bit() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    samples = np.random.default_rng(1).integers(0, 65_536, (30, 40, 4), dtype=np.uint16)
    data = deepfiles.png(samples, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    product = carry_out(data, Crop(width=11, height=9, left=3, top=4), PNG)
    assert np.array_equal(deepfiles.read_png(product.encoded), np.rot90(samples, -1)[4:13, 3:14])


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_reduction_rounds_once(channels: int) -> None:
    """Against the exact mean of 2 x 2 pixels of a plane, which Lanczos gives back away from the edges."""
    source = gradient(90, 64, channels)
    if channels in (2, 4):
        source[:, :, -1] = 60_000
    small = result(source, Resize(width=45)).astype(int)
    wanted = source.astype(float).reshape(32, 2, 45, 2, channels).mean(axis=(1, 3))
    assert np.abs(small - wanted)[4:-4, 4:-4].max() <= 1


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_tiff_has_all_bits_too(channels: int) -> None:
    source = deepfiles.png(gradient(50, 40, channels))
    as_tiff, as_png = (carry_out(source, X2, kind) for kind in (TIFF, PNG))
    wanted = deepfiles.read_png(as_png.encoded)
    assert np.array_equal(deepfiles.read_tiff(as_tiff.encoded, directory(as_tiff.encoded)), wanted)
    assert not as_tiff.notes and not as_png.notes


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_from_tiff_to_tiff(channels: int) -> None:
    samples = gradient(50, 40, channels)
    encoded = carry_out(deepfiles.tiff(samples), TIFF).encoded
    assert np.array_equal(deepfiles.read_tiff(encoded, directory(encoded)), samples)
    assert np.array_equal(decoding.decode(encoded, header.probe(encoded, header.ALL))[0].pixels, samples[:, :, :3])


def test_a_transparent_edge_has_no_dark_seam() -> None:
    down, across = np.mgrid[:24, :24] - 11.5
    disc = np.zeros((24, 24, 4), np.uint16)
    disc[down**2 + across**2 < 81] = (56_000, 8_000, 8_000, 65_535)
    enlarged = result(disc, X2).astype(int)
    visible = enlarged[enlarged[:, :, 3] > 0]
    assert enlarged[24, 24, 3] == 65_535 and enlarged[0, 0, 3] == 0
    assert np.abs(visible[:, :3] - [56_000, 8_000, 8_000]).max() <= 12 * 257


# --- formats of 8 bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_formats_have_8_bits_and_a_note(format: Any, channels: int, open_file: OpenFile) -> None:
    source = gradient(64, 48, channels)
    kind = Encode(format=format, quality=100, lossless=format == "webp", chroma="4:4:4")
    product = carry_out(deepfiles.png(source), kind)
    assert product.notes == (decoding.NOTE_EIGHT_BITS,)
    image = open_file(product.encoded)
    assert image.mode in ("L", "RGB", "RGBA") and image.size == (64, 48)
    if channels < 4 or format == "webp":
        wanted = np.rint(source / 257).astype(int)
        shown = np.asarray(image).reshape(48, 64, -1)
        assert np.abs(shown[:, :, :channels].astype(int) - wanted).max() <= {"webp": 0, "jpeg": 3, "avif": 4}[format]


def test_the_preview_is_the_rounded_picture(open_file: OpenFile) -> None:
    source = gradient(64, 48, 3)
    product = carry_out(deepfiles.png(source), PNG, Thumbnail(side=64))
    assert np.abs(np.asarray(open_file(product.thumbnail)).astype(int) - source / 257).mean() < 3
    assert not product.notes


def test_the_reduction_is_rounded_not_cut() -> None:
    every = np.arange(65_536, dtype=np.uint16).reshape(-1, 64, 1)
    assert np.array_equal(eight_bits(every), np.rint(every * 255.0 / 65_535).astype(np.uint8))
    assert np.array_equal(quantised(levels(every), every.dtype), every)


def test_the_same_with_8_bits_is_the_picture_itself() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    assert np.shares_memory(eight_bits(pixels), pixels)


# --- pieces -----------------------------------------------------------------------------------------------------------


def test_transparency_over_white_is_exact() -> None:
    rng = np.random.default_rng(2)
    pixels, alpha = (rng.integers(0, 65_536, shape, dtype=np.uint16) for shape in ((300, 7, 3), (300, 7)))
    pixels[0], alpha[0, ::2], alpha[0, 1::2] = 65_535, 65_535, 0
    share = alpha[:, :, None] / 65_535
    wanted = pixels * share + 65_535 * (1 - share)
    assert np.abs(flattened(Band(pixels, alpha)) - wanted).max() <= 0.5001


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_alpha_in_parts_is_alpha_in_one(scale: int) -> None:
    alpha = np.random.default_rng(3).integers(20_000, 45_000, (41, 17), dtype=np.uint16)
    whole = AlphaRows(alpha, scale).read(0, 41 * scale).astype(int)
    rows = AlphaRows(alpha, scale)
    cuts = [0, 1, 7, 64, 65, 41 * scale]
    parts = [rows.read(top, bottom - top) for top, bottom in pairwise(cuts)]
    assert np.abs(np.concatenate(parts) - whole).max() <= 1
    assert np.abs(whole / 257 - AlphaRows(eight_bits(alpha), scale).read(0, 41 * scale)).max() <= 3


def test_colours_spread_into_what_is_transparent() -> None:
    pixels = np.zeros((16, 16, 3), np.uint16)
    alpha = np.zeros((16, 16), np.uint16)
    pixels[4:9, 4:9], alpha[4:9, 4:9] = (50_001, 20_003, 7), 65_535
    assert np.array_equal(bleed(pixels, alpha), np.broadcast_to(np.array([50_001, 20_003, 7]), pixels.shape))


def test_a_tiff_ends_at_four_gigabytes() -> None:
    kinds = (picture.BYTES, picture.DEEP)
    assert [encoders.most_pixels(TIFF, dtype) for dtype in kinds] == [1_000_000_000, 500_000_000]
    info = header.ImageInfo("png", 30_000, 20_000)
    limits = Limits(max_input_pixels=10**9, max_output_pixels=10**9)
    imageio.check_limits(info, Recipe(operations=(TIFF,)), limits)
    with pytest.raises(TooManyPixels, match="500,000,000"):
        imageio.check_limits(dataclasses.replace(info, depth=16), Recipe(operations=(TIFF,)), limits)


def test_a_picture_written_alone(open_file: OpenFile) -> None:
    samples = gradient(20, 10, 3)
    data, notes = imageio.encode(Picture(samples), PNG)
    assert np.array_equal(deepfiles.read_png(data), samples) and not notes
    assert Image.open(BytesIO(data)).size == (20, 10)
