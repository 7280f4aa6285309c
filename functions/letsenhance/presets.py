"""The three presets as data. What stands behind them is ours: the document tells what they are for, not what they do."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """`light` and `levels`, `balance`, `contrast`: what an intensity of 1 asks of LowLight and of Tone."""

    light: float
    saturation: float
    levels: float
    balance: float
    contrast: float


PRESETS = {
    "preset/realestate": Preset(light=1.0, saturation=0.10, levels=0.8, balance=0.5, contrast=0.10),
    "preset/print": Preset(light=0.6, saturation=0.05, levels=1.0, balance=0.3, contrast=0.15),
    "preset/marketplace": Preset(light=0.8, saturation=0.05, levels=0.9, balance=0.6, contrast=0.05),
}
ALIASES = {"preset/product": "preset/marketplace"}  # what a client in use sends


class Level(NamedTuple):
    """Of restoration: per cent of the noise found that is removed, and the amount of unsharp masking."""

    denoise: int
    sharpen: float


LEVELS = {level: Level(10 * level, round(0.08 * (level - 1), 2)) for level in range(1, 11)}
