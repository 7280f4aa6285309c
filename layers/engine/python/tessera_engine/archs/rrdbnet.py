# mypy: disallow-subclassing-any=False
"""RRDBNet of ESRGAN and Real-ESRGAN, after BasicSR (Apache-2.0, see NOTICE.txt)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualDenseBlock(nn.Module):
    def __init__(self, num_feat: int = 64, num_grow_ch: int = 32):
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_grow_ch, 3, 1, 1)
        self.conv2 = nn.Conv2d(num_feat + num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv3 = nn.Conv2d(num_feat + 2 * num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv4 = nn.Conv2d(num_feat + 3 * num_grow_ch, num_grow_ch, 3, 1, 1)
        self.conv5 = nn.Conv2d(num_feat + 4 * num_grow_ch, num_feat, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.lrelu(self.conv1(x))
        x2 = self.lrelu(self.conv2(torch.cat((x, x1), 1)))
        x3 = self.lrelu(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = self.lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        x5 = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return x5 * 0.2 + x


class RRDB(nn.Module):
    def __init__(self, num_feat: int, num_grow_ch: int = 32):
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        out = self.rdb1(x)
        out = self.rdb2(out)
        out = self.rdb3(out)
        return out * 0.2 + x


class RRDBNet(nn.Module):
    """RGB (n, 3, h, w) in 0..1 to (n, 3, h * scale, w * scale).

    The network enlarges 4 times. For `scale` 2 and 1 its input is made 2 and 4 times smaller by pixel-unshuffle first,
    so h and w are multiples of `unshuffle`.
    """

    tail_radius = 2  # pixels of `features` around those that `tail` enlarges

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
    ):
        super().__init__()
        self.upscale = scale
        self.unshuffle = 4 // scale
        # Left of a pixel are 2 + 15 a block for the convolutions at the input's size, and 2 for the tail's.
        self.radius = (15 * num_block + 4) * self.unshuffle
        self.widest = (8 * num_feat + 6 * num_grow_ch) // self.unshuffle**2
        self.tail_values = 16 * 4 * num_feat
        self.conv_first = nn.Conv2d(num_in_ch * self.unshuffle**2, num_feat, 3, 1, 1)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_up1 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_up2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.2, inplace=True)

    @property
    def last(self) -> nn.Module:
        return self.conv_last

    def features(self, x: Tensor) -> Tensor:
        x = x.to(self.conv_first.weight.dtype)
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle).contiguous(memory_format=torch.channels_last)
        feat = self.conv_first(x)
        return feat + self.conv_body(self.body(feat))

    def tail(self, features: Tensor, x: Tensor) -> Tensor:
        feat = self.lrelu(self.conv_up1(F.interpolate(features, scale_factor=2, mode="nearest")))
        feat = self.lrelu(self.conv_up2(F.interpolate(feat, scale_factor=2, mode="nearest")))
        feat = self.lrelu(self.conv_hr(feat))
        return self.conv_last(feat.to(self.conv_last.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.features(x), x)
