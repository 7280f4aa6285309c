"""The operations of a request, by their names there.

The vendor's document names them in prose and gives no key of theirs but `factor`: the keys are a guess, and several
spellings of each are taken. docs/dialects/supares.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tessera import catalogue
from tessera.errors import Invalid
from tessera.recipe import Denoise, Encode, EnhanceFace, LowLight, Operation, Recipe, Thumbnail, Tone, Upscale
from tessera.settings import Settings

BAD_FACTOR = "Super-resolution 'factor' parameter must be a positive integer"  # the document's words
FACTORS = (1, 2, 3, 4, 8)
FORMATS = {"jpeg": "jpeg", "jpg": "jpeg", "png": "png", "webp": "webp"}
QUALITY = 92  # of what loses, where nobody says
GROUP = "enhance"  # may hold them all


def recipe(settings: Settings, wish: Mapping[str, Any]) -> Recipe:
    """The steps in an order of ours: noise is removed before it is enlarged, tones come last. Raises Invalid."""
    asked = _asked(wish)
    if not asked:
        raise Invalid(f"At least one operation is required: {', '.join(READERS)}")
    steps = [step for name, read in READERS.items() if name in asked for step in read(settings, asked[name])]
    return Recipe.model_validate({"operations": (*steps, Thumbnail(), _output(wish.get("output")))})


def names() -> frozenset[str]:
    """Every key that a request may have for its operations."""
    return frozenset((*SPELLINGS, GROUP, "output"))


def _asked(wish: Mapping[str, Any]) -> dict[str, Any]:
    """By their first names. What is null or false is not asked for."""
    group = wish.get(GROUP)
    if group is not None and not isinstance(group, dict):
        raise Invalid(f"'{GROUP}' parameter must be an object")
    asked: dict[str, Any] = {}
    for name, value in (*(group or {}).items(), *wish.items()):
        if name not in SPELLINGS:
            if group and name in group:
                raise Invalid(f"Unknown operation '{name}'")
            continue
        if SPELLINGS[name] in asked:
            raise Invalid(f"'{name}' is given twice")
        if value is not None and value is not False:
            asked[SPELLINGS[name]] = value
    return asked


def _super_resolution(settings: Settings, value: Any) -> list[Operation]:
    factor = value.get("factor") if isinstance(value, dict) else None
    if type(factor) is not int or factor < 1:
        raise Invalid(BAD_FACTOR)
    if factor not in FACTORS:
        raise Invalid(f"Super-resolution 'factor' parameter must be one of {', '.join(map(str, FACTORS))}")
    _only("super_resolution", value, "factor")
    model = catalogue.default(settings).name
    return [Upscale.model_validate({"model": model, "scale": factor})] if factor > 1 else []


def _faces(settings: Settings, value: Any) -> list[Operation]:
    _only("face_enhancement", value)
    if settings.faces == "none":
        raise Invalid("Face enhancement is not available on this server: it has no face model installed")
    return [EnhanceFace()]


def _low_light(settings: Settings, value: Any) -> list[Operation]:
    return [LowLight(intensity=_share("low_light", value, "intensity", 1.0))]


def _noise(settings: Settings, value: Any) -> list[Operation]:
    return [Denoise(strength=round(100 * _share("noise_removal", value, "strength", 1.0)))]


TONES = {"exposure": 3.0, "contrast": 1.0, "saturation": 1.0, "temperature": 1.0}  # each from minus to plus


def _tone(settings: Settings, value: Any) -> list[Operation]:
    """Without parameters what the picture is found to need, else what is asked for."""
    if value is True or value == {}:
        return [Tone(levels=1.0, balance=0.5)]
    _only("tone", value, "levels", "balance", *TONES)
    shares = {name: _number("tone", name, value[name], 0.0, 1.0) for name in ("levels", "balance") if name in value}
    shifts = {name: _number("tone", name, value[name], -top, top) for name, top in TONES.items() if name in value}
    return [Tone.model_validate(shares | shifts)]


Reader = Callable[[Settings, Any], list[Operation]]
READERS: dict[str, Reader] = {
    "noise_removal": _noise,
    "super_resolution": _super_resolution,
    "face_enhancement": _faces,
    "low_light": _low_light,
    "tone": _tone,
}
SPELLINGS = {
    **{name: name for name in READERS},
    "superres": "super_resolution",
    "upscale": "super_resolution",
    "faces": "face_enhancement",
    "face": "face_enhancement",
    "low_light_boost": "low_light",
    "lowlight": "low_light",
    "tone_adjustments": "tone",
    "denoise": "noise_removal",
    "noise": "noise_removal",
}


def _output(value: Any) -> Encode:
    """JPEG unless asked otherwise: a volatile URL ends in image.jpg."""
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise Invalid("'output' parameter must be an object")
    _only("output", value, "format", "quality", "lossless")
    kind = value.get("format", "jpeg")
    if not isinstance(kind, str) or kind.lower() not in FORMATS:
        raise Invalid(f"Output 'format' parameter must be one of {', '.join(FORMATS)}")
    quality = value.get("quality", QUALITY)
    if type(quality) is not int or not 1 <= quality <= 100:
        raise Invalid("Output 'quality' parameter must be an integer from 1 to 100")
    lossless = value.get("lossless", False)
    if not isinstance(lossless, bool):
        raise Invalid("Output 'lossless' parameter must be a boolean")
    return Encode.model_validate({"format": FORMATS[kind.lower()], "quality": quality, "lossless": lossless})


def _share(operation: str, value: Any, name: str, default: float) -> float:
    """true, a number, or an object that may have it."""
    if value is True:
        return default
    if isinstance(value, dict):
        _only(operation, value, name)
        value = value.get(name, default)
    return _number(operation, name, value, 0.0, 1.0)


def _number(operation: str, name: str, value: Any, low: float, high: float) -> float:
    if type(value) not in (int, float) or not low <= value <= high:
        raise Invalid(f"'{operation}' parameter '{name}' must be a number from {low:g} to {high:g}")
    return float(value)


def _only(operation: str, value: Any, *known: str) -> None:
    """Raises Invalid for what is no object, and for a parameter of an operation that nobody would read."""
    if value is True:
        return
    if not isinstance(value, dict):
        raise Invalid(f"'{operation}' parameter must be an object")
    if unknown := next((name for name in value if name not in known), None):
        raise Invalid(f"'{operation}' has no parameter '{unknown}'")
