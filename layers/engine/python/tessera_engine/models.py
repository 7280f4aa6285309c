"""The catalogue: which networks exist, what they are made of, and which of them answers to which name.

A name that another service uses for a model is mapped to a network of ours or of the public, or to a composition of
public ones. Nothing here claims to be that service's model. Where a network's files or its backend are not installed,
the default network may stand in for it, and the outcome says so.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tessera_engine import catalogue
from tessera_engine.backends import onnx
from tessera_engine.catalogue import File
from tessera_engine.errors import ModelUnavailable
from tessera_engine.tiling import Network

StandIn = Literal["allow", "refuse"]

WEIGHTS = Path(__file__).parent / "weights"

# Exact enlargements by passes of 2 and 4. Eight is 2 first: the second pass then sees 4 times the pixels, not 16 times.
PASSES = {2: (2,), 4: (4,), 8: (2, 4)}


@dataclass(frozen=True)
class Weights:
    """One file of `weights/`, which enlarges `scale` times and reads `halo` pixels around what it enlarges."""

    file: str
    sha256: str
    scale: int
    halo: int

    @property
    def files(self) -> tuple[File, ...]:
        """What has to be pulled: nothing, the file is shipped."""
        return ()

    @property
    def obstacle(self) -> str:
        """Why this cannot run here; empty when it can."""
        return "" if (WEIGHTS / self.file).is_file() else f"{self.file} is missing"

    def load(self) -> Network:
        """ValueError when the file's bytes are not the listed ones."""
        data = (WEIGHTS / self.file).read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.file} is not the file that the catalogue lists")
        return onnx.load(data, self.scale, self.halo)


@dataclass(frozen=True)
class Pulled:
    """A public file, or the interpolation of two: `share` of the first one's parameters, the rest of the second's.

    `halved` averages 2 x 2 pixels of a network that enlarges 4 times, before they are rounded.
    """

    files: tuple[File, ...]
    share: float = 1.0
    halved: bool = False

    @property
    def scale(self) -> int:
        return self.files[0].scale // 2 if self.halved else self.files[0].scale

    @property
    def halo(self) -> int:
        return self.files[0].halo

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


AnyWeights = Weights | Pulled


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
        """The weights to run one after another for an enlargement of 2, 4 or 8, installed or not."""
        own = {weights.scale: weights for weights in self.weights}
        return tuple(own[factor] for factor in PASSES[scale] if factor in own)

    def obstacle(self, scale: int) -> str:
        """Why it cannot enlarge so here; empty when it can."""
        needed = self.needed(scale)
        if len(needed) < len(PASSES[scale]):
            return "it has no weights for that scale"
        return next((weights.obstacle for weights in needed if weights.obstacle), "")

    def passes(self, scale: int) -> tuple[AnyWeights, ...]:
        """The weights to run one after another for an enlargement of 2, 4 or 8; empty when something is missing."""
        return () if self.obstacle(scale) else self.needed(scale)


@dataclass(frozen=True)
class Choice:
    """What will run: `stand_in` is true when `model` is not the one that the name means."""

    model: Model
    passes: tuple[AnyWeights, ...]
    stand_in: bool


DEFAULT = Model(
    name="tessera-fidelity",
    architecture="M6C48",
    weights=(
        Weights("tessera-fidelity-x2.onnx", "07cffaadfe705443585581f2ebe37ccb2ffb302a3a1fc433462bd38d01df4630", 2, 8),
        Weights("tessera-fidelity-x4.onnx", "5084580c34c39ef227ad4fc029c36f0a7ff5f33126d0425e9892991f7ccc7fa4", 4, 8),
    ),
    licence="CC0-1.0",
    description="Small and quick; adds nothing that the picture does not show. Made by training/.",
)


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

CATALOGUE = {model.name: model for model in (DEFAULT, *REAL_ESRGAN, *COMPOSITIONS)}

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


def choose(name: str, scale: int, stand_in: StandIn) -> Choice:
    """ModelUnavailable for an unknown name, and for one whose weights are missing when nothing may stand in."""
    model = CATALOGUE.get(ALIASES.get(name, name))
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
    data = (catalogue.cache_directory() / file.name).read_bytes()
    file.check(data)
    return data


@cache
def network(weights: AnyWeights) -> Network:
    """Loaded once per process, after its bytes have been found to be the catalogue's."""
    return weights.load()
