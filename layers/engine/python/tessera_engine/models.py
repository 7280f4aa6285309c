"""The catalogue: which networks exist, what they are made of, and which of them answers to which name.

A name that another service uses for a model is mapped to a network of ours or of the public, or to a composition of
public ones. Nothing here claims to be that service's model. Where a network's files or its backend are not installed,
the default network may stand in for it, and the outcome says so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from tessera_engine import catalogue, own
from tessera_engine.backends import onnx
from tessera_engine.catalogue import File
from tessera_engine.cores import multiplies_bytes
from tessera_engine.errors import ModelUnavailable
from tessera_engine.own import OwnWeights
from tessera_engine.picture import BYTES, Depth
from tessera_engine.tiling import Network

StandIn = Literal["allow", "refuse"]

WEIGHTS = Path(__file__).parent / "weights"

# Scale -> ways to it, the best first: networks one after another, whose product is brought down where it is too large.
# Eight is 2 first: the second pass then sees 4 times the pixels, not 16 times.
PASSES: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((2,), (3,), (4,), (8,)),
    3: ((3,), (4,), (2, 2), (8,)),
    4: ((4,), (2, 2), (8,), (3, 3)),
    8: ((2, 4), (8,), (2, 2, 2), (3, 3), (4, 4)),
}

PRECISIONS = ("auto", "exact")  # integers where the processor multiplies them quickly, or floating point everywhere


def precision() -> str:
    """TESSERA_PRECISION, one of PRECISIONS; ValueError for anything else."""
    chosen = os.environ.get("TESSERA_PRECISION", "auto")
    if chosen not in PRECISIONS:
        raise ValueError(f"TESSERA_PRECISION is {' or '.join(PRECISIONS)}, not {chosen!r}")
    return chosen


@dataclass(frozen=True)
class Weights:
    """One file of `weights/`, which enlarges `scale` times and reads `halo` pixels around what it enlarges.

    `quick` is the same network in 8-bit integers, for processors that are quicker with those. `graph` is another file,
    with its SHA-256, that has the layers for this one's constants; `deep` is the same network by such a graph, for 16
    bits per sample.
    """

    file: str
    sha256: str
    scale: int
    halo: int
    pixel_bytes: int  # of activations to one pixel of the input
    quick: Weights | None = None
    deep: Weights | None = None
    graph: tuple[str, str] | None = None
    exact: ClassVar = True  # the halo is all that the network sees
    generative: ClassVar[bool] = False  # trained on differences of pixels alone

    @property
    def fitting(self) -> Weights:
        """Those of this network that run on this processor."""
        quick = self.quick and not self.quick.obstacle and precision() == "auto" and multiplies_bytes()
        return self.quick if self.quick and quick else self

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of what runs, in hex."""
        return (self.fitting.sha256,)

    @property
    def files(self) -> tuple[File, ...]:
        """What has to be pulled: nothing, the file is shipped."""
        return ()

    @property
    def obstacle(self) -> str:
        """Why this cannot run here; empty when it can."""
        deep = self.deep and self.deep.obstacle
        names = [self.file, *(self.graph or ())[:1]]
        return deep or next((f"{name} is missing" for name in names if not (WEIGHTS / name).is_file()), "")

    def load(self) -> Network:
        """ValueError when the file's bytes are not the listed ones."""
        chosen = self.fitting
        data = shipped(chosen.file, chosen.sha256)
        if chosen.graph is None:
            return onnx.load(data, chosen.scale, chosen.halo)
        return onnx.load(shipped(*chosen.graph), chosen.scale, chosen.halo, data)


