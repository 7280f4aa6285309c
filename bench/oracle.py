"""The compact public networks in the program that they came with, RealESRGANer, beside our PyTorch backend.

Its packages are of 2022: two things that they ask of torchvision are put there first where they are missing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tessera_engine import tiling

from bench.psnr import Pixels, psnr
from bench.speed import scene, seconds

SIDE = 256  # px of the picture
NETWORKS = {"realesr-animevideov3": 16, "realesr-general-x4v3": 32}  # convolutions between the first and the last


kept: list[Any] = []  # definitions of operators, which end with the object that made them


def installed() -> bool:
    return importlib.util.find_spec("realesrgan") is not None


def mend_torchvision() -> None:
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:  # operator torchvision::nms does not exist: a torchvision of another build
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        kept.append(library)
    moved: Any = ModuleType("torchvision.transforms.functional_tensor")
    moved.rgb_to_grayscale = None  # imported by basicsr, used in its training only
    sys.modules.setdefault(moved.__name__, moved)


def restorer(weights: Path, net: Any, *, device: str, tile: int, tile_pad: int, half: bool = False) -> Any:
    """RealESRGANer for x4 weights of `net`'s shape."""
    from realesrgan import RealESRGANer

    return RealESRGANer(
        scale=4,
        model_path=str(weights),
        model=net,
        tile=tile,
        tile_pad=tile_pad,
        pre_pad=0,
        half=half,
        device=device,
    )


def compact(convolutions: int) -> Any:
    mend_torchvision()
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=convolutions, upscale=4, act_type="prelu")


def rrdb(features: int, blocks: int, growth: int) -> Any:
    mend_torchvision()
    from basicsr.archs.rrdbnet_arch import RRDBNet

    return RRDBNet(num_in_ch=3, num_out_ch=3, scale=4, num_feat=features, num_block=blocks, num_grow_ch=growth)


def swapped(pixels: Pixels) -> Pixels:
    """RGB to the BGR that RealESRGANer reads and gives, and back."""
    return np.ascontiguousarray(pixels[:, :, ::-1])


def theirs(weights: Path, convolutions: int, tile: int, tile_pad: int) -> Callable[[Pixels], Pixels]:
    made = restorer(weights, compact(convolutions), device="cpu", tile=tile, tile_pad=tile_pad)
    return lambda pixels: swapped(made.enhance(swapped(pixels))[0])


def ours(weights: Path) -> Callable[[Pixels], Pixels]:
    from tessera_engine.backends import torch

    network = torch.load(((weights.name, weights.read_bytes()),), 1.0, device="cpu")
    return partial(enlarge, network)


def enlarge(network: tiling.Network, pixels: Pixels) -> Pixels:
    return tiling.enlarge(network, pixels, tile=tiling.TILE, done=lambda _: None)


def in_bfloat16(candidate: Callable[[Pixels], Pixels], pixels: Pixels) -> Pixels:
    import torch

    with torch.autocast("cpu", torch.bfloat16):
        return candidate(pixels)


def levels(first: Pixels, second: Pixels) -> int:
    return int(np.abs(first.astype(int) - second).max())


def rows(folder: Path) -> dict[str, dict[str, float]]:
    """Network -> seconds, ratios and differences; both sides take turns on one picture."""
    found = {}
    pixels = scene(SIDE, SIDE)
    for name, convolutions in NETWORKS.items():
        files = sorted(folder.glob(f"{name}*.pth"))
        if not files:
            continue
        quiet, usual, we = (
            theirs(files[0], convolutions, 0, 0),
            theirs(files[0], convolutions, 128, 10),
            ours(files[0]),
        )
        times = seconds(
            {
                "theirs": partial(quiet, pixels),
                "ours": partial(we, pixels),
                "ours bf16": partial(in_bfloat16, we, pixels),
            }
        )
        truth, got, rough = quiet(pixels), we(pixels), in_bfloat16(we, pixels)
        found[name] = {
            "theirs_s": times["theirs"],
            "ours_s": times["ours"],
            "theirs_over_ours": times["theirs"] / times["ours"],
            "theirs_over_ours_bf16": times["theirs"] / times["ours bf16"],
            "ours_levels": levels(truth, got),
            "ours_bf16_levels": levels(truth, rough),
            "ours_bf16_psnr_to_fp32": psnr(truth, rough, 0),
            "their_tiles_levels": levels(truth, usual(pixels)),
        }
    return found
