"""M6C48, the default network: plain 3x3 convolutions and ReLU, which run at GEMM peak on every CPU runtime.

After "Anchor-based Plain Net for Mobile Image Super-Resolution" (Du et al., CVPRW 2021): the network only learns what
has to be added to the enlarged input, and the enlargement is a repeat of every pixel s^2 times before PixelShuffle.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 48  # channels; a multiple of 16, as wide CPU registers like it
DEPTH = 6  # 48 -> 48 convolutions between the first and the last
RADIUS = DEPTH + 2  # input pixels around a pixel that its enlargement depends on: one per 3x3 convolution


class M6C48(nn.Module):
    """RGB (N, 3, H, W) in 0..1 to RGB (N, 3, H * scale, W * scale), about 0..1 (not clipped). 146,832 weights at x4."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(DEPTH))
        self.tail = nn.Conv2d(WIDTH, 3 * scale * scale, 3, padding=1)
        with torch.no_grad():  # begin close to the repeated input: the first thousand steps go to learning, not undoing
            self.tail.weight.mul_(0.1)
            self.tail.bias.zero_()

    def planes(self, pixels: Tensor) -> Tensor:
        """The enlargement before PixelShuffle: (N, 3 * scale^2, H, W). The sum is float32 also under autocast."""
        features = functional.relu(self.head(pixels))
        for convolution in self.body:
            features = functional.relu(convolution(features))
        return self.tail(features).float() + pixels.float().repeat_interleave(self.scale * self.scale, dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.planes(pixels), self.scale)
