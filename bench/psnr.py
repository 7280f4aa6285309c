"""The customary score of super-resolution: PSNR of the luma, without a border of `scale` pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tessera_engine import picture

Pixels = picture.Pixels

LUMA = np.array([65.481, 128.553, 24.966]) / 255.0  # ITU-R BT.601, studio range, as MATLAB's rgb2ycbcr


def luma(pixels: Pixels) -> NDArray[np.float64]:
    """(height, width) in 16..235, not rounded."""
    return pixels.astype(np.float64) @ LUMA + 16.0


def psnr(first: Pixels, second: Pixels, border: int) -> float:
    """In dB; infinite for equal pictures."""
    inner = (slice(border, -border or None),) * 2
    error = np.mean((luma(first)[inner] - luma(second)[inner]) ** 2)
    return float(10 * np.log10(255.0**2 / error)) if error else float("inf")
