"""The catalogue: which networks exist, where their weights are, and which of them answers to which name.

A name that another service uses for a model is mapped to the nearest network of ours. Nothing here claims to be that
service's model. Where the weights of a network are not installed, the default network may stand in for it, and the
outcome says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tessera_engine.backends import onnx
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
    def installed(self) -> bool:
        return (WEIGHTS / self.file).is_file()


@dataclass(frozen=True)
class Model:
    name: str
    architecture: str
    weights: tuple[Weights, ...]
    licence: str
    description: str

    def passes(self, scale: int) -> tuple[Weights, ...]:
        """The weights to run one after another for an enlargement of 2, 4 or 8; empty when one of them is missing."""
        installed = {weights.scale: weights for weights in self.weights if weights.installed}
        if not installed.keys() >= set(PASSES[scale]):
            return ()
        return tuple(installed[factor] for factor in PASSES[scale])


@dataclass(frozen=True)
class Choice:
    """What will run: `stand_in` is true when `model` is not the one that the name means."""

    model: Model
    passes: tuple[Weights, ...]
    stand_in: bool


DEFAULT = Model(
    name="tessera-fidelity",
    architecture="M6C48",
    weights=(
        Weights("tessera-fidelity-x2.onnx", "07cffaadfe705443585581f2ebe37ccb2ffb302a3a1fc433462bd38d01df4630", 2, 8),
        Weights("tessera-fidelity-x4.onnx", "aa18d6104dfe2c04f61be8ab45b7855ce941f914597311ddc986ada4ad4efbec", 4, 8),
    ),
    licence="CC0-1.0",
    description="Small and quick; adds nothing that the picture does not show. Made by training/.",
)

# The official files of xinntao/Real-ESRGAN's releases; halos are receptive radii, rounded up.
REAL_ESRGAN = (
    Model(
        name="realesrgan-x4plus",
        architecture="RRDBNet, 64 features, 23 blocks",
        weights=(
            Weights(
                "RealESRGAN_x4plus.pth", "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1", 4, 349
            ),
            Weights(
                "RealESRGAN_x2plus.pth", "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb", 2, 697
            ),
        ),
        licence="BSD-3-Clause",
        description="Restores photographs and invents fine texture.",
    ),
    Model(
        name="realesrnet-x4plus",
        architecture="RRDBNet, 64 features, 23 blocks",
        weights=(
            Weights(
                "RealESRNet_x4plus.pth", "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df", 4, 349
            ),
        ),
        licence="BSD-3-Clause",
        description="Restores photographs without inventing texture.",
    ),
    Model(
        name="realesrgan-x4plus-anime",
        architecture="RRDBNet, 64 features, 6 blocks",
        weights=(
            Weights(
                "RealESRGAN_x4plus_anime_6B.pth",
                "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
                4,
                94,
            ),
        ),
        licence="BSD-3-Clause",
        description="For drawings: clean lines and flat colours.",
    ),
    Model(
        name="realesr-general-x4v3",
        architecture="SRVGGNetCompact, 64 features, 32 convolutions",
        weights=(
            Weights(
                "realesr-general-x4v3.pth", "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292", 4, 34
            ),
        ),
        licence="BSD-3-Clause",
        description="Restores photographs at a fifteenth of realesrgan-x4plus' work.",
    ),
)

CATALOGUE = {model.name: model for model in (DEFAULT, *REAL_ESRGAN)}

# Upscayl's names -> ours, by what they are meant for.
ALIASES = {
    "upscayl-standard-4x": "realesrgan-x4plus",
    "upscayl-lite-4x": "realesr-general-x4v3",
    "clear-boost-4x": "realesrgan-x4plus",
    "crystal-plus-4x": "realesrgan-x4plus",
    "digital-art-4x": "realesrgan-x4plus-anime",
    "digital-art-plus-4x": "realesrgan-x4plus-anime",
    "natural-max-4x": "realesrnet-x4plus",
    "natural-plus-4x": "realesrnet-x4plus",
    "nature-boost-4x": "realesrgan-x4plus",
    "pure-boost-4x": "realesrnet-x4plus",
    "quick-clear-4x": "realesr-general-x4v3",
    "texture-boost-4x": "realesrgan-x4plus",
}


def choose(name: str, scale: int, stand_in: StandIn) -> Choice:
    """ModelUnavailable for an unknown name, and for one whose weights are missing when nothing may stand in."""
    model = CATALOGUE.get(ALIASES.get(name, name))
    if model is None:
        raise ModelUnavailable(f"There is no model of the name {name[:80]!r}.")
    if passes := model.passes(scale):
        return Choice(model, passes, stand_in=False)
    if stand_in == "refuse" or not (passes := DEFAULT.passes(scale)):
        raise ModelUnavailable(f"The model {name!r} is not installed here for an enlargement of {scale}.")
    return Choice(DEFAULT, passes, stand_in=True)


@cache
def network(weights: Weights) -> Network:
    """Loaded once per process, after its bytes have been found to be the catalogue's."""
    data = (WEIGHTS / weights.file).read_bytes()
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise ValueError(f"{weights.file} is not the file that the catalogue lists")
    return onnx.load(data, weights.scale, weights.halo)
