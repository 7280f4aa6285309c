# mypy: disallow-subclassing-any=False
"""Networks of an operator's own files: spandrel finds the architecture, and they run as those of `backends.torch` do.

Where it is RRDBNet or SRVGGNetCompact our own module takes the parameters: it enlarges in strips and knows its radius.
Of any other the radius is measured, once, when the file is added.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tessera_engine import tiling
from tessera_engine.backends.torch import Architecture, TorchNetwork, build
from tessera_engine.errors import NOT_FINITE, NotFinite

SCALES = (2, 3, 4, 8)
PROBE = 64  # px on a side of the picture that a network is tried with
FAR = (32, 128, 512, 1056)  # px: a radius is looked for up to the first of these that it does not reach
GENEROUS = 64  # px: the halo where a network sees the whole picture, however large
LIVE = 3  # times a layer's input and output are live at once: a rough guess, for the size of tiles
TILE, BESIDE = 40, 200  # px on a side of the tiles, and beside the halos, in the trial of a measured radius

# ESRGAN's first names for the parameters of RRDBNet, with which spandrel keeps them, to its later ones.
RENAMED = (
    (r"model\.0\.", "conv_first."),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"model\.1\.sub\.\d+\.", "conv_body."),
    (r"model\.3\.", "conv_up1."),
    (r"model\.6\.", "conv_up2."),
    (r"model\.8\.", "conv_hr."),
    (r"model\.10\.", "conv_last."),
)


def load(name: str, data: bytes, *, halo: int, half_safe: bool, device: str = "") -> TorchNetwork:
    """The network of a file whose hash has been checked, with a halo that `facts` found."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    descriptor = described(name, data)
    net = ours(descriptor) or Foreign(descriptor, halo)
    return TorchNetwork(net, where, half=half_safe and where.type == "cuda")


def facts(name: str, data: bytes) -> dict[str, Any]:
    """`architecture`, `scale`, `halo`, `exact` and `half_safe`, as `own.OwnWeights` has them. ValueError when the file
    holds no network that enlarges colours.
    """
    descriptor = described(name, data)
    net, exact = ours(descriptor), True
    if net is None:
        radius = measured_radius(Foreign(descriptor, 0))
        exact = radius is not None and seamless(Foreign(descriptor, radius))
        step = descriptor.size_requirements.multiple_of
        net = Foreign(descriptor, radius if exact and radius is not None else math.ceil(GENEROUS / step) * step)
    return {
        "architecture": ", ".join((descriptor.architecture.name, *descriptor.tags)),
        "scale": descriptor.scale,
        "halo": net.radius,
        "exact": exact,
        "half_safe": descriptor.supports_half,
    }


