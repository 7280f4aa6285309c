"""What is told of a file, against what Pillow and hashlib say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, JpegImagePlugin
from tessera import job
from tessera.recipe import Encode, Recipe, Upscale
from tessera_engine import facts, header, pipeline

from tests.unit.engine import deepfiles
from tests.unit.engine.test_pipeline import LIMITS

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]

COLOURS = {"1": "gray", "L": "gray", "LA": "gray", "I;16": "gray", "CMYK": "cmyk", "LAB": "lab"}
WRITTEN = {  # what Pillow writes
    "jpeg": "1 L RGB CMYK",
    "png": "1 L LA RGB RGBA P",
    "webp": "L RGB RGBA P",
    "tiff": "1 L LA RGB RGBA P CMYK LAB",
    "bmp": "1 L RGB RGBA P",
    "gif": "1 L LA RGB RGBA P",
    "avif": "L LA RGB RGBA P",
}
SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


def told(data: bytes) -> job.Picture:
    info = header.probe(data, header.ALL)
    picture = facts.of(data, info.format, info.width, info.height)
    assert picture is not None
    return picture


def colours(image: Image.Image) -> str:
    """A GIF's only grey is a palette of greys."""
    if image.format == "GIF" and all(
        low == high for low, high in image.convert("RGB").convert("HSV").getextrema()[1:2]
    ):
        return "gray"
    return COLOURS.get(image.mode, "srgb")


def interlaced(image: Image.Image) -> bool:
    """Of a GIF Pillow keeps it for its decoder."""
    if image.format == "GIF":
        return bool(image.tile[0][3][1])
    return bool(image.info.get("progressive") or image.info.get("interlace"))


def agrees(data: bytes) -> job.Picture:
    """The facts, where Pillow and hashlib say the same."""
    picture = told(data)
    with Image.open(BytesIO(data)) as image:
        assert picture.interlaced == interlaced(image)
        assert picture.format == str(image.format).lower()
        assert (picture.width, picture.height) == image.size
        assert picture.colorspace == colours(image)
        assert picture.alpha == image.has_transparency_data
        if isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode == "RGB":
            assert picture.sampling == SAMPLINGS[JpegImagePlugin.get_sampling(image)]
    assert (picture.bytes, picture.sha1) == (len(data), hashlib.sha1(data).hexdigest())
    return picture


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in WRITTEN.items() for mode in modes.split()])
def test_sup_09_every_format_in_every_mode(kind: str, mode: str, make_scene: Scene, make_file: MakeFile) -> None:
    image = Image.fromarray(make_scene(37, 21, 4)).convert(mode) if mode != "LAB" else Image.new(mode, (37, 21))
    picture = agrees(make_file(image, kind))
    depth = 1 if mode == "1" and kind in ("png", "tiff") else 8
    assert picture.depth == depth


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_sup_09_jpeg_sampling_and_progression(
    sampling: str, progressive: bool, make_scene: Scene, make_file: MakeFile
) -> None:
    image = Image.fromarray(make_scene(64, 48))
    picture = agrees(make_file(image, "jpeg", subsampling=sampling, progressive=progressive))
    assert (picture.sampling, picture.interlaced) == (sampling, progressive)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_sup_09_a_jpegs_quality_is_the_one_it_was_made_with(mode: str, make_scene: Scene, make_file: MakeFile) -> None:
    image = Image.fromarray(make_scene(16, 16)).convert(mode)
    for asked in range(1, 101):
        assert told(make_file(image, "jpeg", quality=asked)).quality == asked


def test_sup_09_a_foreign_jpegs_quality_is_the_nearest(make_scene: Scene, make_file: MakeFile) -> None:
    """Tables of no libjpeg: those of 80, each number one more."""
    image = Image.fromarray(make_scene(16, 16))
    tables = [[min(255, level + 1) for level in table] for table in facts.scaled()[79].tolist()]
    asked = told(make_file(image, "jpeg", qtables=tables)).quality
    assert asked is not None and 76 <= asked <= 80


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
def test_sup_09_png_of_sixteen_bits_and_adam7(channels: int, interlaced: bool) -> None:
    picture = told(deepfiles.png(deepfiles.gradient(9, 7, channels), interlaced=interlaced))
    assert (picture.depth, picture.interlaced) == (16, interlaced)
    assert picture.colorspace == ("gray" if channels <= 2 else "srgb")
    assert picture.alpha == (channels in (2, 4))


def test_sup_09_a_palette_with_a_clear_colour(make_scene: Scene, make_file: MakeFile) -> None:
    image = Image.fromarray(make_scene(20, 20)).quantize(16)
    for kind in ("png", "gif"):
        assert not agrees(make_file(image, kind)).alpha
        picture = agrees(make_file(image, kind, transparency=3))
        assert (picture.alpha, picture.depth, picture.colorspace) == (True, 8, "srgb")


