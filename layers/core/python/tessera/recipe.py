"""The vocabulary of operations, and `Recipe`: the ordered tuple of them that one job carries out.

Pure pydantic: this module and `job` are all of `tessera` that a worker imports.
A new operation is one class here, one function in `tessera_engine.steps` and one line in `tessera_engine.pipeline`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ImageFormat = Literal["jpeg", "png", "webp", "avif", "tiff"]
MetadataPolicy = Literal["safe", "keep", "strip"]
Chroma = Literal["4:2:0", "4:2:2", "4:4:4"]

CONTENT_TYPES: dict[ImageFormat, str] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
}


class Operation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Upscale(Operation):
    """Enlarge by exactly `scale`: a width of w pixels becomes w * scale, a height likewise."""

    op: Literal["upscale"] = "upscale"
    model: str = Field(description="a name of the engine's catalogue, or one of the names it maps to one")
    scale: Literal[2, 4, 8]


class EnhanceFace(Operation):
    """Restore faces. Where no face model is installed the outcome says so in its notes."""

    op: Literal["enhance_face"] = "enhance_face"


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


AnyOperation = Annotated[Upscale | EnhanceFace | Encode | Thumbnail, Field(discriminator="op")]


class Recipe(BaseModel):
    """Operations in the order in which they are carried out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operations: tuple[AnyOperation, ...] = Field(min_length=1)

    def scale(self) -> int:
        """The product of all enlargements: output side = input side * scale."""
        factor = 1
        for operation in self.operations:
            if isinstance(operation, Upscale):
                factor *= operation.scale
        return factor

    def encode(self) -> Encode:
        """The one Encode of the recipe; ValueError when there is none or more than one."""
        (encode,) = (operation for operation in self.operations if isinstance(operation, Encode))
        return encode
