"""Faces by the real networks: YuNet where its file is, GFPGAN with drawn weights, or real ones where its file is."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tessera_engine import catalogue, faces, picture, yunet
from tessera_engine.backends import spandrel
from tessera_engine.faces import TEMPLATE, Kit

from tests.torch.support import FOLDER, saved
from tests.torch.support import drawn as enlarging

NEAR = 0.2  # of the distance between the eyes
PHOTOS = FOLDER.parent / "kodak"
YUNET, GFPGAN = FOLDER / catalogue.YUNET.name, FOLDER / catalogue.GFPGAN.name

has_detector = pytest.mark.skipif(
    not YUNET.is_file() or not PHOTOS.is_dir(), reason="no YuNet in TESSERA_TEST_WEIGHTS, or no photographs beside it"
)
has_restorer = pytest.mark.skipif(not GFPGAN.is_file(), reason="no GFPGANv1.4.pth in TESSERA_TEST_WEIGHTS")


@cache
def detector() -> yunet.Shown:
    data = YUNET.read_bytes()
    catalogue.YUNET.check(data)
    return yunet.load(data)


def photo(number: int) -> picture.Picture:
    with Image.open(PHOTOS / f"kodim{number:02d}.png") as image:
        return picture.from_image(image.convert("RGB"))


def distance(face: yunet.Face) -> float:
    """Between the eyes, in pixels."""
    return float(np.hypot(*(face.points[1] - face.points[0])))


def found(source: picture.Picture) -> list[yunet.Face]:
    return faces.find(detector(), source, lambda _: None)


@has_detector
@pytest.mark.parametrize(
    ("number", "eyes"),  # where a person sees the two eyes, in pixels
    [(4, [(229, 331), (354, 357)]), (15, [(465, 157), (633, 164)]), (18, [(278, 203), (299, 203)])],
)
def test_a_face_is_where_a_person_sees_it(number: int, eyes: list[tuple[float, float]]) -> None:
    (face,) = found(photo(number))
    assert np.abs(face.points[:2] - eyes).max() < NEAR * distance(face)
    assert face.points[2, 1] < face.points[3:, 1].min() and face.points[:2, 1].max() < face.points[2, 1]


@has_detector
@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7, 8, 13, 16, 19, 20, 21, 22, 23, 24])
def test_where_nobody_is_no_face_is_found(number: int) -> None:
    assert found(photo(number)) == []


@has_detector
def test_each_of_four_faces_once_in_a_large_picture() -> None:
    """Which is looked at in parts, that overlap."""
    source = photo(4)
    (known,) = found(source)
    four = found(picture.Picture(np.tile(source.pixels, (2, 2, 1))))
    places = sorted(tuple((face.start // (source.width, source.height)).astype(int)) for face in four)
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for face in four:
        moved = np.floor(face.start / (source.width, source.height)) * (source.width, source.height)
        assert np.abs(face.points - moved - known.points).max() < NEAR * distance(known)


@has_detector
@pytest.mark.parametrize("factor", [0.25, 1, 3])
def test_the_size_of_a_face_does_not_matter(factor: float) -> None:
    source = Image.fromarray(photo(4).pixels)
    sized = source.resize((int(source.width * factor), int(source.height * factor)), Image.Resampling.LANCZOS)
    (face,) = found(picture.from_image(sized))
    (known,) = found(photo(4))
    assert np.abs(face.points / factor - known.points).max() < NEAR * distance(known)


@has_detector
def test_sup_19_a_restorer_of_torch_changes_the_face_alone() -> None:
    """A blur stands for it: the result is softer on the face and the same elsewhere."""
    blur = torch.nn.AvgPool2d(9, 1, 4)

    def restore(square: faces.Square) -> faces.Square:
        pixels = torch.from_numpy(square.copy()).permute(2, 0, 1).float()
        softer: NDArray[np.uint8] = blur(pixels).to(torch.uint8).permute(1, 2, 0).numpy()
        return softer

    source = photo(4)
    kit = Kit(detector(), restore, "blur", ())
    raster, notes = faces.enhanced(kit, source, source, 1.0, lambda _: None)
    after = raster.whole().pixels.astype(int)
    (face,) = found(source)
    aligned = faces.similarity(face.points, TEMPLATE)
    left, top, right, bottom = faces.corners(aligned, source.width, source.height)
    beyond = np.ones(after.shape[:2], bool)
    beyond[top:bottom, left:right] = False
    assert notes == () and (after == source.pixels)[beyond].all()
    eye = tuple(slice(int(place) - 12, int(place) + 12) for place in face.points[0][::-1])
    assert np.diff(after[eye], axis=1).std() < 0.6 * np.diff(source.pixels[eye].astype(int), axis=1).std()


@pytest.fixture(scope="module")
def drawn() -> Any:
    """GFPGAN's parameters as they are before any training."""
    spandrel.imported()
    architecture: Any = importlib.import_module("spandrel.architectures.GFPGAN")
    torch.manual_seed(4)
    net = architecture.GFPGAN(
        out_size=512,
        num_style_feat=512,
        channel_multiplier=2,
        decoder_load_path=None,
        fix_decoder=False,
        num_mlp=8,
        input_is_latent=True,
        different_w=True,
        narrow=1,
        sft_half=True,
    )
    return net.state_dict()


@pytest.fixture
def square() -> faces.Square:
    down, across = np.mgrid[:512, :512]
    return np.stack((across // 2, down // 2, (across + down) // 4), axis=-1).astype(np.uint8)


def test_gfpgan_by_its_files_layout_gives_the_same_face_every_time(drawn: Any, square: faces.Square) -> None:
    restore = spandrel.face_restorer("GFPGANv1.4.pth", saved({"params_ema": drawn}), device="cpu")
    once, again = restore(square), restore(square)
    assert once.shape == (512, 512, 3) and once.dtype == np.uint8
    assert (once == again).all() and once.std() > 1
    other = restore(255 - square)
    assert (other != once).any()


def test_another_network_is_no_restorer() -> None:
    with pytest.raises(ValueError, match="holds no GFPGAN"):
        spandrel.face_restorer("net.pth", saved({"params": enlarging("compact x4").state_dict()}), device="cpu")


@has_detector
@has_restorer
def test_the_real_restorer_keeps_a_face_that_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MODELS", str(FOLDER))
    faces.kit.cache_clear()
    source = photo(4)
    raster, _ = faces.enhanced(faces.kit(), source, source, 1.0, lambda _: None)
    difference = np.abs(raster.whole().pixels.astype(int) - source.pixels)
    assert 0 < difference.mean() < 6
