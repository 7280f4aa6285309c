"""Faces without their networks: where a detector's numbers point to, how a face is turned upright and laid back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera.recipe import AnyOperation, Encode, EnhanceFace, LowLight, Upscale
from tessera_engine import catalogue, faces, picture, yunet
from tessera_engine.faces import SIDE, TEMPLATE, Kit
from tessera_engine.picture import Picture
from tessera_engine.pipeline import Product
from tessera_engine.yunet import Face

from tests.unit.engine import deepfiles
from tests.unit.engine.test_pipeline import carry_out

Scene = Callable[..., NDArray[np.uint8]]
MakeFile = Callable[..., bytes]
OpenFile = Callable[[bytes], Image.Image]

PNG = Encode(format="png")
MIDDLE, EYES = (100.0, 90.0), 30.0  # of the face that `seeing` finds


def face(middle: tuple[float, float] = MIDDLE, eyes: float = EYES, turn: float = 0.2, score: float = 0.9) -> Face:
    """Its points are the template's, turned by so many radians, with so many pixels between the eyes."""
    scale = eyes / 126
    rotation = scale * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    points = (TEMPLATE - TEMPLATE.mean(axis=0)) @ rotation.T + middle
    half = np.array((eyes, 1.3 * eyes))
    return Face(np.array(middle) - half, np.array(middle) + half, points, score)


