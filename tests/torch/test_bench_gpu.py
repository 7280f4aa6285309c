"""bench.gpu at its small size on the CPU: that it runs and what its report holds. No figure is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tessera_engine.archs.rrdbnet import RRDBNet
from tessera_engine.archs.srvgg import SRVGGNetCompact

from bench import gpu, oracle, speed
from tests.torch.support import scene

BESIDE = [False, True] if oracle.installed() else [False]  # with RealESRGANer, where its packages are
NAMES = ["RRDB of 1 blocks, 16 features, drawn", "realesr-animevideov3, drawn", "realesr-general-x4v3, drawn"]

pytestmark = pytest.mark.filterwarnings("ignore")  # of packages of 2022


@pytest.fixture(scope="module", params=BESIDE, ids=lambda beside: "beside RealESRGANer" if beside else "alone")
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "ROUNDS", 1)
        patch.setattr(gpu, "cuda", lambda: False)
        patch.setattr(oracle, "installed", lambda: request.param)
        yield gpu.measure(gpu.SMALL, tmp_path_factory.mktemp("no-weights"))


def test_every_network_is_measured(report: Any) -> None:
    assert list(report["networks"]) == NAMES
    beside = "theirs_over_engine" in next(iter(report["networks"].values()))
    for row in report["networks"].values():
        assert set(row["ms"]) == {"gemm", "raw", "engine"} | ({"theirs"} if beside else set())
        assert all(value > 0 for value in row["ms"].values())
        assert all(row[key] > 0 for key in ("gemm_tflops", "raw_tflops", "raw_of_gemm", "engine_of_raw"))
        assert row["tiled_levels"] == {"fp32": 0}
        assert "peak_mib" not in row
        if beside:
            assert row["theirs_over_engine"] > 0 and row["engine_to_theirs_levels"] <= 1


def test_what_is_printed_says_that_it_is_of_a_cpu(report: Any, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.print_report(json.loads(json.dumps(report)))
    printed = capsys.readouterr().out
    assert report["machine"]["device"] == "CPU" and "device CPU" in printed
    assert "CPU FIGURES" in printed and "GEMM 1024 x 1024" in printed
    assert all(name in printed for name in NAMES)


@pytest.mark.parametrize(
    ("net", "millions"),
    [
        (lambda: RRDBNet(), 35.85),
        (lambda: RRDBNet(num_block=6), 11.41),
        (lambda: RRDBNet(scale=2), 8.97),
        (lambda: SRVGGNetCompact(num_conv=32), 2.418),
        (lambda: SRVGGNetCompact(num_conv=16), 1.238),
    ],
    ids=["x4plus", "anime-6B", "x2plus", "general-x4v3", "animevideov3"],
)
def test_the_work_of_a_pixel(net: Any, millions: float) -> None:
    """The real sizes, without weights."""
    where = torch.device("meta")
    with where:
        made = net()
    assert gpu.flop(made, where) / 1e6 == pytest.approx(millions, rel=1e-3)


def test_drawn_weights_give_a_picture_with_contrast_and_the_same_each_time(tmp_path: Path) -> None:
    first, again = (gpu.subjects(gpu.SMALL, tmp_path, tmp_path)[0].load(half=False) for _ in range(2))
    whole = gpu.at_side(first, 64, scene(48, 40))
    assert oracle.levels(whole, gpu.at_side(again, 64, scene(48, 40))) == 0
    assert whole.std() > 20


def test_real_weights_take_the_place_of_drawn_ones(tmp_path: Path) -> None:
    name = "realesr-general-x4v3"
    file = gpu.saved(SRVGGNetCompact(num_conv=32), tmp_path / f"{name}.pth")
    (tmp_path / "drawn").mkdir()
    found = {subject.name: subject.file for subject in gpu.subjects(gpu.SMALL, tmp_path, tmp_path / "drawn")}
    assert found[name] == file and list(found)[1] == NAMES[1]
