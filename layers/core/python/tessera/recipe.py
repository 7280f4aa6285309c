"""The vocabulary of operations, and `Recipe`: the ordered tuple of them that one job carries out.

Pure pydantic: this module, `sizes` and `job` are all of `tessera` that a worker imports.
A new operation is one class here, one function in `tessera_engine.steps` and one line in `tessera_engine.pipeline`.
What each of them does to a picture is told in docs/operations-of-the-engine.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tessera.sizes import Box, DoesNotFit, Gravity, Size, cover_box, factor_for, inside, offset

SourceFormat = Literal["jpeg", "png", "webp", "tiff", "bmp", "gif"]
WEB: tuple[SourceFormat, ...] = ("jpeg", "png", "webp")  # what a task takes where its API says nothing else
ImageFormat = Literal["jpeg", "png", "webp", "avif", "tiff"]
MetadataPolicy = Literal["safe", "keep", "strip"]
Chroma = Literal["4:2:0", "4:2:2", "4:4:4"]

CONTENT_TYPES: dict[ImageFormat | SourceFormat, str] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "gif": "image/gif",
}


Side = Annotated[int, Field(ge=1, le=65_535)]  # pixels
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Shift = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]  # 0 leaves as it is


class Operation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def size(self, width: int, height: int) -> Size:
        """Pixels of what comes out for a picture of these pixels, which is upright. Raises DoesNotFit."""
        return width, height


class Upscale(Operation):
    """Enlarge with a network: by exactly `scale`, or to `width` and `height`.

    One of the two sides gives the other by the picture's aspect. Both are a box that the picture fits into, or with
    `exact` the very size, whatever that does to the aspect. A target below the picture's size needs no network.
    """

    op: Literal["upscale"] = "upscale"
    model: str = Field(description="a name of the engine's catalogue, or one of the names it maps to one")
    scale: Literal[2, 3, 4, 8] | None = None
    width: Side | None = None
    height: Side | None = None
    exact: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.scale is None) == (self.width is None and self.height is None):
            raise ValueError("either scale, or width or height or both")
        if self.exact and (self.width is None or self.height is None):
            raise ValueError("exact needs width and height")
        return self

    def size(self, width: int, height: int) -> Size:
        if self.scale is not None:
            return width * self.scale, height * self.scale
        if self.exact and self.width and self.height:
            return self.width, self.height
        return inside(width, height, self.width, self.height)

    def factor(self, width: int, height: int) -> int:
        """The network's part of the enlargement: 1 where none is needed. What it gives is resampled to `size`."""
        return self.scale or factor_for((width, height), self.size(width, height))


class Resize(Operation):
    """Bring to a size by resampling, without a network; enlarge only when asked to.

    contain: whole, inside width x height, of which one may be missing. cover: fill width x height and cut off what
    is too much. stretch: exactly width x height. pad: as contain, then `colour` around it up to width x height.
    """

    op: Literal["resize"] = "resize"
    width: Side | None = None
    height: Side | None = None
    mode: Literal["contain", "cover", "stretch", "pad"] = "contain"
    gravity: Gravity = "centre"
    enlarge: bool = False
    colour: str = Field(default="#ffffff", pattern="^#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?$", description="#rrggbb[aa]")

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if self.width is None and self.height is None:
            raise ValueError("width or height is needed")
        if self.mode != "contain" and (self.width is None or self.height is None):
            raise ValueError(f"{self.mode} needs width and height")
        return self

    def size(self, width: int, height: int) -> Size:
        if self.mode == "pad" and self.width and self.height:
            return self.width, self.height
        return self.scaled(width, height)

    def scaled(self, width: int, height: int) -> Size:
        """The picture's own size in the result, without the padding."""
        if self.mode in ("contain", "pad"):
            target = inside(width, height, self.width, self.height)
            return target if self.enlarge or target[0] <= width else (width, height)
        across, down = self.width or width, self.height or height
        return (across, down) if self.enlarge else (min(across, width), min(down, height))

    def box(self, width: int, height: int) -> Box:
        """The part of the picture that is seen."""
        whole = (0.0, 0.0, float(width), float(height))
        return cover_box((width, height), self.size(width, height), self.gravity) if self.mode == "cover" else whole