def shown(*found: Face) -> dict[str, NDArray[np.float32]]:
    """A detector's outputs for these faces, each told by a cell of the middle grid."""
    outputs = {
        f"{name}_{stride}": np.zeros((1, (yunet.SIDE // stride) ** 2, count), np.float32)
        for stride in yunet.STRIDES
        for name, count in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    }
    for face in found:
        middle, size = (face.start + face.end) / 2, face.end - face.start
        across, down = (int(side / 16) for side in middle)
        place = down * (yunet.SIDE // 16) + across
        outputs["cls_16"][0, place] = outputs["obj_16"][0, place] = face.score
        outputs["bbox_16"][0, place] = (*(middle / 16 - (across, down)), *np.log(size / 16))
        outputs["kps_16"][0, place] = (face.points / 16 - (across, down)).ravel()
    return outputs


@pytest.fixture
def looked_at() -> list[NDArray[np.float32]]:
    """What the detector was shown."""
    return []


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, looked_at: list[NDArray[np.float32]]) -> Callable[..., None]:
    """A detector that finds these faces wherever it looks, and a restorer."""

    def install(restore: faces.Restore, *found: Face) -> None:
        def detect(pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            looked_at.append(pixels)
            return shown(*found)

        monkeypatch.setattr(faces, "obstacle", lambda: "")
        monkeypatch.setattr(faces, "kit", lambda: Kit(detect, restore, "double", ("ab" * 32,)))

    return install


def darker(square: faces.Square) -> faces.Square:
    return square // 2


def pixels_of(product: Product) -> NDArray[Any]:
    return np.asarray(Image.open(BytesIO(product.encoded))).astype(int)


def inside(size: tuple[int, int], *found: Face, scale: int = 1) -> NDArray[np.bool_]:
    """Where the squares of the faces are, in a picture that is `scale` times as large as the one they were found in."""
    down, across = np.mgrid[: size[1] * scale, : size[0] * scale] + 0.5
    points = np.stack((across, down), axis=-1).reshape(-1, 2) / scale
    covered = np.zeros(points.shape[0], bool)
    for face in found:
        there = faces.at(faces.similarity(face.points, TEMPLATE), points)
        covered |= ((there > 0) & (there < SIDE)).all(axis=1)
    return covered.reshape(down.shape)


# ---------------------------------------------------------------- finding


def test_a_detectors_numbers_are_decoded_to_where_they_point() -> None:
    given = [face((100, 90)), face((400.5, 300.25), eyes=80, turn=-0.4, score=0.95)]
    found = sorted(yunet.decoded(shown(*given)), key=lambda face: face.score)
    assert len(found) == 2
    for known, read in zip(given, found, strict=True):
        assert np.allclose(read.start, known.start, atol=1e-3) and np.allclose(read.end, known.end, atol=1e-3)
        assert np.allclose(read.points, known.points, atol=1e-3) and read.score == pytest.approx(known.score)


def test_what_is_unlikely_is_no_face() -> None:
    assert not list(yunet.decoded(shown(face(score=0.5))))


@pytest.mark.parametrize("length", [1, 10, 639, 640, 641, 900, 1279, 1280, 2000])
def test_parts_cover_a_side_and_share_what_a_small_face_needs(length: int) -> None:
    begins = list(yunet.starts(length))
    assert begins[0] == 0 and begins[-1] + yunet.SIDE >= length
    assert all(0 < b - a <= yunet.SIDE - yunet.SEEN for a, b in pairwise(begins))


def test_a_face_that_is_found_twice_is_one() -> None:
    once, again = face(score=0.95), face((103, 92))
    cut = Face(once.start, once.start + (once.end - once.start) / (1, 2), once.points, 0.86)  # at a part's edge
    other = face((300, 90))
    assert yunet.distinct([again, cut, other, once]) == [once, other]


def test_faces_come_in_the_pictures_own_pixels(looked_at: list[Any]) -> None:
    """A large picture is looked at whole, and in parts at twice that size: 3 x 2 of them."""

    def detect(pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        looked_at.append(pixels)
        return shown(face()) if len(looked_at) == 1 else shown()

    source = Picture(np.zeros((1280, 2560, 3), np.uint8))
    (found,) = faces.find(detect, source, lambda _: None)
    assert len(looked_at) == 1 + 3
    assert np.allclose(found.points, 4 * face().points, atol=0.01)


def test_the_detector_sees_blue_first_and_black_beyond(looked_at: list[Any]) -> None:
    def detect(pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        looked_at.append(pixels)
        return shown()

    faces.find(detect, Picture(np.full((20, 30, 3), (200, 100, 50), np.uint8)), lambda _: None)
    (seen,) = looked_at
    assert seen.shape == (1, 3, 640, 640)
    assert seen[0, :, 5, 5].tolist() == [50, 100, 200] and not seen[0, :, 20:].any() and not seen[0, :, :, 30:].any()


# ---------------------------------------------------------------- turning upright and back


@pytest.mark.parametrize("turn", [-3.0, -0.5, 0.0, 0.7])
@pytest.mark.parametrize("eyes", [8, 60, 200])
def test_aligned_and_back_is_where_it_was(turn: float, eyes: float) -> None:
    points = face(eyes=eyes, turn=turn).points
    aligned = faces.similarity(points, TEMPLATE)
    assert np.allclose(faces.at(aligned, points), TEMPLATE, atol=1e-6)
    assert np.allclose(faces.at(faces.inverse(aligned), faces.at(aligned, points)), points, atol=1e-6)
    assert faces.scale_of(aligned) == pytest.approx(126 / eyes)


def test_points_that_fit_no_face_still_give_a_similarity() -> None:
    aligned = faces.similarity(np.zeros((5, 2)), TEMPLATE)
    assert np.isfinite(aligned).all()


@pytest.mark.parametrize("eyes", [40, 126, 250])
@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_a_face_that_is_laid_back_lies_within_a_pixel(turn: float, eyes: float) -> None:
    """A ramp shows by its levels from where a pixel came: four of them are one pixel, in both directions."""
    down, across = np.mgrid[:600, :600]
    ramp = np.stack((across % 64 * 4, down % 64 * 4, (across + down) % 64 * 2), axis=-1).astype(np.uint8)
    source = Picture(ramp)
    found = face((300, 300), eyes, turn)
    kit = Kit(lambda _: shown(found), lambda square: square, "double", ())
    raster, notes = faces.enhanced(kit, source, source, 1.0, lambda _: None)
    changed = raster.whole().pixels.astype(int)
    steep = (across % 64 > 56) | (across % 64 < 8) | (down % 64 > 56) | (down % 64 < 8) | ((across + down) % 64 > 52)
    calm = ~steep & ((across + down) % 64 > 12)
    assert notes == () and np.abs(changed - ramp)[calm].max() <= 4
    assert (changed == ramp).all(axis=2)[~inside((600, 600), found)].all()


def test_a_face_at_the_edge_keeps_the_edges_colours() -> None:
    source = Picture(np.full((200, 200, 3), 40, np.uint8))
    kit = Kit(lambda _: shown(face((15, 20), 30)), lambda square: square, "double", ())
    raster, _ = faces.enhanced(kit, source, source, 1.0, lambda _: None)
    assert (raster.whole().pixels == 40).all()


def test_the_mask_is_full_on_the_face_and_nothing_at_the_edge() -> None:
    share = np.asarray(faces.mask())
    assert share[[0, -1]].max() == share[:, [0, -1]].max() == 0
    assert all(share[int(y), int(x)] == 255 for x, y in TEMPLATE)
    assert np.abs(np.diff(share.astype(int), axis=0)).max() < 20  # no border that shows


# ---------------------------------------------------------------- in a recipe


def enhanced(source: bytes, *operations: AnyOperation) -> Product:
    return carry_out(source, *(operations or (EnhanceFace(),)), PNG)


@pytest.fixture
def photo(make_scene: Scene, make_file: MakeFile) -> bytes:
    return make_file(Image.fromarray(make_scene(200, 180)), "png")


def test_sup_19_a_restorer_changes_faces_and_nothing_else(install: Callable[..., None], photo: bytes) -> None:
    install(darker, face())
    before, after = pixels_of(carry_out(photo, PNG)), pixels_of(enhanced(photo))
    there = inside((200, 180), face())
    assert (before == after)[~there].all()
    x, y = (int(side) for side in MIDDLE)
    assert np.abs(after[y - 20 : y + 20, x - 20 : x + 20] - before[y - 20 : y + 20, x - 20 : x + 20] / 2).max() <= 12


def test_sup_19_as_much_of_it_as_is_asked_for(install: Callable[..., None], photo: bytes) -> None:
    install(darker, face())
    none, half, full = (pixels_of(enhanced(photo, EnhanceFace(strength=share))) for share in (0, 0.5, 1))
    assert (none == pixels_of(carry_out(photo, PNG))).all()
    assert np.abs(half - (none + full) / 2).max() <= 1


def test_after_an_enlargement_faces_are_those_of_the_small_picture(
    install: Callable[..., None], looked_at: list[Any], photo: bytes
) -> None:
    squares = []

    def restore(square: faces.Square) -> faces.Square:
        squares.append(square)
        return darker(square)

    install(restore, face())
    upscale = Upscale(model="tessera-fidelity", scale=4)
    before, after = pixels_of(carry_out(photo, upscale, PNG)), pixels_of(enhanced(photo, upscale, EnhanceFace()))
    assert len(looked_at) == len(squares) == 1
    assert looked_at[0][0, :, 179, 199].any() and not looked_at[0][0, :, 180:].any()  # the small one's size
    assert (before == after)[~inside((200, 180), face(), scale=4)].all()
    small = faces.square(
        Picture(pixels_of(carry_out(photo, PNG)).astype(np.uint8)), faces.similarity(face().points, TEMPLATE)
    )
    assert np.abs(squares[0].astype(int) - small).max() <= 1
    assert after[360, 400].mean() < 0.6 * before[360, 400].mean()


def test_an_exact_size_moves_the_faces_with_it(install: Callable[..., None], photo: bytes) -> None:
    install(darker, face())
    wide = Upscale(model="tessera-fidelity", width=800, height=360, exact=True)
    before, after = pixels_of(carry_out(photo, wide, PNG)), pixels_of(enhanced(photo, wide, EnhanceFace()))
    changed = np.argwhere((before != after).any(axis=2))
    middle = changed.mean(axis=0)[::-1] / (4, 2)
    template = faces.at(faces.inverse(faces.similarity(face().points, TEMPLATE)), np.array([(256.0, 256.0)]))[0]
    assert np.abs(middle - template).max() < 2


def test_after_another_change_they_are_those_of_the_picture_as_it_is(
    install: Callable[..., None], looked_at: list[Any], photo: bytes
) -> None:
    install(darker, face((400, 360), 120))
    enhanced(photo, Upscale(model="tessera-fidelity", scale=2), LowLight(), EnhanceFace())
    assert looked_at[0][0, :, 359, 399].any()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_grey_stays_grey_and_alpha_as_it_is(
    mode: str, install: Callable[..., None], make_scene: Scene, make_file: MakeFile
) -> None:
    image = Image.fromarray(make_scene(200, 180, 4)).convert(mode)
    install(darker, face())
    source = make_file(image, "png")
    before, after = pixels_of(carry_out(source, PNG)), pixels_of(enhanced(source))
    there = inside((200, 180), face())
    assert before.shape == after.shape and (before == after)[~there].all() and (before != after)[there].any()
    if mode != "L":
        assert (before[:, :, -1] == after[:, :, -1]).all()


def test_sixteen_bits_stay_beyond_the_faces(install: Callable[..., None]) -> None:
    samples = deepfiles.gradient(200, 180, 3)
    install(darker, face())
    after = deepfiles.read_png(enhanced(deepfiles.png(samples)).encoded)
    there = inside((200, 180), face())
    assert after.dtype == np.uint16 and (after == samples)[~there].all() and (after < samples)[there].any()


def test_bands_make_no_difference(install: Callable[..., None], make_scene: Scene) -> None:
    source = Picture(make_scene(200, 700))
    found = face((100, 256), 40)  # across the border of two bands
    kit = Kit(lambda _: shown(found), darker, "double", ())

    class InOne(Picture):
        def bands(self) -> Iterator[picture.Band]:
            yield picture.Band(self.pixels)

    parts, whole = (faces.enhanced(kit, of, source, 1.0, lambda _: None)[0] for of in (source, InOne(source.pixels)))
    assert np.abs(parts.whole().pixels.astype(int) - whole.whole().pixels).max() <= 1


@pytest.mark.parametrize(
    ("found", "note"),
    [
        ((), faces.NOTE_NONE),
        ((face(eyes=5),), faces.NOTE_NONE),  # nothing to go by
        ((face((320, 320), eyes=260),), faces.NOTE_NONE),  # has more than the restorer gives
    ],
)
def test_without_a_face_the_picture_stays_and_the_notes_say_so(
    found: tuple[Face, ...], note: str, install: Callable[..., None], photo: bytes
) -> None:
    install(darker, *found)
    product = enhanced(photo)
    assert product.notes == (note,)
    assert (pixels_of(product) == pixels_of(carry_out(photo, PNG))).all()


def test_of_many_faces_the_largest(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, photo: bytes) -> None:
    monkeypatch.setattr(faces, "MOST_FACES", 1)
    large, small = face(), face((30, 30), 15)
    install(darker, small, large)
    product = enhanced(photo)
    assert product.notes == (faces.NOTE_MANY,)
    before, after = pixels_of(carry_out(photo, PNG)), pixels_of(product)
    assert (before == after)[~inside((200, 180), large)].all()


def test_the_file_says_which_network_invented_a_face(install: Callable[..., None], photo: bytes) -> None:
    install(darker, face())
    assert b"double" in enhanced(photo).encoded
    install(darker)
    assert b"double" not in enhanced(photo).encoded


def test_a_listener_that_raises_stops_it(install: Callable[..., None], photo: bytes) -> None:
    install(darker, face())
    calls: list[float] = []

    def listener(done: float) -> None:
        calls.append(done)
        if len(calls) > 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        carry_out(photo, EnhanceFace(), PNG, listener=listener, isolated=False)


# ---------------------------------------------------------------- installed or not


def test_where_files_are_missing_a_note_says_so(photo: bytes) -> None:
    assert not faces.installed() and "models pull faces" in faces.obstacle()
    product = enhanced(photo)
    assert product.notes == (faces.NOTE_MISSING,)
    assert (pixels_of(product) == pixels_of(carry_out(photo, PNG))).all()


def test_files_without_pytorch_are_not_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    for name in catalogue.FACES:
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(faces.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    assert "torch" in faces.obstacle()


def test_other_bytes_are_never_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    for file in catalogue.FACES.values():
        (tmp_path / file.name).write_bytes(bytes(10))
    with pytest.raises(ValueError, match="is not the file that the catalogue lists"):
        catalogue.read(catalogue.YUNET)


def test_the_restorer_is_never_fetched_with_all_the_others() -> None:
    """Its licence has parts for non-commercial use."""
    assert not catalogue.FACES.keys() & catalogue.FILES.keys()