@pytest.mark.parametrize("sampling", ["4:0:0", "4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_sup_09_avif(mode: str, sampling: str, make_scene: Scene, make_file: MakeFile) -> None:
    image = Image.fromarray(make_scene(40, 30, len(mode)), mode)
    picture = told(make_file(image, "avif", subsampling=sampling))
    assert picture.sampling == (None if sampling == "4:0:0" else sampling)
    assert picture.colorspace == ("gray" if sampling == "4:0:0" else "srgb")
    assert (picture.alpha, picture.depth) == (mode == "RGBA", 8)


def test_sup_09_webp_with_all_its_chunks(make_scene: Scene, make_file: MakeFile) -> None:
    for lossless in (False, True):
        for channels in (3, 4):
            image = Image.fromarray(make_scene(40, 30, channels))
            for exif in (b"", b"Exif\0\0II*\0\x08\0\0\0\0\0"):
                picture = agrees(make_file(image, "webp", lossless=lossless, exif=exif))
                assert picture.sampling is None and picture.quality is None


def test_sup_09_a_profile_that_is_not_srgbs(make_scene: Scene, make_file: MakeFile, profiles: dict[str, bytes]) -> None:
    image = Image.fromarray(make_scene(12, 12))
    for name, profile in profiles.items():
        product = pipeline.carry_out(
            Recipe(operations=(Encode(format="png"),)),
            make_file(image, "jpeg", icc_profile=profile),
            LIMITS,
            stand_in="refuse",
            listener=lambda _: None,
        )
        assert product.read is not None and product.read.colorspace == name
        assert product.written is not None and product.written.colorspace == "srgb"


@pytest.fixture
def profiles() -> dict[str, bytes]:
    """sRGB's, and the same with red and blue exchanged."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return {"srgb": srgb, "rgb": swapped}


def test_sup_09_a_turned_photo_is_told_as_it_is_shown(make_scene: Scene, make_file: MakeFile) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = make_file(Image.fromarray(make_scene(30, 20)), "jpeg", exif=exif)
    product = carried(data, Encode(format="jpeg"))
    assert product.read is not None and (product.read.width, product.read.height) == (20, 30)
    assert product.written is not None and (product.written.width, product.written.height) == (40, 60)


def carried(data: bytes, encode: Encode, **options: Any) -> pipeline.Product:
    operations = (Upscale(model="tessera-fidelity", scale=2), encode)
    return pipeline.carry_out(
        Recipe(operations=operations), data, LIMITS, stand_in="refuse", listener=lambda _: None, **options
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize(
    "encode",
    [
        Encode(format="jpeg", quality=83),
        Encode(format="jpeg", quality=31, progressive=True, chroma="4:2:2", dpi=300),
        Encode(format="png"),
        Encode(format="webp"),
        Encode(format="webp", lossless=True),
        Encode(format="avif", chroma="4:4:4"),
        Encode(format="tiff"),
    ],
    ids=lambda encode: f"{encode.format}{encode.quality}",
)
def test_sup_09_a_result_is_what_its_file_says(
    mode: str, encode: Encode, make_scene: Scene, make_file: MakeFile
) -> None:
    source = make_file(Image.fromarray(make_scene(50, 40, 4), "RGBA").convert(mode), "png")
    product = carried(source, encode)
    assert product.read == told(source)
    assert product.written == agrees(product.encoded)
    assert product.written.quality == (encode.quality if encode.format == "jpeg" else None)
    if encode.format in ("jpeg", "avif") and mode != "L":
        assert product.written.sampling == encode.chroma


def test_sup_09_sixteen_bits_stay_and_are_told(make_file: MakeFile) -> None:
    source = deepfiles.png(deepfiles.gradient(20, 16, 3))
    for encode, depth in ((Encode(format="png"), 16), (Encode(format="tiff"), 16), (Encode(format="jpeg"), 8)):
        written = carried(source, encode).written
        assert written is not None and written.depth == depth


def test_sup_09_a_header_beyond_reading_costs_the_facts_alone(make_scene: Scene, make_file: MakeFile) -> None:
    """Cut anywhere, nothing but None or facts comes of it."""
    image = Image.fromarray(make_scene(30, 20, 4)).convert("RGB")
    for kind in ("jpeg", "png", "webp", "tiff", "bmp", "gif", "avif"):
        data = make_file(image, kind)
        for end in [*range(0, min(len(data), 900), 3), len(data) - 1]:
            kept = data[:end]
            recognised = header.recognised(kept)
            if recognised == kind:
                facts.of(kept, kind, 30, 20)


def test_sup_09_damaged_headers_cost_the_facts_alone(make_scene: Scene, make_file: MakeFile) -> None:
    rng = np.random.default_rng(3)
    image = Image.fromarray(make_scene(30, 20))
    for kind in ("jpeg", "png", "webp", "tiff", "bmp", "gif", "avif"):
        whole = np.frombuffer(make_file(image, kind), np.uint8)
        for _ in range(150):
            data = whole.copy()
            data[rng.integers(12, min(len(data), 700), 4)] = rng.integers(0, 256, 4)
            facts.of(data.tobytes(), kind, 30, 20)  # type: ignore[arg-type]