def shipped(name: str, sha256: str) -> bytes:
    """A file of `weights/`. ValueError when its bytes are not the listed ones."""
    data = (WEIGHTS / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{name} is not the file that the catalogue lists")
    return data


@dataclass(frozen=True)
class Pulled:
    """A public file, or the interpolation of two: `share` of the first one's parameters, the rest of the second's.

    `halved` averages 2 x 2 pixels of a network that enlarges 4 times, before they are rounded.
    """

    files: tuple[File, ...]
    share: float = 1.0
    halved: bool = False
    exact: ClassVar = True

    @property
    def scale(self) -> int:
        return self.files[0].scale // 2 if self.halved else self.files[0].scale

    @property
    def halo(self) -> int:
        return self.files[0].halo

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of what runs, in hex."""
        return tuple(file.sha256 for file in self.files)

    @property
    def generative(self) -> bool:
        return any(file.generative for file in self.files)

    @property
    def obstacle(self) -> str:
        """Why this cannot run here; empty when it can."""
        directory = catalogue.cache_directory()
        if missing := [file.name for file in self.files if not (directory / file.name).is_file()]:
            return f"{' and '.join(missing)} must be fetched: python -m tessera_engine models pull"
        if importlib.util.find_spec("torch") is None:
            return "it runs on PyTorch, which is not installed: pip install torch safetensors"
        return ""

    def load(self) -> Network:
        """ValueError when a file's bytes are not the listed ones; then nothing of it has been read as a network."""
        from tessera_engine.backends import torch  # the only way to it, so that nothing else needs torch

        contents = tuple((file.name, checked(file)) for file in self.files)
        half_safe = all(file.half_safe for file in self.files)
        network = torch.load(contents, self.share, halved=self.halved, half_safe=half_safe)
        if (network.scale, network.halo) != (self.scale, self.halo):
            raise ValueError(f"{self.files[0].name} is another network than the catalogue says")
        return network


AnyWeights = Weights | Pulled | OwnWeights


@dataclass(frozen=True)
class Model:
    name: str
    architecture: str
    weights: tuple[AnyWeights, ...]
    licence: str
    description: str

    @property
    def files(self) -> tuple[File, ...]:
        """All public files that it needs for all its scales, each once."""
        return tuple(dict.fromkeys(file for weights in self.weights for file in weights.files))

    def needed(self, scale: int) -> tuple[AnyWeights, ...]:
        """The weights to run one after another for an enlargement by `scale`, installed or not; empty without a way.

        Their product may be larger than `scale`.
        """
        have = {weights.scale: weights for weights in self.weights}
        way = next((way for way in PASSES[scale] if have.keys() >= set(way)), ())
        return tuple(have[factor] for factor in way)

    def obstacle(self, scale: int) -> str:
        """Why it cannot enlarge so here; empty when it can."""
        if not (needed := self.needed(scale)):
            return "it has no weights for that scale"
        return next((weights.obstacle for weights in needed if weights.obstacle), "")

    def passes(self, scale: int) -> tuple[AnyWeights, ...]:
        """What is `needed`; empty when something is missing."""
        return () if self.obstacle(scale) else self.needed(scale)


@dataclass(frozen=True)
class Choice:
    """What will run: `stand_in` is true when `model` is not the one that the name means."""

    model: Model
    passes: tuple[AnyWeights, ...]
    stand_in: bool


PIXEL_BYTES = {2: 415, 4: 620}  # measured, see docs/performance.md
DEEP_PIXEL_BYTES = {2: 475, 4: 740}
DEEP_GRAPHS = {  # training/deep.py
    2: ("m6c48-x2-16.onnx", "f3e11e0d2d4829d6774a673bc810fa6068ea9788fd38e66190821b1a92ad97c0"),
    4: ("m6c48-x4-16.onnx", "6defe1e2f3f16ff408ece3f499b3229df45769f7a6d869103d42e93378580dba"),
}


def _shipped(name: str, scale: int, sha256: str, quick: str) -> Weights:
    """M6C48 in floating point, and `quick`, its partner in 8-bit integers."""
    integers = Weights(f"{name}-x{scale}-int8.onnx", quick, scale, halo=8, pixel_bytes=PIXEL_BYTES[scale])
    floats = Weights(f"{name}-x{scale}.onnx", sha256, scale, halo=8, pixel_bytes=PIXEL_BYTES[scale])
    deep = replace(floats, pixel_bytes=DEEP_PIXEL_BYTES[scale], graph=DEEP_GRAPHS[scale])
    return replace(floats, quick=integers, deep=deep)


FIDELITY = Model(
    name="tessera-fidelity",
    architecture="M6C48",
    weights=(
        _shipped(
            "tessera-fidelity",
            2,
            "678456fe6b3d85eec7a7a1d0ce82be5bf96b0d5369b685574c5244b72bd51cd7",
            "81af9d643ba8058fdb2d0f7c1ea2a9bac6fa966bbff0114dabe625cb692f36cf",
        ),
        _shipped(
            "tessera-fidelity",
            4,
            "8dba4890265ec1d890b5872ce728dd5ab23fbb1f13fab3f95ec5569a67e093f7",
            "524443b22bd791f3e141493de9ab0d9e3ee1bcc0f88f3cd7935fd91084397eb5",
        ),
    ),
    licence="CC0-1.0",
    description="Small and quick; closest to the truth where a picture was reduced well.",
)

PHOTO = Model(
    name="tessera-photo",
    architecture="M6C48",
    weights=(
        _shipped(
            "tessera-photo",
            2,
            "44db27e633fd6871dd28ba732a90de936d3fa5cf9ba792d8ed80083fef2235e1",
            "26d48e8d4bcc35a8ff40daa52299fb3b063f596ea452f0522f57e8f74843bf00",
        ),
        _shipped(
            "tessera-photo",
            4,
            "4e8678dfbdc40d918ab68df836857a4f2ca28c471e7579a32d7e431fdfdb6e5e",
            "d54075bd9321a9268f55927430d9f1502bed1b19fd7d239da4a33ffc0cd4a6b5",
        ),
    ),
    licence="CC0-1.0",
    description="Small and quick; for pictures of the web, with their blur, noise and JPEG.",
)

SHIPPED = (PHOTO, FIDELITY)
DEFAULT = PHOTO  # which may stand in for others


def _public(
    name: str, files: tuple[File, ...], description: str, *, share: float = 1.0, at_2: File | None = None
) -> Model:
    """A model of public files that enlarge 4 times; `at_2` is one that enlarges twice, else the others are halved."""
    twice = Pulled((at_2,)) if at_2 else Pulled(files, share, halved=True)
    return Model(name, files[0].architecture, (twice, Pulled(files, share)), catalogue.LICENCE, description)


REAL_ESRGAN = (
    _public(
        "realesrgan-x4plus",
        (catalogue.X4PLUS,),
        "Restores photographs and invents fine texture.",
        at_2=catalogue.X2PLUS,
    ),
    _public("realesrnet-x4plus", (catalogue.NET_X4PLUS,), "Restores photographs without inventing texture: soft."),
    _public("realesrgan-x4plus-anime", (catalogue.ANIME_6B,), "For drawings: clean lines and flat colours."),
    _public("realesr-animevideov3", (catalogue.ANIME_VIDEO,), "For drawings in motion: small and calm."),
    _public("realesr-general-x4v3", (catalogue.GENERAL,), "Restores photographs at a fifteenth of x4plus' work."),
)


def general(strength: int) -> Model:
    """realesr-general-x4v3 that removes `strength` per cent of the noise that it could remove, 0 to 100."""
    return _public(
        f"realesr-general-x4v3-denoise-{strength}",
        (catalogue.GENERAL, catalogue.GENERAL_WDN),
        f"{strength} % realesr-general-x4v3, {100 - strength} % its partner that leaves noise in.",
        share=strength / 100,
    )


def mixed(texture: int) -> Model:
    """`texture` per cent of RealESRGAN_x4plus, which invents, and the rest of RealESRNet_x4plus, which does not."""
    return _public(
        f"realesrgan-x4plus-texture-{texture}",
        (catalogue.X4PLUS, catalogue.NET_X4PLUS),
        f"{texture} % RealESRGAN_x4plus, {100 - texture} % RealESRNet_x4plus.",
        share=texture / 100,
    )


COMPOSITIONS = (general(50), general(75), *(mixed(texture) for texture in (20, 35, 50, 65, 75, 90)))

CATALOGUE = {model.name: model for model in (*SHIPPED, *REAL_ESRGAN, *COMPOSITIONS)}

# Upscayl's names -> networks by what the names promise. Ours to choose: they are not that service's networks.
ALIASES = {
    "upscayl-standard-4x": "realesrgan-x4plus",
    "upscayl-lite-4x": "realesr-general-x4v3",
    "clear-boost-4x": "realesr-general-x4v3-denoise-50",
    "crystal-plus-4x": "realesrgan-x4plus-texture-75",
    "digital-art-4x": "realesrgan-x4plus-anime",
    "digital-art-plus-4x": "realesrgan-x4plus-anime",
    "natural-max-4x": "realesrgan-x4plus-texture-35",
    "natural-plus-4x": "realesrgan-x4plus-texture-50",
    "nature-boost-4x": "realesrgan-x4plus-texture-65",
    "pure-boost-4x": "realesrgan-x4plus-texture-20",
    "quick-clear-4x": "realesr-general-x4v3-denoise-75",
    "texture-boost-4x": "realesrgan-x4plus-texture-90",
}


def own_models() -> dict[str, Model]:
    """What the operator has added. A name of the catalogue stays the catalogue's."""
    return {
        name: Model(name, weights.architecture, (weights,), weights.licence, weights.description)
        for name, weights in own.listed().items()
        if name not in CATALOGUE and name not in ALIASES
    }


BLENDS = "realesr-general-x4v3"
NOTCH = 10  # per cent: a blend per notch, because every network that has run stays in memory


def find(name: str) -> Model | None:
    """The model that a name means: of the catalogue, a blend of `general` that is not listed, or an own one."""
    name = ALIASES.get(name, name)
    blend = re.fullmatch(BLENDS + r"-denoise-(\d{1,3})", name)
    if name not in CATALOGUE and blend and int(blend[1]) <= 100:
        return general(int(blend[1]))
    return CATALOGUE.get(name) or own_models().get(name)


def denoising(name: str, strength: int, stand_in: StandIn) -> str | None:
    """The name of the model `name` made to remove `strength` per cent of the noise itself.

    None where it cannot, or where something else would run in its stead.
    """
    model = find(name)
    if model is None or not model.name.startswith(BLENDS):
        return None
    blend = general((strength + NOTCH // 2) // NOTCH * NOTCH)
    missing = blend.obstacle(2) or blend.obstacle(4)
    return None if missing and stand_in == "allow" else blend.name


def choose(name: str, scale: int, stand_in: StandIn) -> Choice:
    """ModelUnavailable for an unknown name, and for one whose weights are missing when nothing may stand in."""
    model = find(name)
    if model is None:
        raise ModelUnavailable(f"There is no model of the name {name[:80]!r}.")
    if passes := model.passes(scale):
        return Choice(model, passes, stand_in=False)
    if stand_in == "refuse" or not (passes := DEFAULT.passes(scale)):
        why = model.obstacle(scale)
        raise ModelUnavailable(f"The model {name!r} is not installed here for an enlargement of {scale}: {why}.")
    return Choice(DEFAULT, passes, stand_in=True)


@cache
def checked(file: File) -> bytes:
    """A public file's bytes, read once per process: compositions share files. ValueError when they are others."""
    return catalogue.read(file)


def fit(choice: Choice, dtype: Depth) -> Choice:
    """With the weights for samples of that depth; a network on PyTorch takes either."""
    if dtype == BYTES:
        return choice
    passes = ((isinstance(weights, Weights) and weights.deep) or weights for weights in choice.passes)
    return replace(choice, passes=tuple(passes))


@cache
def network(weights: AnyWeights) -> Network:
    """Loaded once per process, after its bytes have been found to be the catalogue's."""
    return weights.load()
