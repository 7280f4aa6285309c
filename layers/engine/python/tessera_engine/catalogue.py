"""The public files that the catalogue's networks are made of: what each is and how its bytes are known.

Sizes and hashes are those of the files that xinntao/Real-ESRGAN released; BSD-3-Clause, Copyright (c) 2021 Xintao Wang.
Those that restore faces are of others, under other licences, and apart from them.
Nothing here is shipped: `tessera_engine.pull` fetches, and nothing is used whose bytes are others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RELEASES = "xinntao/Real-ESRGAN/releases/download"
LICENCE = "BSD-3-Clause"


@dataclass(frozen=True)
class File:
    """`path` is the file's on https://github.com. `halo` is the network's receptive radius in input pixels.

    `half_safe`: the network's values stay within half precision on photographs (its last convolution apart).
    `generative`: it was trained as a GAN's generator, and invents what looks likely.
    """

    name: str
    path: str
    size: int  # bytes
    sha256: str
    architecture: str
    scale: int
    halo: int
    half_safe: bool = True
    generative: bool = True

    def check(self, data: bytes) -> None:
        """ValueError unless these are the file's bytes."""
        if len(data) != self.size or hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.name} is not the file that the catalogue lists: its size or its SHA-256 differs")


RRDB_23 = "RRDBNet, 64 features, 23 blocks"

X4PLUS = File(
    name="RealESRGAN_x4plus.pth",
    path=f"{RELEASES}/v0.1.0/RealESRGAN_x4plus.pth",
    size=67_040_989,
    sha256="4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
    architecture=RRDB_23,
    scale=4,
    halo=349,
)
NET_X4PLUS = File(
    name="RealESRNet_x4plus.pth",
    path=f"{RELEASES}/v0.1.1/RealESRNet_x4plus.pth",
    size=67_040_989,
    sha256="a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df",
    architecture=RRDB_23,
    scale=4,
    halo=349,
    generative=False,
)
X2PLUS = File(
    name="RealESRGAN_x2plus.pth",
    path=f"{RELEASES}/v0.2.1/RealESRGAN_x2plus.pth",
    size=67_061_725,
    sha256="49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
    architecture=f"{RRDB_23}, input by pixel-unshuffle 2",
    scale=2,
    halo=698,  # the radius is 696.5 pixels, but whole pairs are read: 349 of them
)
ANIME_6B = File(
    name="RealESRGAN_x4plus_anime_6B.pth",
    path=f"{RELEASES}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
    size=17_938_799,
    sha256="f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
    architecture="RRDBNet, 64 features, 6 blocks",
    scale=4,
    halo=94,
)
ANIME_VIDEO = File(
    name="realesr-animevideov3.pth",
    path=f"{RELEASES}/v0.2.5.0/realesr-animevideov3.pth",
    size=2_504_012,
    sha256="b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
    architecture="SRVGGNetCompact, 64 features, 16 convolutions",
    scale=4,
    halo=18,
)
GENERAL = File(
    name="realesr-general-x4v3.pth",
    path=f"{RELEASES}/v0.2.5.0/realesr-general-x4v3.pth",
    size=4_885_111,
    sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
    architecture="SRVGGNetCompact, 64 features, 32 convolutions",
    scale=4,
    halo=34,
)
GENERAL_WDN = File(  # "weak denoise": the same network, trained to leave noise in
    name="realesr-general-wdn-x4v3.pth",
    path=f"{RELEASES}/v0.2.5.0/realesr-general-wdn-x4v3.pth",
    size=4_885_111,
    sha256="1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
    architecture="SRVGGNetCompact, 64 features, 32 convolutions",
    scale=4,
    halo=34,
)

# Faces: where they are, and what restores one. YuNet's file is the one of opencv_zoo, which gives it under MIT.
YUNET = File(
    name="face_detection_yunet_2023mar.onnx",
    path="ShiqiYu/libfacedetection.train/raw/0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_s_640_640.onnx",
    size=232_589,
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    architecture="YuNet",
    scale=1,
    halo=0,
    generative=False,
)
# Apache-2.0, but its LICENSE lists parts of StyleGAN2 (NVIDIA, non-commercial) and DFDNet (CC BY-NC-SA 4.0): an
# operator decides for it, so it is fetched by name only.
GFPGAN = File(
    name="GFPGANv1.4.pth",
    path="TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.4.pth",
    size=348_632_874,
    sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
    architecture="GFPGANv1Clean",
    scale=1,
    halo=0,
    half_safe=False,
)
FACES = {file.name: file for file in (YUNET, GFPGAN)}

FILES = {file.name: file for file in (X4PLUS, NET_X4PLUS, X2PLUS, ANIME_6B, ANIME_VIDEO, GENERAL, GENERAL_WDN)}


def read(file: File) -> bytes:
    """A fetched file's bytes. ValueError when they are others."""
    data = (cache_directory() / file.name).read_bytes()
    file.check(data)
    return data


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where fetched files lie: TESSERA_MODELS, or ~/.cache/tessera/models."""
    chosen = environ.get("TESSERA_MODELS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "tessera" / "models"
