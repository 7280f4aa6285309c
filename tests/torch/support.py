"""Networks with drawn weights, and the real compact ones where a folder has them.

TESSERA_TEST_WEIGHTS names the folder (../shared/data/weights beside the repository when unset).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tessera_engine.archs.rrdbnet import RRDBNet
from tessera_engine.archs.srvgg import SRVGGNetCompact
from tessera_engine.backends.torch import Architecture

torch.set_num_threads(1)  # small pictures; threads that wait for one another on a busy machine take minutes

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("TESSERA_TEST_WEIGHTS", REPOSITORY.parent / "shared" / "data" / "weights"))
FOUND = sorted(path for ending in ("pth", "safetensors") for path in FOLDER.glob(f"realesr-*.{ending}"))

SMALL: dict[str, Callable[[], Architecture]] = {
    "RRDB x4": lambda: RRDBNet(num_feat=16, num_block=1, num_grow_ch=16),
    "RRDB x2": lambda: RRDBNet(scale=2, num_feat=16, num_block=1, num_grow_ch=16),
    "compact x4": lambda: SRVGGNetCompact(num_feat=16, num_conv=3),
    "compact x2": lambda: SRVGGNetCompact(num_feat=16, num_conv=2, upscale=2),
}


def drawn(kind: str, seed: int = 3) -> Architecture:
    """A small network whose output has contrast and is cut at both ends here and there."""
    net = SMALL[kind]()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        net.last.weight.mul_(0.4)
        net.last.bias.add_(0.3)
    return net


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """Soft shapes with some noise; no two equal corners."""
    rng = np.random.default_rng(7)
    down, across = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(across / (5 + 3 * c) + c) * 60 + np.cos(down / (4 + 2 * c)) * 50 + 128 for c in range(3)]
    return (np.stack(waves, axis=-1) + rng.normal(0, 4, (height, width, 3))).clip(0, 255).astype(np.uint8)


def saved(content: object) -> bytes:
    target = BytesIO()
    torch.save(content, target)
    return target.getvalue()
