# mypy: disallow-subclassing-any=False
"""SRVGGNetCompact of Real-ESRGAN (BSD-3-Clause, see NOTICE.txt): a plain chain of convolutions at the input's size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SRVGGNetCompact(nn.Module):
    """RGB (n, 3, h, w) in 0..1 to (n, 3, h * upscale, w * upscale), PReLU between the convolutions."""

    unshuffle = 1  # input pixels per side of one pixel of `features`
    tail_radius = 1  # pixels of `features` around those that `tail` enlarges
    widest = 256  # live values per pixel of the input while `features` runs, roughly

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_conv: int = 16, upscale: int = 4):
        super().__init__()
        self.upscale = upscale
        self.tail_values = 6 * num_out_ch * upscale**2 + num_feat
        self.radius = num_conv + 2
        self.body = nn.ModuleList()
        self.body.append(nn.Conv2d(num_in_ch, num_feat, 3, 1, 1))
        self.body.append(nn.PReLU(num_parameters=num_feat))
        for _ in range(num_conv):
            self.body.append(nn.Conv2d(num_feat, num_feat, 3, 1, 1))
            self.body.append(nn.PReLU(num_parameters=num_feat))
        self.body.append(nn.Conv2d(num_feat, num_out_ch * upscale * upscale, 3, 1, 1))
        self.upsampler = nn.PixelShuffle(upscale)

    @property
    def last(self) -> nn.Module:
        return self.body[-1]

    def features(self, x: Tensor) -> Tensor:
        out = x.to(self.body[0].weight.dtype)
        for layer in self.body[:-1]:
            out = layer(out)
        return out

    def tail(self, features: Tensor, x: Tensor) -> Tensor:
        last = self.body[-1]
        out = self.upsampler(last(features.to(last.weight.dtype)))
        # the network learns the residual to the nearest-neighbour enlargement
        return out + F.interpolate(x, scale_factor=self.upscale, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.features(x), x)
