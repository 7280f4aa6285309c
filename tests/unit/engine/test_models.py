from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tessera_engine import catalogue, cores, models
from tessera_engine.errors import ModelUnavailable

UPSCAYL = (
    *("upscayl-standard-4x", "upscayl-lite-4x", "clear-boost-4x", "crystal-plus-4x", "digital-art-4x"),
    *("digital-art-plus-4x", "natural-max-4x", "natural-plus-4x", "nature-boost-4x", "pure-boost-4x"),
    *("quick-clear-4x", "texture-boost-4x"),
)


SHIPPED = [(model.name, weights) for model in models.SHIPPED for weights in model.weights]


@pytest.mark.parametrize(("name", "weights"), SHIPPED)
def test_the_shipped_weights_are_installed_and_are_the_listed_bytes(name: str, weights: models.Weights) -> None:
    data = (models.WEIGHTS / weights.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == weights.sha256
    assert (models.network(weights).scale, models.network(weights).halo) == (weights.scale, weights.halo)


@pytest.mark.parametrize(("name", "weights"), SHIPPED)
def test_the_cards_tell_of_the_shipped_files(name: str, weights: models.Weights) -> None:
    card = json.loads((models.WEIGHTS / weights.file).with_suffix(".json").read_text())
    assert (card["file"], card["sha256"]) == (weights.file, weights.sha256)
    assert card["steps_done"] == card["plan"]["steps"]
    rows = card["y_psnr_db"]
    better = ["kodak worn"] if name == "tessera-photo" else ["set5", "set14", "kodak"]
    for kind in better:
        assert rows[kind][name] > rows[kind]["Lanczos"] + 0.4


def test_the_pictures_behind_the_weights_are_listed() -> None:
    pictures = json.loads((models.WEIGHTS / "pictures.json").read_text())
    assert pictures and all(len(picture["sha256"]) == 64 and picture["licence"] for picture in pictures)


def test_the_integer_files_were_made_from_the_shipped_ones_and_lose_nothing() -> None:
    for _, weights in SHIPPED:
        assert isinstance(weights, models.Weights) and weights.quick is not None
        file = models.WEIGHTS / weights.quick.file
        assert hashlib.sha256(file.read_bytes()).hexdigest() == weights.quick.sha256
        card = json.loads(file.with_suffix(".json").read_text())
        assert (card["file"], card["sha256"]) == (weights.quick.file, weights.quick.sha256)
        assert card["made_from"] == {"file": weights.file, "sha256": weights.sha256}
        for row in card["y_psnr_db"].values():
            assert row["int8"] > row["fp32"] - 0.1


@pytest.mark.parametrize(
    ("precision", "able", "chosen"), [(None, True, "int8"), ("exact", True, "fp32"), ("auto", False, "fp32")]
)
def test_integers_run_where_they_are_quick(
    precision: str | None, able: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = models.DEFAULT.weights[1]
    assert isinstance(weights, models.Weights) and weights.quick is not None
    loaded: list[int] = []
    monkeypatch.setattr(models, "multiplies_bytes", lambda: able)
    monkeypatch.setattr(models.onnx, "load", lambda data, *_: loaded.append(len(data)))
    monkeypatch.delenv("TESSERA_PRECISION", raising=False)
    if precision:
        monkeypatch.setenv("TESSERA_PRECISION", precision)
    weights.load()
    files = {"int8": weights.quick.file, "fp32": weights.file}
    assert loaded == [(models.WEIGHTS / files[chosen]).stat().st_size]


def test_an_unknown_precision_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_PRECISION", "fast")
    with pytest.raises(ValueError, match="auto or exact"):
        models.DEFAULT.weights[0].load()


@pytest.mark.parametrize(
    ("listing", "able"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni\n", True),
        ("flags : avx2 avx_vnni\n", True),
        ("Features : fp asimd asimddp\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("model name : avx512_vnni\n", False),
    ],
)
def test_processors_are_asked_what_they_can(listing: str, able: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(listing)
    assert cores.multiplies_bytes(tmp_path / "cpuinfo") is able
    assert not cores.multiplies_bytes(tmp_path / "missing")


def test_all_twelve_names_lead_into_the_catalogue() -> None:
    assert set(models.ALIASES) == set(UPSCAYL)
    assert set(models.ALIASES.values()) <= set(models.CATALOGUE)


@pytest.mark.parametrize("name", [*models.CATALOGUE, *UPSCAYL])
@pytest.mark.parametrize(("scale", "passes"), [(2, [2]), (3, [4]), (4, [4]), (8, [2, 4])])
def test_every_model_has_a_way_to_every_scale(name: str, scale: int, passes: list[int]) -> None:
    model = models.CATALOGUE[models.ALIASES.get(name, name)]
    assert [weights.scale for weights in model.needed(scale)] == passes


def test_only_listed_public_files_are_made_use_of() -> None:
    used = {file for model in models.CATALOGUE.values() for file in model.files}
    assert used == set(catalogue.FILES.values())
    for file in used:
        assert file.size > 1_000_000 and len(bytes.fromhex(file.sha256)) == 32
        assert file.path.endswith(f"/{file.name}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory."""
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def torch_found(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Whether the catalogue takes PyTorch for installed, whether it is or not."""
    found = {"torch": True}
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: object() if found[name] else None)
    return found


@pytest.mark.parametrize("name", UPSCAYL)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_default_stands_in_and_says_so(name: str, scale: int, cache: Path) -> None:
    choice = models.choose(name, scale, "allow")
    assert (choice.model, choice.stand_in) == (models.DEFAULT, True)
    with pytest.raises(ModelUnavailable, match=rf"{name}.*must be fetched"):
        models.choose(name, scale, "refuse")


def test_a_fetched_file_and_its_backend_make_a_model(cache: Path, torch_found: dict[str, bool]) -> None:
    (cache / catalogue.GENERAL.name).write_bytes(b"its bytes are looked at when it is loaded")
    for scale in (2, 4, 8):
        choice = models.choose("upscayl-lite-4x", scale, "refuse")
        assert (choice.model.name, choice.stand_in) == ("realesr-general-x4v3", False)
    with pytest.raises(ModelUnavailable, match=r"general-wdn-x4v3\.pth must be fetched"):
        models.choose("clear-boost-4x", 4, "refuse")


def test_what_to_install_is_said_when_pytorch_is_missing(cache: Path, torch_found: dict[str, bool]) -> None:
    (cache / catalogue.GENERAL.name).write_bytes(b"")
    torch_found["torch"] = False
    with pytest.raises(ModelUnavailable, match="pip install torch safetensors"):
        models.choose("upscayl-lite-4x", 4, "refuse")
    assert models.choose("upscayl-lite-4x", 4, "allow").stand_in


def test_the_engine_itself_needs_no_torch() -> None:
    """Blocked, not absent: the test means the same where it is installed."""
    modules = "worker, models, own, pull, __main__"
    script = f"import sys; sys.modules['torch'] = sys.modules['spandrel'] = None; from tessera_engine import {modules}"
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize(("scale", "passes"), [(2, [2]), (3, [4]), (4, [4]), (8, [2, 4])])
def test_the_default_by_its_own_name_is_no_stand_in(scale: int, passes: list[int]) -> None:
    choice = models.choose("tessera-fidelity", scale, "refuse")
    assert not choice.stand_in
    assert [weights.scale for weights in choice.passes] == passes


def test_an_unknown_name_is_refused_whatever_may_stand_in() -> None:
    with pytest.raises(ModelUnavailable, match="nonsense"):
        models.choose("nonsense", 4, "allow")


def test_nothing_runs_when_even_the_default_is_missing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", cache)
    with pytest.raises(ModelUnavailable):
        models.choose("upscayl-lite-4x", 4, "allow")


def test_other_bytes_under_the_same_name_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    weights = dataclasses.replace(models.DEFAULT.weights[0], file="other.onnx")
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"other\.onnx"):
        models.network(weights)
