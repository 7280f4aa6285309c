"""The networks' forward passes written down a second time, from the papers and the parameters' names: the oracle.

No tiles, no modules: functions of tensors, zeros beyond the picture's edge, float32 unless asked otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]


def enlarge(state: State, pixels: NDArray[np.uint8], *, halved: bool = False) -> NDArray[np.uint8]:
    """uint8 (h, w, 3) to uint8 (h * scale, w * scale, 3), rounded half to even as Real-ESRGAN does."""
    levels = values(state, pixels, torch.float32).clamp(0, 1)
    if halved:
        levels = functional.avg_pool2d(levels, 2)
    return levels.mul(255).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()


def values(state: State, pixels: NDArray[np.uint8 | np.uint16], kind: torch.dtype, white: int = 255) -> Tensor:
    """What the network gives, not cut to 0..1: (1, 3, h * scale, w * scale)."""
    state = {name: placed(tensor.to(kind)) for name, tensor in state.items()}
    with torch.inference_mode():
        picture = torch.from_numpy(pixels.astype(np.int32)).permute(2, 0, 1)[None].to(kind).div(white)
        picture = picture.contiguous(memory_format=torch.channels_last)
        return rrdb(state, picture) if "conv_first.weight" in state else compact(state, picture)


def placed(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def convolve(state: State, name: str, features: Tensor) -> Tensor:
    return functional.conv2d(features, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)


def compact(state: State, picture: Tensor) -> Tensor:
    last = max(int(name.split(".")[1]) for name in state)
    features = picture
    for number in range(0, last, 2):
        features = functional.prelu(convolve(state, f"body.{number}", features), state[f"body.{number + 1}.weight"])
    residual = convolve(state, f"body.{last}", features)
    batch, channels, height, width = residual.shape
    scale = int((channels // 3) ** 0.5)
    places = residual.reshape(batch, 3, scale, scale, height, width).permute(0, 1, 4, 2, 5, 3)
    nearest = picture.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return places.reshape(batch, 3, height * scale, width * scale) + nearest


def rrdb(state: State, picture: Tensor) -> Tensor:
    height, width = picture.shape[2:]
    factor = int((state["conv_first.weight"].shape[1] // 3) ** 0.5)
    picture = grown(grown(picture, 2, -height % factor), 3, -width % factor)
    if factor > 1:
        batch, _, high, wide = picture.shape
        cells = picture.reshape(batch, 3, high // factor, factor, wide // factor, factor).permute(0, 1, 3, 5, 2, 4)
        picture = placed(cells.reshape(batch, 3 * factor**2, high // factor, wide // factor))
    first = convolve(state, "conv_first", picture)
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("body."))
    features = first
    for number in range(blocks):
        inner = features
        for dense in (1, 2, 3):
            inner = block(state, f"body.{number}.rdb{dense}", inner)
        features = inner * 0.2 + features
    features = first + convolve(state, "conv_body", features)
    for name in ("conv_up1", "conv_up2"):
        doubled = placed(features.repeat_interleave(2, 2).repeat_interleave(2, 3))
        features = leaky(convolve(state, name, doubled))
    enlarged = convolve(state, "conv_last", leaky(convolve(state, "conv_hr", features)))
    return enlarged[:, :, : height * 4 // factor, : width * 4 // factor]


def block(state: State, name: str, features: Tensor) -> Tensor:
    seen = [features]
    for number in (1, 2, 3, 4):
        seen.append(leaky(convolve(state, f"{name}.conv{number}", torch.cat(seen, 1))))
    return convolve(state, f"{name}.conv5", torch.cat(seen, 1)) * 0.2 + features


def leaky(features: Tensor) -> Tensor:
    return torch.where(features >= 0, features, features * 0.2)


def grown(picture: Tensor, axis: int, amount: int) -> Tensor:
    """One more row or column, mirrored without the edge itself, as Real-ESRGAN makes odd sides even; of one, itself."""
    size = picture.shape[axis]
    if amount == 0:
        return picture
    return torch.cat([picture, picture.narrow(axis, max(0, size - 2), 1)], axis)