class Crop(Operation):
    """Cut out a part: in pixels, or in fractions of the picture's sides. Without left and top, `gravity` places it."""

    op: Literal["crop"] = "crop"
    width: float = Field(gt=0, allow_inf_nan=False)
    height: float = Field(gt=0, allow_inf_nan=False)
    left: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    top: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gravity: Gravity = "centre"
    unit: Literal["pixels", "fractions"] = "pixels"

    @model_validator(mode="after")
    def _place(self) -> Self:
        if (self.left is None) != (self.top is None):
            raise ValueError("left and top go together")
        if self.unit == "fractions" and ((self.left or 0) + self.width > 1 or (self.top or 0) + self.height > 1):
            raise ValueError("a fraction of the picture ends at 1")
        sides = (self.width, self.height, self.left or 0, self.top or 0)
        if self.unit == "pixels" and not all(float(side).is_integer() for side in sides):
            raise ValueError("pixels are whole numbers")
        return self

    def size(self, width: int, height: int) -> Size:
        left, top, right, bottom = self.region(width, height)
        return right - left, bottom - top

    def region(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels; DoesNotFit when it reaches beyond the picture."""
        across, down = (width, height) if self.unit == "fractions" else (1, 1)
        wide, high = max(1, round(self.width * across)), max(1, round(self.height * down))
        if self.left is None or self.top is None:
            left, top = offset((width, height), (wide, high), self.gravity)
        else:
            left, top = round(self.left * across), round(self.top * down)
        if self.unit == "fractions":  # which do not reach beyond, but may be rounded so
            left, top = min(left, width - wide), min(top, height - high)
        if left < 0 or top < 0 or left + wide > width or top + high > height:
            raise DoesNotFit(
                f"A part of {wide} x {high} pixels at {max(left, 0)}, {max(top, 0)} reaches beyond the picture, "
                f"which has {width} x {height} there."
            )
        return left, top, left + wide, top + high


class Denoise(Operation):
    """Remove `strength` per cent of the noise that the picture is found to have; a clean picture has none.

    `artifacts`: how much of what JPEG has done to it is removed, by the quality that its file tells. Only where the
    picture still has the size that it was stored in.
    """

    op: Literal["denoise"] = "denoise"
    strength: int = Field(default=100, ge=0, le=100)
    artifacts: Share = 0.0


class LowLight(Operation):
    """Light up what is dark. A bright picture stays as it is."""

    op: Literal["low_light"] = "low_light"
    intensity: Share = 1.0


class Tone(Operation):
    """Tones and colours: what the picture is found to need (`levels`, `balance`), then what is asked for."""

    op: Literal["tone"] = "tone"
    levels: Share = Field(default=0.0, description="stretch contrast to black and white")
    balance: Share = Field(default=0.0, description="take away a colour cast")
    exposure: float = Field(default=0.0, ge=-3, le=3, allow_inf_nan=False, description="stops: +1 is twice the light")
    contrast: Shift = 0.0
    saturation: Shift = Field(default=0.0, description="-1 is grey")
    temperature: Shift = Field(default=0.0, description="-1 blue to +1 amber")


class Sharpen(Operation):
    """Unsharp mask in brightness: `amount` times what a blur of `radius` (sigma in pixels) takes away, where that is
    above `threshold` levels of 255.
    """

    op: Literal["sharpen"] = "sharpen"
    radius: float = Field(default=1.0, ge=0.3, le=5, allow_inf_nan=False)
    amount: float = Field(default=0.8, ge=0, le=3, allow_inf_nan=False)
    threshold: float = Field(default=1.0, ge=0, le=255, allow_inf_nan=False)


class EnhanceFace(Operation):
    """Restore faces, and lay `strength` of what was restored over what was there.

    Where no face model is installed the outcome says so in its notes.
    """

    op: Literal["enhance_face"] = "enhance_face"
    strength: Share = 1.0


class Encode(Operation):
    """Write the picture. JPEG has no alpha: transparent pixels are laid over white. PNG and TIFF lose nothing."""

    op: Literal["encode"] = "encode"
    format: ImageFormat
    quality: int = Field(default=92, ge=1, le=100, description="of JPEG, AVIF and WebP that is not lossless")
    lossless: bool = Field(default=False, description="WebP only; JPEG and AVIF always lose, PNG and TIFF never")
    progressive: bool = Field(default=False, description="JPEG only: coarse at first, refined while it loads")
    chroma: Chroma = Field(default="4:2:0", description="colour samples kept, of JPEG and AVIF; a WebP's are 4:2:0")
    dpi: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="pixels per inch that the file states; None: those of the source, unless metadata is strip",
    )
    metadata: MetadataPolicy = "safe"


class Thumbnail(Operation):
    """A WebP preview of the result that fits into a square of `side` pixels, never enlarged."""

    op: Literal["thumbnail"] = "thumbnail"
    side: int = Field(default=320, ge=16, le=1024)


AnyOperation = Annotated[
    Upscale | Resize | Crop | Denoise | LowLight | Tone | Sharpen | EnhanceFace | Encode | Thumbnail,
    Field(discriminator="op"),
]


class Recipe(BaseModel):
    """Operations in the order in which they are carried out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: tuple[AnyOperation, ...] = Field(min_length=1)

    def size(self, width: int, height: int) -> Size:
        """The result's pixels for an upright picture of these pixels. Raises DoesNotFit."""
        *_, (_, last) = self.sizes(width, height)
        return last

    def sizes(self, width: int, height: int) -> Iterator[tuple[AnyOperation, Size]]:
        """Every operation with the size of what it gives. Raises DoesNotFit."""
        for operation in self.operations:
            width, height = operation.size(width, height)
            yield operation, (width, height)

    def scale(self) -> int | None:
        """The product of all enlargements; None where the result's size does not follow from that alone."""
        factor = 1
        for operation in self.operations:
            if isinstance(operation, Resize | Crop) or (isinstance(operation, Upscale) and operation.scale is None):
                return None
            factor *= operation.scale if isinstance(operation, Upscale) and operation.scale else 1
        return factor

    def max_input_pixels(self, max_output_pixels: int) -> int:
        """A picture of more pixels certainly exceeds the limit; of fewer, `sizes` tells."""
        return max_output_pixels // (self.scale() or 1) ** 2

    def encode(self) -> Encode:
        """The one Encode of the recipe; ValueError when there is none or more than one."""
        (encode,) = (operation for operation in self.operations if isinstance(operation, Encode))
        return encode
