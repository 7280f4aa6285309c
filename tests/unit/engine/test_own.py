"""The list of own models. What reads their files needs PyTorch and is tested in tests/torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tessera_engine import __main__ as command
from tessera_engine import models, own, pipeline
from tessera_engine.errors import ModelUnavailable

DATA = b"its bytes are looked at when it is loaded"
ENTRY: dict[str, Any] = {
    "name": "mine",
    "file": "4x mine.pth",
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "architecture": "SPAN, 48nf",
    "scale": 4,
    "halo": 21,
    "exact": True,
    "half_safe": False,
    "licence": 'none "at all"',
    "description": "Ä \\ drawing\x7f",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of own models, with one in it; PyTorch and spandrel count as installed."""
    monkeypatch.setenv("TESSERA_OWN_MODELS", str(tmp_path))
    monkeypatch.setattr(own.importlib.util, "find_spec", lambda name: object())
    (tmp_path / ENTRY["file"]).write_bytes(DATA)
    write(tmp_path)
    return tmp_path


def write(folder: Path, **changes: Any) -> None:
    (folder / own.LIST).write_text(own.to_toml(own.OwnWeights(**(ENTRY | changes))), encoding="utf-8")


def test_what_is_written_is_read(folder: Path) -> None:
    assert own.listed() == {"mine": own.OwnWeights(**ENTRY)}


def test_no_list_is_no_own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_OWN_MODELS", str(tmp_path / "nowhere"))
    assert own.listed() == {} == models.own_models()
    assert own.folder({}) == Path.home() / ".local" / "share" / "tessera" / "models"


@pytest.mark.parametrize(
    ("own_scale", "wanted"),
    [
        (2, {2: [2], 3: [2, 2], 4: [2, 2], 8: [2, 2, 2]}),
        (3, {2: [3], 3: [3], 4: [3, 3], 8: [3, 3]}),
        (4, {2: [4], 3: [4], 4: [4], 8: [4, 4]}),
        (8, {2: [8], 3: [8], 4: [8], 8: [8]}),
    ],
)
def test_an_own_model_has_a_way_to_every_scale(own_scale: int, wanted: dict[int, list[int]], folder: Path) -> None:
    write(folder, scale=own_scale)
    for scale, passes in wanted.items():
        choice = models.choose("mine", scale, "refuse")
        assert [weights.scale for weights in choice.passes] == passes
        assert (choice.model.name, choice.model.architecture, choice.stand_in) == ("mine", "SPAN, 48nf", False)


def test_a_name_of_the_catalogue_stays_the_catalogues(folder: Path) -> None:
    for name in ("tessera-fidelity", "upscayl-lite-4x"):
        write(folder, name=name)
        assert models.own_models() == {}
    assert models.choose("tessera-fidelity", 4, "refuse").model is models.FIDELITY


def test_what_is_missing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own.importlib.util, "find_spec", lambda name: None if name == "spandrel" else object())
    with pytest.raises(ModelUnavailable, match="pip install torch spandrel"):
        models.choose("mine", 4, "refuse")
    (folder / ENTRY["file"]).unlink()
    with pytest.raises(ModelUnavailable, match=r"4x mine\.pth is missing"):
        models.choose("mine", 4, "refuse")
    assert models.choose("mine", 4, "allow").stand_in


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\0"])
def test_other_bytes_are_refused_before_anything_reads_them(data: bytes, folder: Path) -> None:
    """PyTorch is not even imported: this suite runs without it."""
    (folder / ENTRY["file"]).write_bytes(data)
    (weights,) = models.choose("mine", 4, "refuse").passes
    with pytest.raises(ValueError, match="SHA-256 differs"):
        weights.load()


@pytest.mark.parametrize(
    "text",
    [
        "[[model]]\nname = 'mine'",
        "model = 3",
        "model = [3]",
        "[mine]\nscale = 4",
        "not toml",
        own.to_toml(own.OwnWeights(**ENTRY)) * 2,
        *(
            own.to_toml(own.OwnWeights(**ENTRY)).replace(f"{key} = ", f"{key} = {value} # ")
            for key, value in (
                ("sha256", '""'), ("file", '"../secret.pth"'), ("file", '"code.py"'), ("scale", "1"), ("halo", "-1"),
                ("name", '"A name"'), ("exact", "1"), ("scale", "4\nmore = 1"),
            )
        ),
    ],
)  # fmt: skip
def test_an_unsound_list_names_the_file(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / own.LIST).write_text(text)
    with pytest.raises(own.OwnModelsBroken, match=own.LIST):
        models.choose("mine", 4, "allow")
    assert models.choose("tessera-fidelity", 4, "refuse").model is models.FIDELITY
    assert command.main(["models", "list"]) == 1
    assert own.LIST in capsys.readouterr().err


def test_the_list_shows_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["models", "list"]) == 0
    said = capsys.readouterr().out
    assert 'mine  (SPAN, 48nf; none "at all"; your own)' in said
    assert "realesrgan-x4plus  (RRDBNet" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("code.py", "--name", "new"), "only .safetensors and .pth"),
        (("new.pth", "--name", "mine"), "another model"),
        (("new.pth", "--name", "tessera-fidelity"), "another model"),
        (("new.pth", "--name", "upscayl-lite-4x"), "another model"),
    ],
)
def test_what_cannot_be_added(
    arguments: tuple[str, ...], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / own.LIST).read_text()
    assert command.main(["models", "add", *arguments]) == 1
    assert words in capsys.readouterr().err
    assert (folder / own.LIST).read_text() == before


def test_pixels_are_counted_for_the_size_that_is_asked_for(folder: Path) -> None:
    """Twice from a network that enlarges three times: the next pass reads 4 times the pixels, not 9."""
    write(folder, scale=3)
    operations = tuple(pipeline.Upscale(model="mine", scale=2) for _ in range(2))
    assert pipeline.effort(pipeline.Recipe(operations=operations), 10, 10, "refuse") == 100 + 400


def test_entries_can_be_kept_apart() -> None:
    """`models.network` keeps one network for each: they have to be hashable and to differ."""
    first, second = own.OwnWeights(**ENTRY), own.OwnWeights(**(ENTRY | {"halo": 22}))
    assert len({first, second, own.OwnWeights(**ENTRY)}) == 2
