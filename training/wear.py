"""What happens to a photograph on its way to the web: blur, reduction by some program, noise, JPEG.

The *photo* weights learn to enlarge what comes out of this. The order and the idea of drawing every stage at random are
Real-ESRGAN's (Wang et al., 2021, section 3), far weaker: pictures that people wish to enlarge have been through one
camera and one or two programs, and a small network that expects wrecks makes good pictures soft.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB

BLUR = 0.8  # sigma in pixels of the small picture, at most; the square of a uniform number, so mostly weak
KERNELS = (
    Image.Resampling.BICUBIC,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BILINEAR,
    Image.Resampling.BOX,
)
NOISY, NOISE = 0.5, 2.0  # the share of pictures with noise, and its largest sigma in levels
COMPRESSED, QUALITY = 0.6, (50, 95)  # the share of JPEGs, and their quality
SUBSAMPLED = 0.8  # of the JPEGs: 4:2:0, the others 4:4:4


def photo(high: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
    """(h * scale, w * scale, 3) to (h, w, 3), worn."""
    picture = Image.fromarray(high)
    sigma = BLUR * float(rng.random()) ** 2
    picture = picture.filter(ImageFilter.GaussianBlur(sigma * scale))
    size = (picture.width // scale, picture.height // scale)
    low = np.asarray(picture.resize(size, KERNELS[rng.integers(len(KERNELS))]))
    if rng.random() < NOISY:
        noise = rng.normal(0.0, rng.uniform(0, NOISE), low.shape)
        low = np.clip(np.rint(low + noise), 0, 255).astype(np.uint8)
    return compressed(low, rng) if rng.random() < COMPRESSED else low


def compressed(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    file = BytesIO()
    quality = int(rng.integers(QUALITY[0], QUALITY[1] + 1))
    subsampling = "4:2:0" if rng.random() < SUBSAMPLED else "4:4:4"
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as image:
        return np.asarray(image)
