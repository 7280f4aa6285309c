"""The three presets as data. What stands behind them is ours: the document tells what they are for, not what they do.

How the numbers were found: docs/dialects/letsenhance.md.
"""

from __future__ import annotations

from typing import NamedTuple

from tessera import catalogue
from tessera.settings import Settings


class Preset(NamedTuple):
    """What an intensity of 1 asks for. `light`, `balance` and `saturation` go with lightai_intensity, `levels` and
    `contrast` with toneai_intensity; `sharpen` is added to the level's, with a blur of `radius` pixels."""

    light: float
    balance: float
    saturation: float = 0.0
    levels: float = 1.0
    contrast: float = 0.1
    sharpen: float = 0.0
    radius: float = 1.2


PRESETS = {
    "preset/realestate": Preset(light=1.0, balance=0.6),
    "preset/print": Preset(light=0.8, balance=0.5, sharpen=0.2, radius=1.5),  # paper softens
    "preset/marketplace": Preset(light=1.0, balance=0.8, saturation=0.05),
}
ALIASES = {"preset/product": "preset/marketplace"}  # what a client in use sends


class Level(NamedTuple):
    """Of restoration: noise removed (per cent of what is found), what JPEG has done removed (share), sharpening."""

    noise: int
    artifacts: float
    sharpen: float


LEVELS = {
    1: Level(0, 0.3, 0.0),
    2: Level(20, 0.5, 0.1),
    3: Level(40, 0.5, 0.2),
    4: Level(50, 0.6, 0.3),
    5: Level(60, 0.7, 0.4),
    6: Level(70, 0.8, 0.5),
    7: Level(80, 0.9, 0.6),
    8: Level(90, 1.0, 0.7),
    9: Level(100, 1.0, 0.8),
    10: Level(100, 1.0, 1.0),
}
PUBLIC = {1: "realesr-general-x4v3", 4: "realesrgan-x4plus-texture-20", 7: "realesrgan-x4plus-texture-65"} | {
    10: "realesrgan-x4plus"
}  # by the first of their levels; not measured
SHIPPED = {1: catalogue.FIDELITY.name, 3: catalogue.PHOTO.name}


def model(settings: Settings, level: int) -> str:
    """The network of a level, of those that this deployment's worker has."""
    networks = PUBLIC if settings.networks == "public" else SHIPPED
    return networks[max(first for first in networks if first <= level)]
