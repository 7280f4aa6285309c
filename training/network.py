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
    """RGB in 0..1 to RGB of about 0..1 (not clipped). 146,832 weights at x4.

    Nothing is padded: (N, 3, H + 2r, W + 2r) gives (N, 3, H * scale, W * scale). Zeros around a training crop would
    reach half of its pixels, and teach the network borders that no picture has.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, WIDTH, 3)
        self.body = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3) for _ in range(DEPTH))
        self.tail = nn.Conv2d(WIDTH, 3 * scale * scale, 3)
        with torch.no_grad():  # begin close to the repeated input: the first thousand steps go to learning, not undoing
            self.tail.weight.mul_(0.1)
            self.tail.bias.zero_()

    def residual(self, pixels: Tensor) -> Tensor:
        """What is added to the repeated input, before PixelShuffle: (N, 3 * scale^2, H, W)."""
        features = functional.relu(self.head(pixels), inplace=True)
        for convolution in self.body:
            features = functional.relu(convolution(features), inplace=True)
        added: Tensor = self.tail(features)
        return added

    def forward(self, pixels: Tensor) -> Tensor:
        middle = pixels[:, :, RADIUS:-RADIUS, RADIUS:-RADIUS]
        repeated = middle.repeat_interleave(self.scale * self.scale, dim=1)
        return functional.pixel_shuffle(self.residual(pixels) + repeated, self.scale)