def face_restorer(name: str, data: bytes, device: str = "") -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """(512, 512, 3) to the same, of a file whose hash has been checked; ValueError when it holds no GFPGAN.

    With the file's own noise instead of drawn noise, so that a face is restored the same way every time.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    found = imported().ModelLoader().load_from_state_dict(contents(name, data))
    if found.architecture.id != "GFPGAN":
        raise ValueError(f"{name} holds no GFPGAN")
    net = found.float().model.eval().requires_grad_(False).to(where)

    def restore(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.inference_mode():
            pixels = torch.from_numpy(face.copy()).to(where).permute(2, 0, 1)[None].float()
            restored = net(pixels / 127.5 - 1, return_rgb=False, randomize_noise=False)[0][0]
            if not torch.isfinite(restored).all():
                raise NotFinite(NOT_FINITE)
            samples = ((restored.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            square: NDArray[np.uint8] = samples.permute(1, 2, 0).cpu().numpy()
            return square

    return restore


def contents(name: str, data: bytes) -> Any:
    """Parameters by their names. `.pth` is unpickled as tensors and plain containers."""
    spandrel = imported()
    if name.endswith(".safetensors"):
        from safetensors.torch import load as load_safetensors  # type: ignore[import-not-found, unused-ignore]

        content: Any = load_safetensors(data)
    else:
        content = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return spandrel.canonicalize_state_dict(content)


def described(name: str, data: bytes) -> Any:
    """spandrel's ImageModelDescriptor, its module in float32."""
    spandrel = imported()
    try:
        found = spandrel.ModelLoader().load_from_state_dict(contents(name, data))
    except spandrel.UnsupportedModelError as error:
        raise ValueError(f"{name} holds no network that spandrel knows") from error
    if not isinstance(found, spandrel.ImageModelDescriptor) or found.purpose != "SR" or found.scale not in SCALES:
        raise ValueError(f"{name} holds no network that enlarges 2, 3, 4 or 8 times")
    if (found.input_channels, found.output_channels) != (3, 3) or found.size_requirements.square:
        raise ValueError(f"{name} holds a network that does not take every picture in colours")
    found.float().model.eval().requires_grad_(False)
    side = max(PROBE, found.size_requirements.minimum)
    picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        said = found.model(picture.clone())  # some write into what they are given
        if not isinstance(said, Tensor) or not torch.equal(said.clamp(0, 1), found(picture.clone())):
            raise ValueError(f"{name} holds a network of an architecture that needs more than its own forward pass")
    return found


def imported() -> Any:
    """The package. It imports torchvision, whose build for CUDA does not import beside a CPU build of torch because
    two operators are not there. No network here calls them; their names are enough.
    """
    try:
        import torchvision  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import spandrel  # type: ignore[import-untyped, import-not-found, unused-ignore]

    return spandrel


def ours(descriptor: Any) -> Architecture | None:
    """Our module of the descriptor's parameters, where it is one of our two architectures."""
    state = {renamed(key): tensor for key, tensor in descriptor.model.state_dict().items()}
    if descriptor.architecture.id not in ("ESRGAN", "Compact"):
        return None
    try:
        net = build(state)
    except (KeyError, ValueError, RuntimeError):  # a variant of theirs: other activations, one doubling, three of them
        return None
    return net if net.upscale == descriptor.scale else None


def renamed(key: str) -> str:
    for old, new in RENAMED:
        if (name := re.sub(f"^{old}", new, key)) != key:
            return name
    return key


