from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from tessera_engine import models
from tessera_engine.errors import ModelUnavailable

UPSCAYL = (
    *("upscayl-standard-4x", "upscayl-lite-4x", "clear-boost-4x", "crystal-plus-4x", "digital-art-4x"),
    *("digital-art-plus-4x", "natural-max-4x", "natural-plus-4x", "nature-boost-4x", "pure-boost-4x"),
    *("quick-clear-4x", "texture-boost-4x"),
)


def test_the_default_weights_are_installed_and_are_the_listed_bytes() -> None:
    for weights in models.DEFAULT.weights:
        data = (models.WEIGHTS / weights.file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == weights.sha256
        assert (models.network(weights).scale, models.network(weights).halo) == (weights.scale, weights.halo)


def test_the_cards_tell_of_the_shipped_files() -> None:
    for weights in models.DEFAULT.weights:
        card = json.loads((models.WEIGHTS / weights.file).with_suffix(".json").read_text())
        assert (card["file"], card["sha256"]) == (weights.file, weights.sha256)
        assert card["steps_done"] == card["plan"]["steps"]
        for row in card["y_psnr_db"].values():
            assert row["tessera-fidelity"] > row["Lanczos"] + 0.5 > row["bicubic"] + 0.5
    pictures = json.loads((models.WEIGHTS / "pictures.json").read_text())
    assert pictures and all(len(picture["sha256"]) == 64 and picture["licence"] for picture in pictures)


def test_all_twelve_names_lead_into_the_catalogue() -> None:
    assert set(models.ALIASES) == set(UPSCAYL)
    assert set(models.ALIASES.values()) <= set(models.CATALOGUE)


@pytest.mark.parametrize("name", UPSCAYL)
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_default_stands_in_and_says_so(name: str, scale: int, tmp_path: Path) -> None:
    choice = models.choose(name, scale, "allow")
    assert (choice.model, choice.stand_in) == (models.DEFAULT, True)
    with pytest.raises(ModelUnavailable, match=name):
        models.choose(name, scale, "refuse")


@pytest.mark.parametrize(("scale", "passes"), [(2, [2]), (4, [4]), (8, [2, 4])])
def test_the_default_by_its_own_name_is_no_stand_in(scale: int, passes: list[int]) -> None:
    choice = models.choose("tessera-fidelity", scale, "refuse")
    assert not choice.stand_in
    assert [weights.scale for weights in choice.passes] == passes


def test_an_unknown_name_is_refused_whatever_may_stand_in() -> None:
    with pytest.raises(ModelUnavailable, match="nonsense"):
        models.choose("nonsense", 4, "allow")


def test_nothing_runs_when_even_the_default_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    with pytest.raises(ModelUnavailable):
        models.choose("upscayl-lite-4x", 4, "allow")


def test_other_bytes_under_the_same_name_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    weights = dataclasses.replace(models.DEFAULT.weights[0], file="other.onnx")
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"other\.onnx"):
        models.network(weights)
