"""`python -m tessera_engine upscale`: the engine without the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tessera_engine.__main__ import main

Scene = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def photo(tmp_path: Path, make_scene: Scene) -> Path:
    Image.fromarray(make_scene(40, 30)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize(("ending", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("tif", "TIFF")])
def test_the_ending_says_the_format(photo: Path, ending: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = photo.with_name(f"large.{ending}")
    assert main(["upscale", str(photo), str(result), "--scale", "2"]) == 0
    with Image.open(result) as image:
        assert (image.format, image.size) == (kind, (80, 60))
    assert "80 x 60" in capsys.readouterr().out


def test_the_result_lies_beside_the_picture(photo: Path) -> None:
    assert main(["upscale", str(photo)]) == 0
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo-4x.jpg", "photo.png"]


def test_what_is_wrong_is_said_and_leaves_nothing(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = photo.with_name("broken.jpg")
    broken.write_bytes(b"\xff\xd8 no picture")
    before = sorted(photo.parent.iterdir())
    assert main(["upscale", str(broken)]) == 1
    assert main(["upscale", str(photo), "--model", "nonsense"]) == 1
    assert main(["upscale", str(photo), str(photo.with_suffix(".bmp"))]) == 2
    assert main(["upscale", str(photo), "--quality", "0"]) == 1
    assert main(["upscale", str(photo.with_name("nowhere.jpg"))]) == 1
    assert sorted(photo.parent.iterdir()) == before
    said = capsys.readouterr().err
    assert "no frame header" in said and "nonsense" in said and ".webp" in said
