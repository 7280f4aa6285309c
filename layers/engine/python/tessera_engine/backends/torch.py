"""Networks of the Real-ESRGAN family, from their official files, run by PyTorch on the CPU or on a CUDA device.

Beside `backends.spandrel`, which builds on it, the one module of the engine that imports torch; nothing imports the two
before such a network is asked for.

A tile is computed in two stages. The features, most of the work, are made at the input's size for the tile with its
halo; the tail, which needs much memory per pixel and little halo, enlarges the tile's middle in strips. Beyond the
picture's edge the convolutions see zeros, as in the network's own forward pass on the whole picture. So the result is
that forward pass, whatever the tiling. On the CPU it is equal to the last bit for tiles from SMALLEST on: with
channels-last tensors oneDNN adds in one order whatever the shape (with planar ones it does not).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tessera_engine.archs.rrdbnet import RRDBNet
from tessera_engine.archs.srvgg import SRVGGNetCompact
from tessera_engine.errors import NOT_FINITE, NetworkFault, NotFinite
from tessera_engine.picture import BYTES, Depth, Pixels, most
from tessera_engine.tiling import Padding

State = Mapping[str, Any]  # names of parameters to tensors
Architecture = RRDBNet | SRVGGNetCompact

CPU_MEMORY = 3 * 1024**3  # bytes for a tile's values
CUDA_SHARE = 0.6  # of the device's free memory
STRIP_MEMORY = 512 * 1024**2  # bytes for a strip of the tail
LARGEST, SMALLEST = 2048, 32  # px on a tile's side: for progress, and below which lack of memory has another cause

NO_MEMORY = "There is not enough memory for the network."


@dataclass(frozen=True)
class AtEdge:
    """A network for one tile, of whose halo `outside` lies beyond the picture."""

    network: TorchNetwork
    outside: Padding

    @property
    def scale(self) -> int:
        return self.network.scale

    @property
    def halo(self) -> int:
        return self.network.halo

    def enlarge(self, tile: Pixels) -> Pixels:
        return self.network.enlarge(tile, self.outside)


class TorchNetwork:
    """(h + 2 * halo, w + 2 * halo, 3) to (h * scale, w * scale, 3), uint8 or uint16 as the tile is.

    `halved` averages 2 x 2 pixels of what the network gives, before it is rounded: its scale is half the network's.
    `align`: a tile starts at multiples of it. `side`: of the largest tile that is computed in one go; it becomes
    smaller when the device's memory does not suffice, and a tile that met that is computed anew.
    """

    def __init__(
        self, net: Architecture, device: torch.device, *, half: bool = False, halved: bool = False, side: int = 0
    ) -> None:
        self.net = channels_last(net, device)
        self.half = channels_last(except_last_half(net), device) if half else None
        self.device = device
        self.halved = halved
        self.scale: int = net.upscale // 2 if halved else net.upscale
        self.halo: int = net.radius
        self.align: int = net.unshuffle
        self.side = side // self.align * self.align or self._affordable()

    def at_edge(self, outside: Padding) -> AtEdge:
        return AtEdge(self, outside)

    def enlarge(self, tile: Pixels, outside: Padding | None = None) -> Pixels:
        """`outside`: how much of the tile's halo on each side lies beyond the picture; it is not looked at."""
        beyond = outside or Padding.all(0)
        height, width, _ = tile.shape
        inside = tile[beyond.top : height - beyond.bottom, beyond.left : width - beyond.right]
        margin = Padding(*(self.halo - side for side in (beyond.left, beyond.top, beyond.right, beyond.bottom)))
        return self._divided(inside, margin)

    def _divided(self, tile: Pixels, margin: Padding) -> Pixels:
        """The enlargement of the tile without its margin, in as many parts as `side` makes of it."""
        height = tile.shape[0] - margin.top - margin.bottom
        width = tile.shape[1] - margin.left - margin.right
        if max(height, width) <= self.side:
            try:
                return self._finite(tile, margin)
            except torch.OutOfMemoryError as error:
                if self.side <= SMALLEST:
                    raise NetworkFault(NO_MEMORY) from error
                self.side = max(SMALLEST, max(height, width) // 2 // self.align * self.align)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        enlarged = np.empty((height * self.scale, width * self.scale, 3), tile.dtype)
        step = self.side
        for top in range(0, height, step):
            for left in range(0, width, step):
                high, wide = min(step, height - top), min(step, width - left)
                part = Padding(
                    min(self.halo, margin.left + left),
                    min(self.halo, margin.top + top),
                    min(self.halo, margin.right + width - left - wide),
                    min(self.halo, margin.bottom + height - top - high),
                )
                first, upper = margin.left + left, margin.top + top
                around = tile[
                    upper - part.top : upper + high + part.bottom, first - part.left : first + wide + part.right
                ]
                enlarged[
                    top * self.scale : (top + high) * self.scale, left * self.scale : (left + wide) * self.scale
                ] = self._divided(around, part)
        return enlarged

    def _finite(self, tile: Pixels, margin: Padding) -> Pixels:
        """In half precision where that is asked for and suffices, else in single precision; else NotFinite.

        Half precision has 11 bits: not enough for samples of 16.
        """
        for net in (self.half if tile.dtype == BYTES else None, self.net):
            if net is not None:
                enlarged, finite = self._compute(net, tile, margin)
                if finite:
                    return enlarged
        raise NotFinite(NOT_FINITE)

    def _compute(self, net: Architecture, tile: Pixels, margin: Padding) -> tuple[Pixels, bool]:
        """The enlarged middle, and whether all numbers were finite. Odd sides are mirrored by a pixel."""
        unshuffle = self.align
        height, width, _ = tile.shape
        middle = height - margin.top - margin.bottom, width - margin.left - margin.right
        whole = np.pad(tile, ((0, -height % unshuffle), (0, -width % unshuffle), (0, 0)), mode="reflect")
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            if tile.dtype != BYTES:
                whole = whole.astype(np.int32)  # torch computes little with uint16
            samples = torch.from_numpy(np.ascontiguousarray(whole)).to(self.device)
            pixels = samples.permute(2, 0, 1)[None].to(torch.float32).div(most(tile.dtype))
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            features = net.features(pixels)
            finite = torch.ones((), dtype=torch.bool, device=self.device)
            strips = []
            left = margin.left // unshuffle
            right = left + math.ceil(middle[1] / unshuffle)
            first = margin.top // unshuffle
            last = first + math.ceil(middle[0] / unshuffle)
            for top, bottom in strips_of(first, last, (right - left) * net.tail_values * 4):
                strip = self._tail(net, features, pixels, Padding(left, top, right, bottom))
                finite &= torch.isfinite(strip).all()
                strips.append(self._quantised(strip, tile.dtype))
            enlarged = torch.cat(strips)[: middle[0] * self.scale, : middle[1] * self.scale].cpu().numpy()
            return enlarged.astype(tile.dtype, copy=False), bool(finite)

    def _tail(self, net: Architecture, features: Any, pixels: Any, box: Padding) -> Any:
        """What the network gives for a box of features, edges in pixels of the features from the left and the top."""
        radius, unshuffle = net.tail_radius, self.align
        high, wide = features.shape[2:]
        left, top = max(0, box.left - radius), max(0, box.top - radius)
        right, bottom = min(wide, box.right + radius), min(high, box.bottom + radius)
        around = net.tail(
            features[:, :, top:bottom, left:right].contiguous(memory_format=torch.channels_last),
            pixels[:, :, top * unshuffle : bottom * unshuffle, left * unshuffle : right * unshuffle],
        )
        factor = net.upscale * unshuffle
        return around[
            :,
            :,
            (box.top - top) * factor : (box.bottom - top) * factor,
            (box.left - left) * factor : (box.right - left) * factor,
        ]

    def _quantised(self, strip: Any, dtype: Depth) -> Any:
        """float32 (1, 3, h, w), 0..1 and beyond, to uint8, or for uint16 int32, (h, w, 3) on the device."""
        strip = strip.clamp(0, 1)
        if self.halved:
            strip = functional.avg_pool2d(strip, 2)
        samples = strip.mul(most(dtype)).round().to(torch.uint8 if dtype == BYTES else torch.int32)
        return samples[0].permute(1, 2, 0)

    def _affordable(self) -> int:
        """A tile whose values, halo included, fit into the memory; not so small that it is mostly halo."""
        cuda = self.device.type == "cuda"
        memory = CUDA_SHARE * torch.cuda.mem_get_info(self.device)[0] if cuda else CPU_MEMORY
        side = math.isqrt(int(memory) // (self.net.widest * (2 if self.half is not None else 4))) - 2 * self.halo
        return min(LARGEST, max(256, side)) // self.align * self.align


def strips_of(first: int, last: int, row_bytes: int) -> list[tuple[int, int]]:
    """Rows `first` to `last` in pieces of about STRIP_MEMORY."""
    rows = max(1, STRIP_MEMORY // row_bytes)
    return [(top, min(top + rows, last)) for top in range(first, last, rows)]


def load(
    files: tuple[tuple[str, bytes], ...],
    share: float,
    *,
    halved: bool = False,
    half_safe: bool = True,
    device: str = "",
) -> TorchNetwork:
    """The network of one file, or of two: `share` of the first file's parameters and the rest of the second's.

    Files are (name, bytes whose hash has been checked), `.pth` or `.safetensors`. `device`: "cpu", "cuda", or "" for
    CUDA where it is at hand. On CUDA, half precision where the network is known to bear it.
    """
    states = [read(name, data) for name, data in files]
    state = states[0] if len(states) == 1 else blended(states[0], states[1], share)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return TorchNetwork(build(state), where, half=half_safe and where.type == "cuda", halved=halved)


def read(name: str, data: bytes) -> State:
    """Parameters in float32. `.pth` is unpickled with `weights_only`: tensors and plain containers, never code."""
    if name.endswith(".safetensors"):
        from safetensors.torch import load as load_safetensors  # type: ignore[import-not-found, unused-ignore]

        content: Any = load_safetensors(data)
    else:
        content = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    for key in ("params_ema", "params"):  # Real-ESRGAN's own order of preference
        content = content.get(key, content)
    return {key: tensor.to(torch.float32) for key, tensor in content.items()}


def blended(state: State, other: State, share: float) -> State:
    """Network interpolation (Wang et al., "ESRGAN", 2018, section 3.4): share * state + (1 - share) * other."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share is 0 to 1, not {share}")
    if state.keys() != other.keys():
        raise ValueError("only networks of one architecture can be blended")
    return {key: share * tensor + (1 - share) * other[key] for key, tensor in state.items()}


def build(state: State) -> Architecture:
    """The network that the parameters' names and shapes describe; a RuntimeError names what does not fit."""
    net: Architecture
    if "conv_first.weight" in state:
        features, channels = state["conv_first.weight"].shape[:2]
        net = RRDBNet(
            scale=4 // math.isqrt(channels // 3),
            num_feat=features,
            num_block=1 + max((int(key.split(".")[1]) for key in state if key.startswith("body.")), default=-1),
            num_grow_ch=state["body.0.rdb1.conv1.weight"].shape[0],
        )
    elif "body.0.weight" in state:
        last = max(int(key.split(".")[1]) for key in state)
        net = SRVGGNetCompact(
            num_feat=state["body.0.weight"].shape[0],
            num_conv=(last - 2) // 2,
            upscale=math.isqrt(state[f"body.{last}.bias"].shape[0] // 3),
        )
    else:
        raise ValueError("the file holds no RRDBNet and no SRVGGNetCompact")
    net.load_state_dict(dict(state), strict=True)
    return net


def except_last_half(net: Architecture) -> Architecture:
    """A copy in half precision but for the last convolution, whose rounding would be seen."""
    copy: Architecture = deepcopy(net).half()
    copy.last.float()
    return copy


def channels_last(net: Architecture, device: torch.device) -> Architecture:
    kind = torch.contiguous_format if getattr(net, "planar", False) else torch.channels_last
    placed: Architecture = net.eval().requires_grad_(False).to(device, memory_format=kind)
    return placed