class Foreign(nn.Module):
    """A module of spandrel's in the two stages of a TorchNetwork: all of it in the first, in the second its pixels are
    put in their places.

    `unshuffle`: tiles start at multiples of the pixels that the network takes together.
    """

    tail_radius = 0

    def __init__(self, descriptor: Any, radius: int) -> None:
        super().__init__()
        self.upscale: int = descriptor.scale
        self.unshuffle: int = descriptor.size_requirements.multiple_of
        self.minimum: int = descriptor.size_requirements.minimum
        self.radius = radius
        self.net = descriptor.model
        self.last = nn.Identity()  # of other networks the last layer, which stays in single precision
        self.tail_values = 2 * 3 * (self.upscale * self.unshuffle) ** 2
        self.planar, self.widest = tried(self)

    def features(self, x: Tensor) -> Tensor:
        x = x.to(next(self.net.parameters()).dtype)
        return functional.pixel_unshuffle(self.whole(x).float(), self.upscale * self.unshuffle)

    def tail(self, features: Tensor, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(features, self.upscale * self.unshuffle)

    def whole(self, x: Tensor) -> Tensor:
        """(1, 3, h, w) in 0..1 to (1, 3, h * upscale, w * upscale); a small picture's edge is repeated."""
        height, width = x.shape[2:]
        if self.planar:
            x = x.contiguous()
        right, bottom = max(0, self.minimum - width), max(0, self.minimum - height)
        if right or bottom:
            x = functional.pad(x, (0, right, 0, bottom), mode="replicate")
        enlarged: Tensor = self.net(x)
        return enlarged[:, :, : height * self.upscale, : width * self.upscale]


def tried(net: Foreign) -> tuple[bool, int]:
    """Whether the network fails with tensors that have their channels last, and its widest layers' live values per
    pixel of the input.
    """
    widest = 0

    def look(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal widest
        tensors = (value for value in (*inputs, output) if isinstance(value, Tensor))
        widest = max(widest, sum(tensor.numel() for tensor in tensors))

    side = math.ceil(max(PROBE, net.minimum) / net.unshuffle) * net.unshuffle
    picture = torch.rand(1, 3, side, side)
    hooks = [module.register_forward_hook(look) for module in net.net.modules() if not list(module.children())]
    try:
        net.planar = False
        net.net.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            net.whole(picture.contiguous(memory_format=torch.channels_last))
    except RuntimeError:  # "view size is not compatible ...": a module that counts on planes
        net.planar = True
        net.net.to(memory_format=torch.contiguous_format)
        with torch.inference_mode():
            net.whole(picture)
    finally:
        for hook in hooks:
            hook.remove()
    return net.planar, LIVE * math.ceil(widest / side**2)


def measured_radius(net: Foreign) -> int | None:
    """How many pixels of the input around a pixel (or around those that are taken together) its enlargement depends on:
    how far the gradient reaches in a long strip, along and across. None where that is farther than anything tried, or
    where no gradient can be taken.

    Behind every module the gradient's values are replaced by 1 where they are not 0: at the end of a deep network's
    reach they are a product of hundreds of small numbers, which no float holds.
    """
    widest = 0
    for upright, seed in ((False, 1), (True, 1), (False, 2), (True, 2)):
        try:
            radius = _reach(net, seed, upright=upright)
        except RuntimeError:  # "... has been modified by an inplace operation"
            return None
        if radius is None:
            return None
        widest = max(widest, radius)
    return widest


def _reach(net: Foreign, seed: int, *, upright: bool) -> int | None:
    step, scale = net.unshuffle, net.upscale
    low = _strip_height(net)
    for limit in FAR:
        far = math.ceil(limit / step) * step
        strip = torch.rand(1, 3, low, 2 * far + step, generator=torch.Generator().manual_seed(seed))
        strip = (strip.transpose(2, 3) if upright else strip).contiguous().requires_grad_(True)
        with torch.enable_grad(), _ones_for_gradients(net.net):
            enlarged = net.whole(strip * 1)
            enlarged = enlarged.transpose(2, 3) if upright else enlarged
            enlarged[:, :, :, far * scale : (far + step) * scale].sum().backward()
        assert strip.grad is not None
        reached = (strip.grad.transpose(2, 3) if upright else strip.grad).abs().sum((0, 1, 2)).nonzero()
        radius = max(far - int(reached.min()), int(reached.max()) - (far + step - 1))
        if radius < far:
            return math.ceil(radius / step) * step
    return None


@contextmanager
def _ones_for_gradients(net: nn.Module) -> Iterator[None]:
    def watch(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: gradient.ne(0).to(gradient.dtype))

    hooks = [module.register_forward_hook(watch) for module in net.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def seamless(net: Foreign) -> bool:
    """Whether a strip of noise in tiles is the strip in one piece, give or take the rounding of one level."""
    low = _strip_height(net)
    length = 2 * net.radius + BESIDE
    pixels = np.random.default_rng(1).integers(0, 256, (low, length, 3), dtype=np.uint8)
    for strip in (pixels, np.ascontiguousarray(pixels.transpose(1, 0, 2))):
        whole, tiles = (
            tiling.enlarge(TorchNetwork(net, torch.device("cpu"), side=side), strip, tile=0, done=lambda _: None)
            for side in (2 * length, max(TILE, net.unshuffle))
        )
        if np.abs(whole.astype(np.int16) - tiles).max() > 1:
            return False
    return True


def _strip_height(net: Foreign) -> int:
    return math.ceil(max(net.minimum, 8) / net.unshuffle) * net.unshuffle
